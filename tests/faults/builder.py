"""Builds of a project whose tasks are run in this process, and builds that are killed half way."""

from __future__ import annotations

import asyncio
import builtins
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbpipe import InlineExecutor, Pipeline
from nbpipe.core import events as ev
from nbpipe.core.model import Failure, Job
from nbpipe.run.report import BuildReport

Hook = Callable[[], None]

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime", "os.truncate"}


class Builder:
    """Builds a project; what its tasks do beside their work can be set for the next build.

    Args:
        root: folder of pipeline.yaml.

    Attributes:
        failing: how a task fails, by name: ``before`` it writes anything, ``half`` way through
            its product, ``after`` it has written, by ``exit``, or ``silent``: without a product.
        during: called by name of the task while it runs, before its cells.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.failing: dict[str, str] = {}
        self.during: dict[str, Hook] = {}

    def build(self, *names: str, **options: Any) -> tuple[BuildReport, list[ev.Event]]:
        """Build in this process; returns the report and the events."""
        events: list[ev.Event] = []
        pipeline = Pipeline.load(self.root)
        executor = InlineExecutor(self.work)
        report = pipeline.build(*names, on_event=events.append, executor=executor, **options)
        return report, events

    async def work(self, job: Job) -> Failure | None:
        """Stands for a kernel."""
        how = self.failing.get(job.task)
        if how == "before":
            raise ValueError("as asked")
        if hook := self.during.get(job.task):
            hook()
        made = _data(job)
        if made is not None and made.suffix != ".d":
            made.write_text("half a product")
        await asyncio.sleep(0)
        if how == "half":
            return Failure(error="ValueError", message="as asked")
        if how == "exit":
            raise SystemExit(3)
        self._cells(job)
        if how == "after":
            raise ValueError("as asked")
        if how == "silent" and made is not None and made.is_file():
            made.unlink()
        return None

    def _cells(self, job: Job) -> None:
        before = Path.cwd()
        os.chdir(self.root)
        try:
            scope: dict[str, object] = {
                "__builtins__": {**vars(builtins), "__import__": self._load}
            }
            for cell in job.notebook["cells"]:
                if cell["cell_type"] == "code":
                    exec("".join(cell["source"]), scope)
        finally:
            os.chdir(before)

    def _load(self, name: str, *args: Any) -> Any:
        """Import a module of the project anew each time, as a fresh kernel does."""
        file = self.root / f"{name}.py"
        if not file.exists():
            return builtins.__import__(name, *args)
        module = type(sys)(name)
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._load}
        exec(file.read_text(), module.__dict__)
        return module


def _data(job: Job) -> Path | None:
    path = job.product["data"] if isinstance(job.product, Mapping) else str(job.product)
    return None if path.endswith(".ipynb") else Path(job.root, path)


class Forked:
    """A build in a forked child, told through a pipe.

    Args:
        builder: whose project and whose faults.
        kill_at: the child is killed before the so-maniest change of a file of the project;
            None: it is let live.
        names: as ``Pipeline.build`` takes them, and ``options`` too.
    """

    def __init__(
        self, builder: Builder, *names: str, kill_at: int | None = None, **options: Any
    ) -> None:
        out, self._in = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside other threads
            self._pid = os.fork()
        if self._pid == 0:
            _child(builder, self._in, kill_at, names, options)
        os.close(self._in)
        self._out = out

    def end(self) -> tuple[bool, list[ev.Event]]:
        """Wait for it; returns whether it was killed, and the events that were told."""
        with os.fdopen(self._out, "rb") as out:
            lines = out.read().splitlines()
        _, status = os.waitpid(self._pid, 0)
        errors = [line.decode() for line in lines if line.startswith(b"!")]
        assert not errors, errors[0]
        return os.WIFSIGNALED(status), [msgspec.json.decode(line, type=ev.Event) for line in lines]


def _child(
    builder: Builder, out: int, kill_at: int | None, names: tuple[str, ...], options: dict[str, Any]
) -> None:
    def on_event(event: ev.Event) -> None:
        os.write(out, msgspec.json.encode(event) + b"\n")

    try:
        executor = InlineExecutor(builder.work)
        pipeline = Pipeline.load(builder.root)
        if kill_at is not None:
            _kill_at(kill_at, str(builder.root))
        pipeline.build(*names, executor=executor, on_event=on_event, **options)
    except BaseException as error:
        os.write(out, f"!{error!r}".encode())
    finally:
        os._exit(0)


def _kill_at(count: int, root: str) -> None:
    """End this process without a word before its ``count``-th change of a file under ``root``."""
    left = count

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        changes = event in CHANGES or (event == "open" and _writes(args))
        if changes and isinstance(args[0], str | os.PathLike) and root in os.fspath(args[0]):
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _writes(args: tuple[Any, ...]) -> bool:
    flags = args[2]
    return bool(isinstance(flags, int) and flags & WRITES)
