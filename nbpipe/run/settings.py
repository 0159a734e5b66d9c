"""How a build is to be done."""

from __future__ import annotations

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to build.

    Attributes:
        tasks: the tasks to look at; None: all.
        force: tasks that run whatever the plan says.
        jobs: how many run at once, at least 1.
        keep_going: True: what does not depend on a failed task still runs.
        sent_off: words that name the pipeline to another ``nbpipe``, where tasks are sent off to
            other machines, so that this one's limits do not matter; None: they run here.
        dumps: True: the frames of a task that fails are kept in the run's folder.
    """

    tasks: frozenset[str] | None = None
    force: frozenset[str] = frozenset()
    jobs: int = 1
    keep_going: bool = False
    sent_off: tuple[str, ...] | None = None
    dumps: bool = False
