"""A failed task as the error of a cell: what failed, where, the lines around it, the hint."""

from __future__ import annotations

from collections.abc import Mapping

from nbpipe.core.model import Failure
from nbpipe.errors import BuildError
from nbpipe.views.progress import failure_lines


class TaskError(BuildError):
    """Tasks failed. Shown as their failures, not as a traceback of ours.

    Args:
        failures: of each failed task.
    """

    def __init__(self, failures: Mapping[str, Failure]) -> None:
        self.failures = dict(failures)
        super().__init__(f"tasks failed: {', '.join(failures)}")

    def _render_traceback_(self) -> list[str]:
        return [line for name, f in self.failures.items() for line in failure_lines(name, f)]
