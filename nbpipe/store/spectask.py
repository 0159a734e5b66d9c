"""One entry under ``tasks`` as a task, or as the many tasks of its grid."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from nbpipe.core.model import Kind, Location, Product, Resources, Task
from nbpipe.core.options import PLAIN, Call, NotebookOptions
from nbpipe.core.units import bytes_of, seconds_of
from nbpipe.core.work import LINKS, READS_FILE, TEMPLATES
from nbpipe.errors import Problem
from nbpipe.store.speccalls import param_call, read_hooks
from nbpipe.store.specclasses import tool_of
from nbpipe.store.specgrid import GridError, names, variants
from nbpipe.store.specnames import kind_of, name_fault, stem_of
from nbpipe.store.specoptions import OptionReader
from nbpipe.store.specparams import Setting, posix, read_params
from nbpipe.store.specsettings import read_kind
from nbpipe.store.spectaskproducts import ProductPath, ProductReader, Products
from nbpipe.store.spectypes import SCRIPT_SUFFIXES, TEMPLATE_SUFFIXES, ResourcesEntry, TaskEntry
from nbpipe.store.specwalk import Walk
from nbpipe.store.specwork import WorkReader
from nbpipe.store.yamlnodes import Mapping as MappingNode
from nbpipe.store.yamlnodes import Node, join_key, show

_SUFFIXES = ", ".join((*SCRIPT_SUFFIXES, *TEMPLATE_SUFFIXES))


class TaskReader:
    """Reads one entry. What is wrong with it is reported and left out.

    Args:
        walk: takes the reports.
        setting: what all tasks have in common.
        node: of the entry.
        entry: its keys.
        key: its path.
    """

    def __init__(
        self, walk: Walk, setting: Setting, node: MappingNode, entry: TaskEntry, key: str
    ) -> None:
        self._walk = walk
        self._setting = setting
        self._node = node
        self._entry = entry
        self._key = key
        self._options = OptionReader(walk, node, entry, key)
        self._work = WorkReader(walk, setting, node, entry, key)
        self._products = ProductReader(walk, setting, node, entry, key, self._work)
        said = entry.class_ if isinstance(entry.class_, str) else None
        self._tool = tool_of(entry.source or "", said, entry.product)

    @property
    def products(self) -> list[ProductPath]:
        """All products that were read so far."""
        return self._products.paths

    def tasks(self) -> Iterator[Task]:
        """The task, or all of its grid."""
        entry, walk = self._entry, self._walk
        kind, source = self._source()
        keeps = read_kind(walk, self._node, entry, kind, self._key) if _has_class(entry) else True
        calls: dict[str, Call] = {}
        params = read_params(walk, self._setting, self._node, entry, self._key, calls)
        beside = self._setting.meta.product_relative_to_source
        folder = source_folder(source, kind) if beside else ""
        first: Task | None = None
        for name, values, index in self._variants(kind, params):
            made = self._products.products(folder, kind, self._tool, index, values)
            if first is None:
                first = self._task(name, source, kind, made, keeps, values, calls)
                yield first
            else:
                own = {"product": made.product, "relations": made.relations, "params": values}
                yield msgspec.structs.replace(first, name=name, **own)

    def name_node(self) -> Node:
        """What the name stands in."""
        return self._node.get("name") or self._node.get("source") or self._node

    def report_name(self, message: str, hint: str | None) -> None:
        """Note what is wrong with the name."""
        self._report("name" if self._entry.name else "source", message, hint)

    def _task(
        self,
        name: str,
        source: str,
        kind: Kind,
        made: Products,
        keeps: bool,
        params: dict[str, Any],
        calls: dict[str, Call],
    ) -> Task:
        entry, product = self._entry, made.product
        return Task(
            name=name,
            source=source or next(iter(_listed(product)), ""),
            kind=kind,
            product=product,
            relations=made.relations,
            work=self._work.work(kind, self._tool),
            client=self._work.task_client(kind, self._tool),
            serializing=self._work.serializing(kind),
            params=params,
            calls=calls,
            upstream=self._upstream(),
            timeout=self._timeout(),
            retries=entry.retries or 0,
            resources=self._resources(),
            group=entry.group or None,
            kernel=self._kernel(),
            hooks=read_hooks(self._walk, self._node, entry, self._key),
            options=self._notebook(kind, product, keeps),
            at=Location(self._walk.file, self._node.line, self._node.column),
        )

    def _report(self, at: str, message: str, hint: str | None) -> None:
        self._walk.report(self._node.get(at) or self._node, join_key(self._key, at), message, hint)

    # -- source and name -----------------------------------------------------------------

    def _source(self) -> tuple[Kind, str]:
        said = self._entry.source
        if said is UNSET:
            return "script", self._without_source()
        kind: Kind | None = "script" if self._tool is not None else kind_of(said)
        if self._tool == "download":
            return "script", said
        if kind is None:
            what = f"{show(said)} is neither a script nor a function"
            hint = f"a script ends in {_SUFFIXES}; a function is module.function"
            self._report("source", what, hint)
        source = said if kind in ("function", None) else self._located(said)
        reads = self._tool in READS_FILE or self._tool in LINKS
        look = None if kind is None or reads else self._setting.source_fault
        if look is not None and kind is not None and (fault := look(source, kind)):
            self._report("source", *fault)
        return kind or "notebook", source

    def _without_source(self) -> str:
        if self._tool not in LINKS and "source" not in self._node.entries:
            self._walk.report(self._node, self._key, "key 'source' is missing", "add 'source:'")
        elif self._tool in LINKS and not self._entry.product:
            what = "names no product: the file that others make"
            self._walk.report(self._node, self._key, what, "add 'product:'")
        return ""

    def _located(self, said: str) -> str:
        """The path of a source relative to the root."""
        source = posix(said)
        if not os.path.isabs(said) and self._tool not in READS_FILE:
            source = posix(posixpath.join(self._setting.base, source))
        return source if self._setting.around is None else self._setting.around.relative(source)

    def _name(self, kind: Kind) -> str:
        entry = self._entry
        if "name" in self._node.entries and not entry.name:
            return ""  # reported already
        if entry.name:
            return entry.name
        said = entry.source or next(iter(_listed(entry.product)), "")
        return _last(said) if kind == "function" else stem_of(said)

    def _checked(self, name: str) -> str:
        if name and (fault := name_fault(name)):
            message, hint = fault
            self.report_name(f"the name {message}", hint)
        return name

    def _variants(
        self, kind: Kind, params: dict[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any], int | None]]:
        """Name, params and number of each task; a number of None: there is no grid."""
        base, grid = self._name(kind), self._entry.grid
        if not grid:
            if "grid" in self._node.entries and grid is not UNSET:
                self._report("grid", "is empty", "list the values of at least one param")
            yield self._checked(base), params, None
            return
        if not self._entry.name:
            self._report("grid", "a task with a grid needs a name", "add 'name:', such as 'fit-'")
            return
        if (given := self._called(grid)) is None:
            return
        try:
            found = variants(given, params)
            listed = list(zip(names(base, found), found, strict=True))
        except GridError as error:
            message, hint = error.args
            self._report("grid", message, hint)
            return
        for index, (name, values) in enumerate(listed):
            yield self._checked(name), values, index

    def _called(self, grid: Any) -> Any:
        """The grid with what functions give; None: that is not known, or it is wrong."""
        if grid is UNSET:
            return None
        if isinstance(grid, list):
            parts = [self._called(one) for one in grid]
            return None if None in parts else parts
        found = {}
        for name, value in grid.items():
            call = param_call(value)
            given = self._setting.value(call) if call is not None else value
            if given is UNSET:
                self._pend(name, said=value)
                return None
            found[name] = given
        return found

    def _pend(self, name: str, said: Any) -> None:
        """Note that nobody knows yet what a grid's function gives."""
        if self._setting.around is not None:
            at, key = self._node.get("grid") or self._node, join_key(self._key, "grid")
            what = f"what {show(str(said))} gives is not known: no build has called it yet"
            hint = "nbpipe plan and nbpipe build call it"
            place = (self._walk.file, at.line, at.column, join_key(key, name))
            self._setting.around.pending.append(Problem(*place, what, hint))

    # -- the rest ------------------------------------------------------------------------

    def _upstream(self) -> tuple[str, ...] | None:
        said = self._entry.upstream
        silent = self._tool is not None and self._tool not in TEMPLATES
        if self._tool in LINKS and said:
            self._report("upstream", "others make this file", "remove the key")
            return ()
        if self._setting.meta.extract_upstream and not silent:
            if "upstream" in self._node.entries and said is not None and said != []:
                what = "the source itself declares its upstream"
                hint = "remove the key, or write 'extract_upstream: false' under 'meta:'"
                self._report("upstream", what, hint)
            return None
        if not said:
            return ()
        return tuple(dict.fromkeys([said] if isinstance(said, str) else said))

    def _timeout(self) -> float | None:
        said = self._entry.timeout
        if not isinstance(said, str):
            return None if said is UNSET else float(said)
        seconds = seconds_of(said)
        if seconds is None:
            hint = "write seconds, or '90s', '10 min', '2h'"
            self._report("timeout", f"{show(said)} is no duration", hint)
        return seconds

    def _resources(self) -> Resources:
        wish = self._entry.resources or ResourcesEntry()
        memory = wish.memory
        if isinstance(memory, str):
            text, memory = memory, bytes_of(memory) or UNSET
            if memory is UNSET:
                at, where = self._node.get("resources"), join_key(self._key, "resources")
                inner = at.get("memory") if isinstance(at, MappingNode) else None
                what, hint = f"{show(text)} is no size", "write bytes, or '2G', '512Mi'"
                self._walk.report(inner or self._node, join_key(where, "memory"), what, hint)
        gpu = None if wish.gpu is UNSET else wish.gpu
        return Resources(cpu=wish.cpu or None, gpu=gpu, memory=memory or None)

    def _kernel(self) -> str | None:
        entry = self._entry
        if entry.kernel and entry.kernelspec_name:
            hint = "remove one of the two"
            self._report("kernelspec_name", "means the same as 'kernel'", hint)
        return entry.kernel or entry.kernelspec_name or self._options.kernel()

    def _notebook(self, kind: Kind, product: Product, keeps: bool) -> NotebookOptions:
        if kind == "notebook":
            return self._options.options(product, keeps)
        self._options.only_notebooks()
        return PLAIN


def source_folder(source: str, kind: Kind) -> str:
    """Folder that relative products start from; of ``a.b.run`` that of the file ``a/b.py``."""
    return "/".join(source.split(".")[:-2]) if kind == "function" else posixpath.dirname(source)


def _listed(product: Any) -> Iterator[str]:
    """The products that are texts."""
    for one in product.values() if isinstance(product, Mapping) else [product]:
        if isinstance(one, str):
            yield one


def _has_class(entry: TaskEntry) -> bool:
    return entry.class_ is not UNSET or entry.product_class is not UNSET


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]
