"""Which task a file is the source of, and what its cell says. Read anew when a file has changed."""

from __future__ import annotations

import ast
import os
import re
import shlex
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.core.model import Task
from nbpipe.core.syntax import escapes, parse_body
from nbpipe.errors import NbpipeError
from nbpipe.jupyter.contents_cells import Shown, chosen_task, code_of
from nbpipe.pipeline import Pipeline
from nbpipe.store.codes import usual_kernel
from nbpipe.store.functions import module_file
from nbpipe.store.inject import COMMENT, injected_cell_text
from nbpipe.store.sources import parse_source
from nbpipe.store.specfile import find_spec

_RECENT = 1.0
"""Seconds. A file that was changed so shortly before it was read may have changed again within
the same tick of the file system's clock."""

_MAX_SHOWN = 2000
"""Characters of an error that a banner shows."""

Signature = tuple[tuple[int, int, int, int] | None, ...]


class Found(msgspec.Struct, frozen=True):
    """A file that is the source of a task.

    Attributes:
        path: of the file, absolute.
        source: the same, relative to the root, as the spec says.
        kernel: name of the kernel that runs it when it names none.
    """

    path: str
    source: str
    kernel: str


class Loaded:
    """A pipeline as its files were, with their signatures.

    Args:
        pipeline: loaded just now.
        began: when loading began, seconds since the epoch.
    """

    def __init__(self, pipeline: Pipeline, began: float) -> None:
        self.pipeline = pipeline
        sources = list(_files(pipeline))
        reading = pipeline.reading
        read = sorted(map(str, reading.files)) if reading is not None else [str(pipeline.file)]
        self.paths = [*read, *sources]
        self.signature = signature(self.paths)
        newest = max((entry[0] for entry in self.signature if entry), default=0) / 1e9
        self._settled = newest < began - _RECENT and (reading is None or reading.settled)
        self._tasks: dict[str, list[Task]] = {}
        self._languages: dict[str, str] = {}
        functions = pipeline.spec.meta.jupyter_functions_as_notebooks
        for task, path in zip(pipeline.spec.tasks, sources, strict=True):
            if task.kind == "notebook" or functions:
                self._tasks.setdefault(os.path.realpath(path), []).append(task)

    @property
    def holds(self) -> bool:
        """Whether nothing has changed since."""
        if not self.pipeline.spec.meta.jupyter_hot_reload:
            return True
        return self._settled and signature(self.paths) == self.signature

    def tasks_of(self, path: str) -> list[Task]:
        """The tasks whose source a file is, in the order of the spec."""
        return self._tasks.get(os.path.realpath(path), [])

    def language(self, task: Task) -> str:
        """The language of a source.

        Raises:
            SpecError: the source cannot be read.
        """
        if task.source not in self._languages:
            text = self.pipeline.source(task.name)
            self._languages[task.source] = parse_source(text, task.source).language
        return self._languages[task.source]


class Tasks:
    """The pipelines that lie under a server's folder, each loaded when it is first needed."""

    def __init__(self) -> None:
        self._loaded: dict[Path, Loaded] = {}
        self._lock = threading.Lock()

    def shown(self, path: str, notebook: Mapping[str, Any]) -> list[Shown] | None:
        """What a notebook that was read from ``path`` is shown with; None: it is no source.

        Args:
            path: of the file, absolute.
            notebook: what reading it gave.
        """
        spec = _spec_of(path)
        if spec is None:
            return None
        try:
            loaded = self._load(spec)
            tasks = loaded.tasks_of(path)
            scripts = [task for task in tasks if task.kind == "notebook"]
            shown = [Shown("cell", _cell_text(loaded, scripts, notebook))] if scripts else []
            shown += [_function(loaded, task) for task in tasks if task.kind == "function"]
            return shown or None
        except NbpipeError as error:
            return [Shown("banner", banner_text(error))] if _names(spec, path) else None

    def source(self, path: str) -> Found | None:
        """The source that a file is; None: it is none, or the spec does not load."""
        spec = _spec_of(path)
        try:
            tasks = self._load(spec).tasks_of(path) if spec is not None else []
        except NbpipeError:
            if spec is None or not _names(spec, path):
                return None
            relative = os.path.relpath(os.path.realpath(path), os.path.realpath(spec.parent))
            return Found(path, Path(relative).as_posix(), usual_kernel(Path(path).suffix))
        if spec is None or not tasks:
            return None
        source = tasks[0].source
        if tasks[0].kind == "function":
            source = module_file(spec.parent, source)
        return Found(path, source, tasks[0].kernel or usual_kernel(Path(path).suffix))

    def _load(self, spec: Path) -> Loaded:
        """The pipeline of a spec file; one that does not load is tried again every time."""
        with self._lock:
            known = self._loaded.get(spec)
            if known is not None and known.holds:
                return known
            began = time.time()
            self._loaded.pop(spec, None)
            self._loaded[spec] = Loaded(Pipeline.load(spec), began)
            return self._loaded[spec]


def signature(paths: Iterable[str]) -> Signature:
    """What tells that a file has changed: mtime, ctime, size and inode; None: it is not there."""
    found: list[tuple[int, int, int, int] | None] = []
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino))
    return tuple(found)


def banner_text(error: NbpipeError) -> str:
    """Markdown that shows an error; nothing in the error is taken for markup."""
    said = str(error)
    said = said if len(said) <= _MAX_SHOWN else f"{said[:_MAX_SHOWN]} …"
    longest = max((len(run) for run in re.findall("`+", said)), default=0)
    fence = "`" * max(3, longest + 1)
    return (
        "**nbpipe** cannot show the cell with `upstream` and `product`: the pipeline does not "
        f"load. Mend it and reload this notebook.\n\n{fence}text\n{said}\n{fence}\n\n"
        "This note is not saved."
    )


def _cell_text(loaded: Loaded, tasks: list[Task], notebook: Mapping[str, Any]) -> str:
    task = _chosen(tasks, notebook)
    others = ", ".join(repr(other.name) for other in tasks if other is not task)
    lines = [
        f"# Injected by nbpipe for task {task.name!r}: absolute paths; this cell is not saved."
    ]
    if others:
        lines.append(f"# The file is also the source of {others}; to choose, add a cell with")
        lines.append("# %upstream --task NAME, or set nbpipe.task in the notebook's metadata.")
    return "\n".join(lines) + _values(loaded, task, loaded.language(task))


def _function(loaded: Loaded, task: Task) -> Shown:
    """The cell with a function's arguments, and how to call it with them."""
    name = task.source.rpartition(".")[2]
    takes = function_arguments(loaded.pipeline.source(task.name), name)
    known = ["product", "upstream", *task.params]
    call = ", ".join(f"{argument}={argument}" for argument in takes if argument in known)
    head = f"# Injected by nbpipe: what task {task.name!r} gives to its function; not saved."
    lines = [head, f"# To try it, in a cell of your own: {name}({call})"]
    return Shown("cell", "\n".join(lines) + _values(loaded, task, "python"), name)


def _values(loaded: Loaded, task: Task, language: str) -> str:
    """The lines that set the variables, after a line end."""
    upstream, product = loaded.pipeline.upstream(task.name), loaded.pipeline.product(task.name)
    text = injected_cell_text(language, upstream, product, task.params, task.source)
    return text.removeprefix(COMMENT)


def function_arguments(text: str, name: str) -> list[str]:
    """The names of a function's arguments; none when the module does not define it plainly."""
    tree = parse_body(text)
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
    return []


def _chosen(tasks: list[Task], notebook: Mapping[str, Any]) -> Task:
    """The task that the notebook itself chooses, else the first."""
    if len(tasks) == 1:
        return tasks[0]
    wanted = [chosen_task(notebook), *_magic_tasks(notebook)]
    by_name = {task.name: task for task in tasks}
    return next((by_name[name] for name in wanted if name in by_name), tasks[0])


def _magic_tasks(notebook: Mapping[str, Any]) -> Iterable[str]:
    """The names that ``%upstream --task NAME`` lines give."""
    for text in code_of(notebook):
        for _, line in escapes(text) if "%upstream" in text else ():
            try:
                words = shlex.split(line, comments=True)
            except ValueError:
                continue
            if words[:1] != ["%upstream"]:
                continue
            for word, following in zip(words, [*words[1:], ""], strict=True):
                name, sign, value = word.partition("=")
                if word in ("--task", "-t"):
                    yield following
                elif sign and name == "--task":
                    yield value


def _spec_of(path: str) -> Path | None:
    """The pipeline.yaml that a file belongs to; None: there is none above it."""
    try:
        return find_spec(Path(path).parent)
    except NbpipeError:
        return None


def _files(pipeline: Pipeline) -> Iterable[str]:
    for task in pipeline.spec.tasks:
        relative = task.source
        if task.kind == "function":
            relative = module_file(pipeline.root, task.source)
        yield os.path.join(pipeline.root, relative)


def _names(spec: Path, path: str) -> bool:
    """Whether the text of a spec, which may not even be YAML, names a file as it would a source."""
    try:
        relative = os.path.relpath(os.path.realpath(path), os.path.realpath(spec.parent))
        text = spec.read_bytes().decode("utf-8", "replace")
    except (OSError, ValueError):
        return False
    name = re.escape(Path(relative).as_posix())
    return re.search(rf"(?<![\w./-])(?:\./)*{name}(?![\w/-]|\.\w)", text) is not None
