"""The fake that ships: jobs are calls in this process. For tests of what uses an executor."""

from __future__ import annotations

import asyncio
import inspect
import json
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from nbpipe.core.model import Failure, Job, Outcome
from nbpipe.errors import UsageError, did_you_mean
from nbpipe.executors.base import Emit

Work = Callable[[Job], Any]
"""What stands for a task; may be a coroutine function. Returning None means success; it may return
a :class:`Failure` or an :class:`Outcome` instead."""


class InlineExecutor:
    """Runs jobs as calls in this process, with no kernel and no subprocess.

    A notebook job whose notebook is a product leaves the notebook as it was given, not executed.
    An exception becomes a failure. Of a coroutine the job's timeout is kept; a plain function
    blocks the event loop while it runs.

    Args:
        work: what stands for each task by name, or one callable for all of them.
        default: for the tasks that ``work`` does not name; None: they are an error.

    Attributes:
        jobs: every job so far, in the order in which they began.

    Example:
        >>> from nbpipe.executors.inline import InlineExecutor
        >>> executor = InlineExecutor({"load": lambda job: None})
    """

    def __init__(
        self, work: Mapping[str, Work] | Work | None = None, default: Work | None = None
    ) -> None:
        self._work: Mapping[str, Work] = {}
        if isinstance(work, Mapping):
            self._work = work
        else:
            default = work or default
        self._default = default
        self.jobs: list[Job] = []

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Call what stands for the task.

        Raises:
            UsageError: nothing does.
        """
        work = self._work.get(job.task, self._default)
        if work is None:
            message = f"InlineExecutor: nothing stands for the task '{job.task}'"
            raise UsageError(message, did_you_mean(job.task, self._work))
        self.jobs.append(job)
        try:
            async with asyncio.timeout(job.timeout) as limit:
                result = work(job)
                if inspect.isawaitable(result):
                    result = await result
        except (Exception, SystemExit) as error:
            if isinstance(error, TimeoutError) and limit.expired():
                message = f"the task took longer than its timeout of {job.timeout:g} s"
                return Outcome(failure=Failure(error="Timeout", message=message))
            return Outcome(failure=_failure(error))
        return _outcome(job, result)

    async def close(self) -> None:
        """Nothing is held between jobs."""


def _failure(error: BaseException) -> Failure:
    return Failure(
        error=type(error).__name__,
        message=str(error),
        traceback="".join(traceback.format_exception(error)),
    )


def _outcome(job: Job, result: Any) -> Outcome:
    if isinstance(result, Outcome):
        return result
    if isinstance(result, Failure):
        return Outcome(failure=result)
    if job.notebook is None:
        return Outcome()
    suffix = PurePosixPath(job.result or "x.ipynb").suffix
    path = Path(job.folder) / f"{job.stem}{suffix}"
    path.write_text(json.dumps(job.notebook), encoding="utf-8")
    return Outcome(notebook=str(path))
