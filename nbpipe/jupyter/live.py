"""What feeds a panel: a pipeline, and the thread that follows its builds."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from nbpipe.core.graph import Graph
from nbpipe.core.model import Failure, Task
from nbpipe.core.progress import Progress, TaskRun
from nbpipe.pipeline import Pipeline
from nbpipe.store.records import file_stem
from nbpipe.views.status import Status
from nbpipe.views.widget_details import Details, Link, PastRun, ProductInfo

RUNS_SHOWN = 20
"""That many past runs of a task are listed."""

LOG_BYTES = 200_000
"""That much of the end of a log file is read."""


class RunLike(Protocol):
    """A build that goes on, or has ended."""

    @property
    def progress(self) -> Progress:
        """How far it is."""

    @property
    def status(self) -> str:
        """``running`` until it has ended, in whichever way."""

    def cancel(self) -> object:
        """Stop it; may take seconds."""


class Backend(Protocol):
    """What a panel shows and drives. ``graph`` is as of the latest :meth:`status`."""

    graph: Graph

    def status(self) -> Status:
        """The state of every task, as the files are now."""

    def start(
        self, upstream_of: str | None, jobs: int | None, force: bool, keep_going: bool
    ) -> RunLike:
        """Begin a build: of all that a task needs, or (None) of everything."""

    def attach(self) -> RunLike | None:
        """The build that goes on now, whoever began it."""

    def details(self, task: str) -> Details:
        """All about one task."""


class PipelineBackend:
    """A pipeline whose files are read anew whenever its status is asked for.

    Args:
        pipeline: where it begins.
        load: reads it anew; None: :meth:`Pipeline.reload`.
    """

    def __init__(self, pipeline: Pipeline, load: Callable[[], Pipeline] | None = None) -> None:
        self.pipeline = pipeline
        self._load = load

    @property
    def graph(self) -> Graph:
        """Tasks and edges."""
        return self.pipeline.graph

    @graph.setter
    def graph(self, graph: Graph) -> None:
        raise AttributeError("the graph is the pipeline's")

    def status(self) -> Status:
        """The state of every task, as the files are now."""
        self.pipeline = self._load() if self._load is not None else self.pipeline.reload()
        return self.pipeline.status()

    def start(
        self, upstream_of: str | None, jobs: int | None, force: bool, keep_going: bool
    ) -> RunLike:
        """Begin a build in the background runner."""
        return self.pipeline.start(
            upstream_of=upstream_of, jobs=jobs, force=force, keep_going=keep_going
        )

    def attach(self) -> RunLike | None:
        """The build that goes on now."""
        return self.pipeline.attach()

    def details(self, task: str) -> Details:
        """All about one task."""
        pipeline = self.pipeline
        found, why = pipeline.graph.task(task), pipeline.why(task)
        runs = pipeline.task_history(task)[::-1]
        root, links = pipeline.root.resolve(), ServerLinks()
        shown: list[Link] = []
        if found.kind == "notebook":
            shown.append(links.link("script", root, found.source))
        if found.notebook and (root / found.notebook).exists():
            shown.append(links.link("executed notebook", root, found.notebook))
        record = pipeline.record(task)
        failure = runs[0].task.failure if runs else None
        if failure is not None and failure.notebook and (root / failure.notebook).exists():
            shown.append(links.link("failed notebook", root, failure.notebook))
        said = why.decision.reasons or why.decision.notes
        return Details(
            task=task,
            state=why.decision.state,
            reasons=tuple(reason.text for reason in said),
            source=pipeline.source(task),
            diff=why.diff,
            ever=record is not None and record.good is not None,
            products=tuple(_product(root, found, path, links) for path in found.products.values()),
            log=_log(pipeline, found, runs[0] if runs else None, failure),
            runs=tuple(
                PastRun(r.run, r.started, r.task.seconds, r.task.result) for r in runs[:RUNS_SHOWN]
            ),
            links=tuple(shown),
            now=time.time(),
        )


def _product(root: Path, task: Task, path: str, links: ServerLinks) -> ProductInfo:
    full, size, modified = root / path, None, None
    with contextlib.suppress(OSError):
        stat = full.stat()
        size, modified = stat.st_size, stat.st_mtime
    is_notebook = path == task.notebook
    return ProductInfo(path, str(full), size, modified, is_notebook, links.link(path, root, path))


def _log(pipeline: Pipeline, task: Task, last: TaskRun | None, failure: Failure | None) -> str:
    """What the latest run printed: its log file, the notebook's streams, the traceback."""
    parts = []
    folder = pipeline.store.home / "runs" / last.run if last is not None else None
    if folder is not None:
        parts.append(_tail(folder / f"{file_stem(task.name)}.log"))
    if failure is not None and failure.notebook:
        parts.append(_streams(pipeline.root / failure.notebook))
    elif task.notebook and task.notebook.endswith(".ipynb"):
        parts.append(_streams(pipeline.root / task.notebook))
    if failure is not None:
        parts.append(failure.traceback or f"{failure.error}: {failure.message}")
        parts.append(f"hint: {failure.hint}" if failure.hint else "")
    return "\n".join(part.rstrip() for part in parts if part.strip())


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _streams(path: Path) -> str:
    """What the cells of a notebook printed."""
    try:
        cells = json.loads(path.read_text("utf-8")).get("cells", [])
    except (OSError, ValueError, AttributeError):
        return ""
    outputs = (out for cell in cells for out in cell.get("outputs", ()))
    printed = (out.get("text", "") for out in outputs if out.get("output_type") == "stream")
    return "".join(text if isinstance(text, str) else "".join(text) for text in printed)


class ServerLinks:
    """Addresses of files on the Jupyter server that started this kernel.

    The server's own note names its folder and its base address. Without one (another host,
    VS Code) there are no links, and the path is shown as text.
    """

    def __init__(self) -> None:
        self.folder, self.base = _server()

    def link(self, label: str, root: Path, path: str) -> Link:
        """A link to ``path``, which is relative to ``root``."""
        if self.folder is None:
            return Link(label, path)
        try:
            lab = (root / path).relative_to(self.folder).as_posix()
        except ValueError:
            return Link(label, path)
        # JupyterLab and the file manager do not show hidden folders; the server may still send.
        return Link(label, path, f"{self.base}lab/tree/{quote(lab)}", lab)


def _server() -> tuple[Path | None, str]:
    pid = os.environ.get("JPY_PARENT_PID", "")
    if not pid.isdigit():
        return None, ""
    with contextlib.suppress(ImportError, OSError, ValueError, KeyError, TypeError):
        from jupyter_core.paths import jupyter_runtime_dir

        note = json.loads((Path(jupyter_runtime_dir()) / f"jpserver-{pid}.json").read_text())
        return Path(note["root_dir"]).resolve(), str(note["base_url"])
    return None, ""


class Poller(threading.Thread):
    """Calls ``tick`` of an object again and again, until it is stopped or the object is gone.

    The thread never prints: what a thread prints lands in whichever cell is newest. It is a
    daemon, so that it does not delay the end of a kernel, and holds the object weakly.

    Args:
        target: has ``tick() -> float``, the seconds until the next call.
    """

    def __init__(self, target: Any) -> None:
        super().__init__(name="nbpipe-panel", daemon=True)
        self._target = weakref.ref(target)
        self._wake = threading.Event()
        self._stopped = False

    def run(self) -> None:
        """Until stopped."""
        pause = 0.0
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            target = None if self._stopped else self._target()
            if target is None:
                return
            pause = target.tick()
            del target

    def wake(self) -> None:
        """Call ``tick`` now."""
        self._wake.set()

    def stop(self) -> None:
        """End soon; does not wait."""
        self._stopped = True
        self._wake.set()


def same_drawing(one: Graph, other: Graph) -> bool:
    """Whether a drawing of one graph shows the other as well."""
    groups = [{name: task.group for name, task in graph.tasks.items()} for graph in (one, other)]
    return one.upstream == other.upstream and groups[0] == groups[1]


def last_words(run: RunLike) -> str:
    """What a screen reader hears at the end."""
    from nbpipe.views.status import report_line

    state = run.status
    if state == "lost":
        return "The build's process died before its end."
    word = {"done": "Build done", "failed": "Build failed"}.get(state, "Build cancelled")
    return f"{word}: {report_line(run.progress)}."
