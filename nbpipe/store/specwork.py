"""What an entry says of databases, of scripts for other tools, and of serializers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import UNSET

from nbpipe.core.model import Kind
from nbpipe.core.options import Call
from nbpipe.core.work import Relation, ScriptWork, Serializing, Tool
from nbpipe.errors import did_you_mean
from nbpipe.store.speccalls import hook_call
from nbpipe.store.specclasses import (
    GENERIC,
    PRODUCT_CLASSES,
    RELATION_CLASSES,
    SPEAKS_SQL,
    TASK_CLASSES,
    class_name_of,
    default_product_class,
)
from nbpipe.store.specgrid import rendered
from nbpipe.store.specparams import Setting
from nbpipe.store.spectaskkeys import SerializerKeys
from nbpipe.store.spectypes import TaskEntry
from nbpipe.store.specwalk import Walk
from nbpipe.store.yamlnodes import Mapping as MappingNode
from nbpipe.store.yamlnodes import Node, join_key, show

CHUNK = 10_000
"""Rows at a time, for the tools that have a size of their own."""

FILES = "File"
"""The class of products whose client is the store of the whole pipeline."""

_CALL_HINT = "write module.function, or {dotted_path: module.function, argument: value}"
_RELATION_HINT = "write [schema, name, table], or [name, view]"
_SHA = re.compile(r"[0-9a-fA-F]{64}")

_KEYS: dict[str, frozenset[Tool]] = {
    "client": SPEAKS_SQL,
    "chunksize": frozenset({"dump", "transfer", "upload"}),
    "to_sql_kwargs": frozenset({"upload"}),
    "io_handler": frozenset({"dump", "upload"}),
    "sha256": frozenset({"download"}),
}
"""The keys that only some tools understand."""


class BadRelation(ValueError):
    """A product that should name a relation does not; its arguments are a message and a hint."""


class WorkReader:
    """Reads these keys of one entry; what is wrong is reported.

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
        self._calls: dict[str, Call | None] = {}

    def _report(self, at: str, message: str, hint: str | None) -> None:
        self._walk.report(self._node.get(at) or self._node, join_key(self._key, at), message, hint)

    def work(self, kind: Kind, tool: Tool | None) -> ScriptWork | None:
        """How the task runs; None: it is a notebook or a function."""
        entry = self._entry
        for name, tools in _KEYS.items():
            generic = name == "client" and entry.product_class is not UNSET
            if name in self._node.entries and tool not in tools and not generic:
                hint = "remove it, or name the task's 'class:'"
                self._report(name, f"key '{name}' means nothing for this task", hint)
        if "product_client" in self._node.entries and self.product_class(kind, tool) == FILES:
            hint = "write 'clients: {File: module.function}', or 'store:' under 'meta:'"
            self._report("product_client", "files of one task have no client of their own", hint)
        if tool is None:
            return None
        return ScriptWork(
            tool=tool,
            client=self._client(tool) if tool in SPEAKS_SQL else None,
            chunksize=self._chunksize(tool),
            to_sql=entry.to_sql_kwargs or {},
            io_handler=self._handler(tool),
            sha256=self._sha(),
            templates=(self._setting.base,) if self._setting.base else (),
        )

    def serializing(self, kind: Kind) -> Serializing:
        """What stands between a function and the disk; only functions are served so."""
        if kind == "function":
            own = read_serializing(self._walk, self._node, self._entry, self._key)
            common = self._setting.serializing
            return Serializing(own.write or common.write, own.read or common.read)
        for name in ("serializer", "unserializer"):
            if name in self._node.entries:
                self._report(name, f"key '{name}' is for functions", "remove it")
        return Serializing()

    # -- clients -------------------------------------------------------------------------

    def _client(self, tool: Tool) -> Call | None:
        found = self._said("client") or self._setting.clients.get(class_name_of("script", tool))
        if found is None and "client" not in self._node.entries:
            name = class_name_of("script", tool)
            hint = f"write 'clients: {{{name}: module.function}}', or 'client:' in the task"
            self._report("class" if self._entry.class_ else "source", "has no client", hint)
        return found

    def product_client(self, kind: Kind, tool: Tool | None, product_class: str) -> Call | None:
        """The client of the database in which the products are; None: there is none.

        A generic relation's own client keeps Ploomber's notes: the relation is in the task's.
        """
        clients = self._setting.clients
        own = self._said("product_client") or clients.get(product_class)
        task = self._said("client") or clients.get(class_name_of(kind, tool))
        if product_class == "GenericSQLRelation" and tool != "transfer":
            return task or own
        return own or task

    def task_client(self, kind: Kind, tool: Tool | None) -> Call | None:
        """The client that hooks are given; None: there is none."""
        return self._said("client") or self._setting.clients.get(class_name_of(kind, tool))

    def _said(self, key: str) -> Call | None:
        """The function that a key of the task names; what is wrong with it is told once."""
        if key not in self._calls:
            said = getattr(self._entry, key)
            self._calls[key] = hook_call(said) if said is not UNSET and said is not None else None
            if said is not UNSET and said is not None and self._calls[key] is None:
                self._report(key, f"{show(str(said))} names no function", _CALL_HINT)
        return self._calls[key]

    # -- options -------------------------------------------------------------------------

    def _chunksize(self, tool: Tool) -> int | None:
        said = self._entry.chunksize
        if said is UNSET:
            return CHUNK if tool in ("dump", "transfer") else None
        return said

    def _handler(self, tool: Tool) -> str | None:
        said = self._entry.io_handler
        if not isinstance(said, str):
            return None
        known = {"csv": "csv", "parquet": "parquet", "CSVIO": "csv", "ParquetIO": "parquet"}
        found = known.get(said.rpartition(".")[2])
        if found is None and tool == "upload" and (call := hook_call(said)) is not None:
            return call.function
        if found is None:
            self._report("io_handler", f"{show(said)} is no format", "write csv or parquet")
        return found

    def _sha(self) -> str | None:
        said = self._entry.sha256
        if not isinstance(said, str):
            return None
        if not _SHA.fullmatch(said):
            self._report("sha256", f"{show(said)} is no digest", "64 hexadecimal digits")
        return said.lower()

    # -- products ------------------------------------------------------------------------

    def product_class(self, kind: Kind, tool: Tool | None) -> str:
        """The class of the products."""
        said = self._entry.product_class
        if isinstance(said, str):
            return said
        default = self._setting.product_classes.get(class_name_of(kind, tool))
        return default or default_product_class(tool)

    def relation(
        self, said: Any, product_class: str, client: Call | None, variant: Variant
    ) -> Relation:
        """The relation that a product names.

        Raises:
            BadRelation: it names none.
            GridError: a placeholder in it stands for no param.
        """
        if product_class == GENERIC:
            if not isinstance(said, str):
                raise BadRelation("names no product", "write a text that identifies it")
            return Relation(name=variant.filled(said), kind="other")
        if product_class not in RELATION_CLASSES:
            hint = "write a path; of a table or view also 'product_class: SQLRelation'"
            raise BadRelation(f"is a list, but the product is a {product_class}", hint)
        if not isinstance(said, list):
            raise BadRelation("is a path, but the product is a table or view", _RELATION_HINT)
        if len(said) not in (2, 3) or not all(isinstance(part, str) for part in said[-2:]):
            raise BadRelation("names no table or view", _RELATION_HINT)
        kind = _kind(said[-1])
        if kind is None:
            hint = did_you_mean(said[-1], ("table", "view")) or "table or view"
            raise BadRelation(f"is of the kind {show(said[-1])}", hint)
        if client is None:
            raise BadRelation(
                "has no client",
                f"write 'clients: {{{product_class}: module.function}}', or 'product_client:'",
            )
        schema = said[0] if len(said) == 3 else None
        return Relation(schema=schema, name=variant.filled(said[-2]), kind=kind, client=client)


class Variant:
    """Which task of a grid is meant.

    Args:
        index: its number; None: there is no grid.
        values: its params.
    """

    def __init__(self, index: int | None, values: Mapping[str, Any]) -> None:
        self.index = index
        self.values = values

    def filled(self, name: str) -> str:
        """The name of a relation of this task."""
        return name if self.index is None else rendered(f"{name}-{self.index}", self.values)


def _kind(said: str) -> Literal["table", "view"] | None:
    if said == "table":
        return "table"
    return "view" if said == "view" else None


def read_serializing(walk: Walk, node: MappingNode, entry: SerializerKeys, key: str) -> Serializing:
    """The serializers of a task, or of the whole spec."""
    found: dict[str, Call | None] = {}
    for name, said in (("serializer", entry.serializer), ("unserializer", entry.unserializer)):
        found[name] = None
        if said is UNSET or said is None:
            continue
        found[name] = hook_call(said)
        if found[name] is None:
            where, at = join_key(key, name), node.get(name) or node
            walk.report(at, where, f"{show(str(said))} names no function", _CALL_HINT)
    return Serializing(found["serializer"], found["unserializer"])


def read_clients(walk: Walk, node: Node, said: Any) -> dict[str, Call]:
    """The clients of a spec, by the class of a task or a product; that of `FILES` gives a store."""
    known = [*TASK_CLASSES, *PRODUCT_CLASSES]
    found: dict[str, Call] = {}
    for name, value in (said or {}).items():
        at = node.get(name) if isinstance(node, MappingNode) else None
        where, call = join_key("clients", name), None
        if value is not UNSET and value is not None:
            call = hook_call(value)
        if name == "ShellScript":
            what = f"clients of a {name} are not supported"
            walk.report(at or node, where, what, "remove it: the task runs on this machine")
        elif name not in known:
            what = f"there is no class {show(name)}"
            walk.report(at or node, where, what, did_you_mean(name, known))
        elif call is None:
            what = f"{show(str(value))} names no function"
            walk.report(at or node, where, what, _CALL_HINT)
        else:
            found[name] = call
    return found
