"""The products of one entry: paths, and the relations of databases."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

import msgspec

from nbpipe.core.model import Kind, Product
from nbpipe.core.options import Call
from nbpipe.core.work import Relation, Tool
from nbpipe.store.specclasses import GENERIC, RELATION_CLASSES
from nbpipe.store.specgrid import GridError, numbered
from nbpipe.store.specparams import Setting, posix
from nbpipe.store.spectypes import TaskEntry
from nbpipe.store.specwalk import Walk
from nbpipe.store.specwork import BadRelation, Variant, WorkReader
from nbpipe.store.yamlnodes import Mapping as MappingNode
from nbpipe.store.yamlnodes import Node, join_key, show


class ProductPath(msgspec.Struct, frozen=True):
    """A declared product with its place in the spec, and what a reader calls it."""

    path: str
    node: Node
    key: str
    shown: str


class Products(msgspec.Struct, frozen=True):
    """The products of a task, and which of them are relations, by the paths of their notes."""

    product: Product
    relations: dict[str, Relation]


class ProductReader:
    """Reads them; what is wrong is reported and left out.

    Args:
        walk: takes the reports.
        setting: what all tasks have in common.
        node: of the entry.
        entry: its keys.
        key: its path.
        work: reads what the entry says of databases.

    Attributes:
        paths: all that were read so far.
    """

    def __init__(
        self,
        walk: Walk,
        setting: Setting,
        node: MappingNode,
        entry: TaskEntry,
        key: str,
        work: WorkReader,
    ) -> None:
        self.paths: list[ProductPath] = []
        self._walk = walk
        self._setting = setting
        self._node = node
        self._entry = entry
        self._key = join_key(key, "product")
        self._work = work
        self._folder = ""
        self._class = ""
        self._client: Call | None = None
        self._relations: dict[str, Relation] = {}

    def products(
        self, folder: str, kind: Kind, tool: Tool | None, index: int | None, values: dict[str, Any]
    ) -> Products:
        """What one task makes.

        Args:
            folder: to which paths are relative.
            kind: of the task.
            tool: of the task.
            index: its number in a grid; None: there is no grid.
            values: its params.
        """
        declared = self._entry.product
        if self._setting.meta.extract_product and tool is None:
            if "product" in self._node.entries:
                what = "the source itself declares its product"
                hint = "remove the key, or 'extract_product: true' under 'meta:'"
                self._walk.report(self._node.get("product") or self._node, self._key, what, hint)
            return Products(None, {})
        if not declared:
            self._check_empty(declared)
            return Products(None, {})
        self._folder, self._relations = folder, {}
        self._class = self._work.product_class(kind, tool)
        self._client = self._work.product_client(kind, tool, self._class)
        at, variant = self._node.entries["product"][1], Variant(index, values)
        if not isinstance(declared, dict):
            return Products(self._one(at, "", declared, variant), self._relations)
        assert isinstance(at, MappingNode)
        return Products(self._named(at, declared, variant), self._relations)

    def _check_empty(self, declared: object) -> None:
        if declared in ({}, []):
            node = self._node.get("product") or self._node
            self._walk.report(node, self._key, "is empty", "name a path or remove the key")

    def _named(
        self, at: MappingNode, declared: Mapping[str, Any], variant: Variant
    ) -> dict[str, str]:
        found = {}
        for name, said in declared.items():
            where, place = join_key(self._key, name), at.entries[name]
            if not name or not name.isprintable():
                self._walk.report(place[0], where, "a product needs a printable name", "name it")
            if isinstance(said, str | list):
                found[name] = self._one(place[1], name, said, variant)
        return found

    def _one(self, node: Node, name: str, said: Any, variant: Variant) -> str:
        key = join_key(self._key, name) if name else self._key
        if isinstance(said, list) or self._class in (GENERIC, *RELATION_CLASSES):
            return self._relation(node, key, said, variant)
        return self._path(node, key, said, variant)

    def _relation(self, node: Node, key: str, said: Any, variant: Variant) -> str:
        try:
            found = self._work.relation(said, self._class, self._client, variant)
        except (BadRelation, GridError) as error:
            self._walk.report(node, key, *error.args)
            return ""
        self._relations[found.note] = found
        self.paths.append(ProductPath(found.note, node, key, found.text))
        return found.note

    def _path(self, node: Node, key: str, text: str, variant: Variant) -> str:
        try:
            index = variant.index
            said = text if index is None else numbered(text, index, variant.values)
        except GridError as error:
            self._walk.report(node, key, *error.args)
            return text
        path = posixpath.normpath(posixpath.join(self._folder, posix(said)))
        if self._setting.around is not None:
            path = self._setting.around.relative(path)
        if posixpath.basename(path) in ("", ".", ".."):
            what = f"{show(text)} is a folder that holds the pipeline itself"
            self._walk.report(node, key, what, "name a file, or a folder below")
        else:
            self.paths.append(ProductPath(path, node, key, path))
        return path
