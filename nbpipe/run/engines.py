"""Executors by name: the one of this machine, and those that packages add."""

from __future__ import annotations

from collections.abc import Mapping

from nbpipe import plugins
from nbpipe.errors import UsageError
from nbpipe.executors.base import Executor

LOCAL = "local"
"""The name of what runs tasks when no executor is named: fresh processes on this machine."""


def named_executor(executor: Executor | str | None, settings: Mapping[str, str]) -> Executor | None:
    """The executor that is meant; None: those of this machine.

    Args:
        executor: itself, or its name.
        settings: of one that is given by its name.

    Raises:
        UsageError: none of that name is installed, or it has no such setting.
    """
    if isinstance(executor, str) and executor != LOCAL:
        made: Executor = plugins.make(plugins.EXECUTORS, executor, settings)
        return made
    if settings:
        key = next(iter(settings))
        raise UsageError(f"no executor is named that setting '{key}' could be for", "name it")
    return None if isinstance(executor, str) else executor
