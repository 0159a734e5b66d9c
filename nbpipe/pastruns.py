"""The runs of a pipeline that are kept: read from their logs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nbpipe.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from nbpipe.core.graph import Graph
    from nbpipe.core.progress import Progress, TaskRun
    from nbpipe.store.records import RecordStore


class PastRuns:
    """What can be asked of the runs of a pipeline.

    Attributes:
        store: the records, beside which the runs are kept.
    """

    store: RecordStore
    _graph: Graph

    def history(self, last: int | None = None) -> list[Progress]:
        """The runs that are kept, oldest first; the ``last`` of them."""
        from nbpipe.run.history import runs

        return runs(self.store.home, last)

    def task_history(self, task: str) -> list[TaskRun]:
        """The runs in which a task was tried, oldest first.

        Raises:
            UsageError: there is no such task.
        """
        from nbpipe.run.history import task_runs

        return task_runs(self.store.home, self._graph.task(task).name)

    def past_run(self, run: str = "last") -> Progress:
        """One run as its events tell it.

        Raises:
            UsageError: there is no such run.
        """
        from nbpipe.run.history import read_run

        return read_run(self._run_folder(run))

    def event_lines(self, run: str = "last") -> list[str]:
        """The events of a run, one JSON object each.

        Raises:
            UsageError: there is no such run.
        """
        from nbpipe.run.eventlog import read_events

        events = read_events(self._run_folder(run) / "events.jsonl")
        return [msgspec.json.encode(event).decode() for event in events]

    def _run_folder(self, run: str) -> Path:
        from nbpipe.run.eventlog import run_folders

        folders = run_folders(self.store.home)
        found = folders[-1:] if run == "last" else [f for f in folders if f.name == run]
        if not found:
            raise UsageError(f"no run '{run}'", did_you_mean(run, [f.name for f in folders]))
        return found[0]
