"""The text of pipeline.yaml to a `Spec`: defaults filled in, units converted, clashes found."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET

from nbpipe.core.model import Meta, Spec, Task
from nbpipe.core.options import NO_HOOKS, Call
from nbpipe.core.units import bytes_of, seconds_of
from nbpipe.core.work import PLAIN_FUNCTION
from nbpipe.errors import Problem, SpecError
from nbpipe.store.specaround import Around
from nbpipe.store.speccalls import read_hooks
from nbpipe.store.specnames import MAX_NAME_BYTES, kind_of, name_fault
from nbpipe.store.specparams import Setting
from nbpipe.store.specsettings import (
    check_classes,
    check_compat,
    check_kernels,
    read_executor,
    read_meta,
    source_base,
)
from nbpipe.store.specsources import SourceFault
from nbpipe.store.spectask import TaskReader
from nbpipe.store.spectaskproducts import ProductPath
from nbpipe.store.spectypes import MetaEntry, SpecFile, TaskEntry
from nbpipe.store.specwalk import MAX_PROBLEMS, Walk, shape_of
from nbpipe.store.specwork import FILES, read_clients, read_serializing
from nbpipe.store.yamlnodes import Mapping, Node, Scalar, Sequence, join_key, show
from nbpipe.store.yamltext import compose

__all__ = [
    "MAX_NAME_BYTES",
    "SourceFault",
    "bytes_of",
    "kind_of",
    "name_fault",
    "parse_spec",
    "seconds_of",
]


def parse_spec(
    data: bytes,
    file: str,
    source_fault: SourceFault | None = None,
    around: Around | None = None,
) -> Spec:
    """The spec that a text describes.

    Args:
        data: text of the file, UTF-8.
        file: its name, for messages.
        source_fault: looks for a source; None: sources are not looked for.
        around: the folder that it lies in, and what fills its placeholders; None: no other file
            is read, and placeholders stay as they are.

    Raises:
        SpecError: all that is wrong, in the order of the file.
    """
    root, problems = compose(data, file)
    reader = _Reader(file, source_fault, around)
    if root is None or (isinstance(root, Scalar) and not root.text):
        problems.append(
            Problem(file, 0, 0, "", "the file is empty", "list the steps under 'tasks:'")
        )
    else:
        reader.read(root)
    problems += reader.problems()
    if problems:
        problems.sort(key=lambda p: (p.file != file, p.file, p.line, p.column))
        raise SpecError(_bounded(problems, file))
    return reader.spec()


class _Reader:
    """Reads one file, and the one whose tasks it imports."""

    def __init__(self, file: str, source_fault: SourceFault | None, around: Around | None) -> None:
        self.file = file
        self._walks = [Walk(file, fills=around is not None)]
        self._source_fault = source_fault
        self._around = around
        self._top: SpecFile | None = None
        self._meta = Meta()
        self._hooks = NO_HOOKS
        self._clients: dict[str, Call] = {}
        self._serializing = PLAIN_FUNCTION
        self._product_classes: dict[str, str] = {}
        self._jobs: int | None = None
        self._tasks: list[Task] = []
        self._names: dict[str, tuple[Walk, Node]] = {}
        self._products: list[tuple[Walk, ProductPath]] = []

    def spec(self) -> Spec:
        """What was read."""
        return Spec(
            tasks=tuple(self._tasks),
            meta=self._meta,
            file=self.file,
            hooks=self._hooks,
            jobs=self._jobs,
        )

    def problems(self) -> list[Problem]:
        """All that was wrong."""
        filled = self._around.filler.problems if self._around is not None else []
        return [*filled, *(problem for walk in self._walks for problem in walk.problems)]

    def read(self, root: Node) -> None:
        walk = self._walks[0]
        if isinstance(root, Sequence):  # a bare list of tasks
            key = Scalar(root.line, root.column, root.line, "tasks", False, None)
            root = Mapping(root.line, root.column, root.end, False, {"tasks": (key, root)})
        root = self._filled(root, self.file)
        top = walk.read(root, shape_of(SpecFile), "")
        if top is UNSET or not isinstance(root, Mapping):
            return
        meta = root.get("meta")
        entry = top.meta or MetaEntry()
        self._meta = read_meta(top)
        self._hooks = read_hooks(walk, root, top, "")
        self._jobs = read_executor(walk, root, top.executor)
        check_classes(walk, meta, entry)
        check_kernels(walk, meta, entry)
        check_compat(walk, meta, entry)
        base = source_base(walk, meta, entry, self._around)
        self._clients = read_clients(walk, root.get("clients") or root, top.clients)
        self._read_store()
        self._serializing = read_serializing(walk, root, top, "")
        self._product_classes = entry.product_default_class or {}
        self._list(walk, root.get("tasks"), top.tasks, base)
        if entry.import_tasks_from and self._around is not None:
            at = meta.get("import_tasks_from") if isinstance(meta, Mapping) else None
            self._import(walk, at or root, entry.import_tasks_from, self._around)
        self._clashes()

    def _read_store(self) -> None:
        """The store that a client of files gives, once a build has called it."""
        call = self._clients.get(FILES)
        address = UNSET if call is None or self._around is None else self._around.value(call)
        if isinstance(address, str) and not self._meta.store:
            self._meta = msgspec.structs.replace(self._meta, store=address)

    def _filled(self, node: Node, file: str) -> Node:
        return node if self._around is None else self._around.filler.fill(node, file)

    def _import(self, walk: Walk, at: Node, said: str, around: Around) -> None:
        """The tasks of another file."""
        path, key = posixpath.normpath(around.relative(said)), "meta.import_tasks_from"
        data = around.read(path)
        if data is None:
            walk.report(at, key, f"no file {show(said)}", "check the path")
            return
        root, problems = compose(data, path)
        inner = Walk(path)
        inner.problems += problems
        self._walks.append(inner)
        if not isinstance(root, Sequence):
            walk.report(at, key, f"{show(said)} is not a list of tasks", "write '- source: …'")
            return
        root = self._filled(root, path)
        rows = inner.read(root, shape_of(list[TaskEntry]), "")
        self._list(inner, root, rows, posixpath.dirname(path))

    def _list(self, walk: Walk, rows: Node | None, entries: list[Any], base: str) -> None:
        if not isinstance(rows, Sequence):
            return
        setting = Setting(
            self._meta,
            base,
            self._around,
            self._source_fault,
            clients=self._clients,
            product_classes=self._product_classes,
            serializing=self._serializing,
        )
        path = "" if walk is not self._walks[0] else "tasks"
        for i, (node, entry) in enumerate(zip(rows.items, entries, strict=True)):
            if entry is not UNSET and isinstance(node, Mapping):
                reader = TaskReader(walk, setting, node, entry, join_key(path, i))
                self._add(walk, reader)

    def _add(self, walk: Walk, reader: TaskReader) -> None:
        for task in reader.tasks():
            if task.name in self._names:
                other, node = self._names[task.name]
                where = f"line {node.line}" + (f" of {other.file}" if other is not walk else "")
                what = f"the name {show(task.name)} is taken by the task on {where}"
                reader.report_name(what, "give each its own 'name:'")
            elif task.name:
                self._names[task.name] = (walk, reader.name_node())
            self._tasks.append(task)
        self._products += [(walk, product) for product in reader.products]

    def _clashes(self) -> None:
        """Two tasks with one product, or a product that would overwrite a source."""
        sources = {task.source for task in self._tasks if not task.is_link and not _reads(task)}
        seen: dict[str, int] = {}
        for walk, product in self._products:
            path, node, key = product.path, product.node, product.key
            if path in seen:
                what = f"{show(product.shown)} is already the product on line {seen[path]}"
                walk.report(node, key, what, "give each product its own path")
            elif path in sources:
                what = f"{show(path)} is the source of a task"
                walk.report(node, key, what, "a product must not overwrite a source")
            elif path == self.file:
                walk.report(node, key, "is this file itself", "take another path")
            seen.setdefault(path, node.line)


def _reads(task: Task) -> bool:
    """Whether the source is a file of data, which another task may make."""
    return task.source in task.files.values()


def _bounded(problems: list[Problem], file: str) -> Iterable[Problem]:
    yield from problems[:MAX_PROBLEMS]
    if len(problems) > MAX_PROBLEMS:
        what = f"and {len(problems) - MAX_PROBLEMS} more problems"
        yield Problem(file, 0, 0, "", what)
