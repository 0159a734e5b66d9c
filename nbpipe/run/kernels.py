"""Makes the kernels of a build ready, while the build itself is still getting ready."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from nbpipe.core.model import Kind, Task
from nbpipe.errors import SpecError
from nbpipe.executors.base import Executor, StartsKernels
from nbpipe.kernels.builds import MOST_SOURCES, BuildKernels, choose
from nbpipe.store.facts import Gatherer
from nbpipe.store.sources import parse_source


def begin(
    gatherer: Gatherer,
    tasks: Iterable[Task],
    executor: Callable[[Kind], Executor],
    run: str,
    jobs: int,
) -> BuildKernels | None:
    """Start what the kernels of these tasks will come from; None: nothing would use it.

    Args:
        gatherer: reads the sources.
        tasks: those that may run.
        executor: of a kind of task; takes what is made ready.
        run: id of the run.
        jobs: how many tasks run at once.

    Raises:
        UsageError: the environment asks for a way to start kernels that there is not.
    """
    notebooks = [task for task in tasks if task.kind == "notebook"]
    runs = executor("notebook") if notebooks else None
    if not isinstance(runs, StartsKernels):
        return None
    root, wish = str(gatherer.root), gatherer.spec.meta.kernels
    environ = {"NBPIPE_RUN": run, "NBPIPE_ROOT": root}
    kernels = BuildKernels(
        choose(wish.start, os.environ),
        wish.preload,
        root,
        environ,
        jobs=jobs,
        kernels=len(notebooks),
    )
    runs.starter = kernels
    kernels.warm_up()
    kernels.learn(_sources(gatherer, notebooks[:MOST_SOURCES]))
    return kernels


def _sources(gatherer: Gatherer, tasks: Iterable[Task]) -> Iterator[list[str]]:
    """The code cells of each task; one that cannot be read says so when it runs."""
    for task in tasks:
        try:
            source = parse_source(gatherer.text(task), task.source)
        except SpecError:
            continue
        yield [cell.text for cell in source.cells if cell.kind == "code"]
