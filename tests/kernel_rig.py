"""Notebooks run in kernels that start in one way or another, without a pipeline around them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from nbpipe.core.events import Event, KernelStarted
from nbpipe.core.model import Failure, Job, KernelStart, Outcome
from nbpipe.executors.notebook import NotebookExecutor
from nbpipe.kernels.builds import BuildKernels, Choice


@dataclass
class Ran:
    """A notebook after its run."""

    outcome: Outcome
    notebook: Any
    started: KernelStarted | None
    root: Path
    events: list[Event] = field(default_factory=list)

    @property
    def failure(self) -> Failure | None:
        return self.outcome.failure

    @property
    def text(self) -> str:
        """All that was printed to stdout and all results, as plain text."""
        return "".join(self.texts())

    def texts(self) -> list[str]:
        found = []
        for cell in self.notebook.cells:
            for output in cell.get("outputs", ()):
                if output.output_type == "stream":
                    found.append(output.text)
                elif output.output_type == "execute_result":
                    found.append(output.data["text/plain"])
        return found


def make_job(root: Path, cells: Sequence[str], name: str = "task", **fields: Any) -> Job:
    """A job whose notebook has these code cells."""
    folder = root / "run"
    folder.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    environ = {"NBPIPE_RUN": "run", "NBPIPE_ROOT": str(root), **fields.pop("environ", {})}
    return Job(
        task=name,
        kind="notebook",
        source=f"{name}.py",
        root=str(root),
        folder=str(folder),
        stem=name,
        notebook=notebook,
        kernel=fields.pop("kernel", "python3"),
        environ=environ,
        **fields,
    )


class Rig:
    """An executor with the kernels of one build."""

    def __init__(
        self,
        root: Path,
        mode: KernelStart = "fork",
        preload: Iterable[str] | None = None,
        sources: Iterable[Sequence[str]] = (),
        jobs: int = 2,
    ) -> None:
        self.root = root
        environ = {"NBPIPE_RUN": "run", "NBPIPE_ROOT": str(root)}
        self.kernels = BuildKernels(
            Choice(mode), preload, str(root), environ, jobs=jobs, kernels=1000
        )
        self.executor = NotebookExecutor()
        self.executor.starter = self.kernels
        self.kernels.warm_up()
        self.kernels.learn(sources)

    async def run(self, job: Job) -> Ran:
        events: list[Event] = []
        outcome = await self.executor.run(job, events.append)
        path = Path(job.folder) / f"{job.stem}.ipynb"
        started = next((e for e in events if isinstance(e, KernelStarted)), None)
        return Ran(outcome, nbformat.read(path, as_version=4), started, self.root, events)

    async def __aenter__(self) -> Rig:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.executor.close()
        self.kernels.close()


def run(
    root: Path,
    *notebooks: Sequence[str],
    mode: KernelStart = "fork",
    environs: Sequence[Mapping[str, str]] = (),
    **options: Any,
) -> list[Ran]:
    """Run notebooks one after the other, with the kernels of one build."""

    async def main() -> list[Ran]:
        async with Rig(root, mode, **options) as rig:
            found = []
            for number, cells in enumerate(notebooks):
                environ = environs[number] if environs else {}
                found.append(await rig.run(make_job(root, cells, f"t{number}", environ=environ)))
            return found

    return asyncio.run(main())


def children() -> set[int]:
    """Processes that this one has started and that still run or wait to be reaped."""
    import psutil

    return {process.pid for process in psutil.Process(os.getpid()).children(recursive=True)}
