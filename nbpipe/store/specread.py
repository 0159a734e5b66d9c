"""The text of pipeline.yaml to a `Spec`: defaults filled in, units converted, clashes found."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

import msgspec
from msgspec import UNSET, UnsetType

from nbpipe.core.model import Kind, Location, Meta, Product, Resources, Spec, Task
from nbpipe.errors import Problem, SpecError
from nbpipe.store.spectypes import (
    LATER_SUFFIXES,
    SCRIPT_SUFFIXES,
    MetaEntry,
    ResourcesEntry,
    SpecFile,
    TaskEntry,
)
from nbpipe.store.specwalk import MAX_PROBLEMS, Walk, shape_of
from nbpipe.store.yamlnodes import Mapping, Node, Scalar, Sequence, join_key, show
from nbpipe.store.yamltext import compose

MAX_NAME_BYTES = 200
"""Of a task's name in UTF-8: it becomes part of file names."""

SourceFault = Callable[[str, Kind], tuple[str, str | None] | None]
"""Message and hint when a source is not there; None: it is."""

_SECONDS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60}
_SECONDS |= {"h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([a-zA-Z]+)\s*")
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([KMGTP]?)(i?)B?", re.IGNORECASE)


def parse_spec(data: bytes, file: str, source_fault: SourceFault | None = None) -> Spec:
    """The spec that a text describes.

    Args:
        data: text of the file, UTF-8.
        file: its name, for messages.
        source_fault: looks for a source; None: sources are not looked for.

    Raises:
        SpecError: all that is wrong, in the order of the file.
    """
    root, problems = compose(data, file)
    reader = _Reader(file, source_fault)
    if root is None or (isinstance(root, Scalar) and not root.text):
        problems.append(
            Problem(file, 0, 0, "", "the file is empty", "list the steps under 'tasks:'")
        )
    else:
        reader.read(root)
    problems += reader.walk.problems
    if problems:
        raise SpecError(_bounded(sorted(problems, key=lambda p: (p.line, p.column)), file))
    return Spec(tasks=tuple(reader.tasks), meta=reader.meta, file=file)


def kind_of(source: str) -> Kind | None:
    """How a source runs, by its looks; None: it is neither a known script nor a function."""
    suffix = PurePosixPath(source).suffix
    if suffix in SCRIPT_SUFFIXES:
        return "notebook"
    if suffix.lower() in (*SCRIPT_SUFFIXES, *LATER_SUFFIXES):
        return None
    parts = source.split(".")
    return "function" if len(parts) > 1 and all(part.isidentifier() for part in parts) else None


def name_fault(name: str) -> tuple[str, str] | None:
    """Message and hint for a text that cannot name a task; None: it can."""
    if name != name.strip():
        return f"{show(name)} begins or ends with a space", "remove the space"
    if name.startswith("-"):
        return f"{show(name)} looks like an option on the command line", "start with a letter"
    if bad := next((mark for mark in "/\\*?[" if mark in name), None):
        what = "a wildcard" if bad in "*?[" else "a path separator"
        return f"{show(name)} contains '{bad}', {what}", "use '-' or '_' in its place"
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        return f"{show(name)} is longer than {MAX_NAME_BYTES} bytes", "shorten it"
    return None


def seconds_of(text: str) -> float | None:
    """Seconds of a duration such as ``90s``, ``10 min`` or ``1h 30m``; None: it is none."""
    total, rest = 0.0, text.strip()
    while rest:
        match = _DURATION.match(rest)
        unit = match[2].lower() if match else ""
        size = _SECONDS.get(unit) or _SECONDS.get(unit.removesuffix("s"))
        if match is None or size is None:
            return None
        total += float(match[1]) * size
        rest = rest[match.end() :]
    return total or None


def bytes_of(text: str) -> int | None:
    """Bytes of a size such as ``2G`` (powers of 1000) or ``512Mi`` (of 1024); None: it is none."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        return None
    power = " KMGTP".index(match[2].upper() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power) or None


class _Reader:
    """Reads one file. What was wrong is left out of ``tasks`` and stands in the problems."""

    def __init__(self, file: str, source_fault: SourceFault | None) -> None:
        self.file = file
        self.walk = Walk(file)
        self.meta = Meta()
        self.tasks: list[Task] = []
        self._source_fault = source_fault
        self._names: dict[str, int] = {}
        self._products: list[tuple[str, Node, str]] = []

    def read(self, root: Node) -> None:
        if isinstance(root, Sequence):  # a bare list of tasks
            key = Scalar(root.line, root.column, root.line, "tasks", False, None)
            root = Mapping(root.line, root.column, root.end, False, {"tasks": (key, root)})
        top = self.walk.read(root, shape_of(SpecFile), "")
        if top is UNSET or not isinstance(root, Mapping):
            return
        self.meta = _meta(top.meta)
        rows = root.get("tasks")
        if isinstance(rows, Sequence):
            for i, (node, entry) in enumerate(zip(rows.items, top.tasks, strict=True)):
                if entry is not UNSET and isinstance(node, Mapping):
                    self._task(node, entry, join_key("tasks", i))
        self._clashes()

    def _task(self, node: Mapping, entry: TaskEntry, key: str) -> None:
        kind = self._kind(node, entry, key)
        source = _posix(entry.source) if kind == "notebook" else entry.source
        self.tasks.append(
            Task(
                name=self._name(node, entry, kind, key),
                source=source,
                kind=kind,
                product=self._product(node, entry, source, kind, key),
                params=self._params(node, entry, key),
                upstream=self._upstream(node, entry, key),
                timeout=self._timeout(node, entry, key),
                retries=entry.retries or 0,
                resources=self._resources(node, entry, key),
                group=entry.group or None,
                kernel=self._kernel(node, entry, key),
                at=Location(self.file, node.line, node.column),
            )
        )

    def _report(self, node: Mapping, at: str, key: str, message: str, hint: str | None) -> None:
        self.walk.report(node.get(at) or node, join_key(key, at), message, hint)

    def _kind(self, node: Mapping, entry: TaskEntry, key: str) -> Kind:
        kind = kind_of(entry.source)
        if kind is None:
            suffix = PurePosixPath(entry.source).suffix
            what = f"{show(entry.source)} is neither a script nor a function"
            if suffix in LATER_SUFFIXES:
                what = f"{suffix} sources are not supported yet"
            hint = f"a script ends in {', '.join(SCRIPT_SUFFIXES)}; a function is module.function"
            self._report(node, "source", key, what, hint)
        elif self._source_fault and (fault := self._source_fault(entry.source, kind)):
            self._report(node, "source", key, *fault)
        return kind or "notebook"

    def _name(self, node: Mapping, entry: TaskEntry, kind: Kind, key: str) -> str:
        if "name" in node.entries and not entry.name:
            return ""  # reported already
        at, name = "name", entry.name
        if not name:
            at = "source"
            name = (
                PurePosixPath(entry.source).stem
                if kind == "notebook"
                else entry.source.rpartition(".")[2]
            )
        if fault := name_fault(name):
            message, hint = fault
            self._report(node, at, key, f"the name {message}", hint)
        elif name in self._names:
            what = f"the name {show(name)} is taken by the task on line {self._names[name]}"
            hint = "give each its own name" if at == "name" else "give it its own 'name:'"
            self._report(node, at, key, what, hint)
        else:
            self._names[name] = (node.get(at) or node).line
        return name

    def _product(
        self, node: Mapping, entry: TaskEntry, source: str, kind: Kind, key: str
    ) -> Product:
        declared = entry.product
        if not declared:
            if declared == {}:
                what, hint = "is empty", "name a path or remove the key"
                self._report(node, "product", key, what, hint)
            return None
        folder = ""
        if self.meta.product_relative_to_source:
            folder = _source_folder(source, kind)
        at = node.entries["product"][1]
        if isinstance(declared, str):
            return self._path(at, join_key(key, "product"), folder, declared)
        assert isinstance(at, Mapping)
        paths = {}
        for name, path in declared.items():
            where, place = join_key(join_key(key, "product"), name), at.entries[name]
            if not name or not name.isprintable():
                self.walk.report(place[0], where, "a product needs a printable name", "name it")
            if isinstance(path, str):
                paths[name] = self._path(place[1], where, folder, path)
        return paths

    def _path(self, node: Node, key: str, folder: str, text: str) -> str:
        path = posixpath.normpath(posixpath.join(folder, _posix(text)))
        if posixpath.basename(path) in ("", ".", ".."):
            what = f"{show(text)} is a folder that holds the pipeline itself"
            self.walk.report(node, key, what, "name a file, or a folder below")
        else:
            self._products.append((path, node, key))
        return path

    def _params(self, node: Mapping, entry: TaskEntry, key: str) -> dict[str, object]:
        params = entry.params or {}
        at = node.get("params")
        for name in ("upstream", "product"):
            if name in params and isinstance(at, Mapping):
                where = join_key(join_key(key, "params"), name)
                what = f"'{name}' is a variable that nbpipe itself gives to the source"
                self.walk.report(at.entries[name][0], where, what, "take another name")
        return params

    def _upstream(self, node: Mapping, entry: TaskEntry, key: str) -> tuple[str, ...] | None:
        if self.meta.extract_upstream:
            if "upstream" in node.entries:
                what = "the source itself declares its upstream"
                hint = "remove the key, or write 'extract_upstream: false' under 'meta:'"
                self._report(node, "upstream", key, what, hint)
            return None
        if not entry.upstream:
            return ()
        names = [entry.upstream] if isinstance(entry.upstream, str) else entry.upstream
        return tuple(dict.fromkeys(names))

    def _timeout(self, node: Mapping, entry: TaskEntry, key: str) -> float | None:
        if not isinstance(entry.timeout, str):
            return None if entry.timeout is UNSET else float(entry.timeout)
        seconds = seconds_of(entry.timeout)
        if seconds is None:
            what = f"{show(entry.timeout)} is no duration"
            self._report(node, "timeout", key, what, "write seconds, or '90s', '10 min', '2h'")
        return seconds

    def _resources(self, node: Mapping, entry: TaskEntry, key: str) -> Resources:
        wish = entry.resources or ResourcesEntry()
        memory = wish.memory
        if isinstance(memory, str):
            text, memory = memory, bytes_of(memory) or UNSET
            if memory is UNSET:
                at, where = node.get("resources"), join_key(key, "resources")
                what, hint = f"{show(text)} is no size", "write bytes, or '2G', '512Mi'"
                self._report(at if isinstance(at, Mapping) else node, "memory", where, what, hint)
        return Resources(cpu=wish.cpu or None, gpu=_given(wish.gpu), memory=memory or None)

    def _kernel(self, node: Mapping, entry: TaskEntry, key: str) -> str | None:
        if entry.kernel and entry.kernelspec_name:
            what, hint = "means the same as 'kernel'", "remove one of the two"
            self._report(node, "kernelspec_name", key, what, hint)
        return entry.kernel or entry.kernelspec_name or None

    def _clashes(self) -> None:
        """Two tasks with one product, or a product that would overwrite a source."""
        sources = {task.source for task in self.tasks}
        seen: dict[str, int] = {}
        for path, node, key in self._products:
            if path in seen:
                what = f"{show(path)} is already the product on line {seen[path]}"
                self.walk.report(node, key, what, "give each product its own path")
            elif path in sources:
                what = f"{show(path)} is the source of a task"
                self.walk.report(node, key, what, "a product must not overwrite a source")
            elif path == self.file:
                self.walk.report(node, key, "is this file itself", "take another path")
            seen.setdefault(path, node.line)


def _meta(entry: MetaEntry | UnsetType | None) -> Meta:
    given = {} if not entry else msgspec.structs.asdict(entry)
    return Meta(**{key: value for key, value in given.items() if value is not UNSET})


def _given(value: int | UnsetType) -> int | None:
    return None if value is UNSET else value


def _posix(path: str) -> str:
    return posixpath.normpath(path.replace("\\", "/") if os.sep == "\\" else path)


def _source_folder(source: str, kind: Kind) -> str:
    """Folder that relative products start from; of ``a.b.run`` that of the file ``a/b.py``."""
    return posixpath.dirname(source) if kind == "notebook" else "/".join(source.split(".")[:-2])


def _bounded(problems: list[Problem], file: str) -> Iterable[Problem]:
    yield from problems[:MAX_PROBLEMS]
    if len(problems) > MAX_PROBLEMS:
        what = f"and {len(problems) - MAX_PROBLEMS} more problems"
        yield Problem(file, 0, 0, "", what)
