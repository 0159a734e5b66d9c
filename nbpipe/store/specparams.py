"""The params of a task: plain values, what functions give, and files that count as inputs."""

from __future__ import annotations

import os
import posixpath
from typing import Any

import msgspec
from msgspec import UNSET

from nbpipe.core.model import RESOURCES, Meta
from nbpipe.core.options import Call
from nbpipe.core.work import PLAIN_FUNCTION, Serializing
from nbpipe.store.specaround import Around
from nbpipe.store.speccalls import param_call
from nbpipe.store.specsources import SourceFault
from nbpipe.store.spectypes import TaskEntry
from nbpipe.store.specwalk import Walk
from nbpipe.store.yamlnodes import Mapping, Node, join_key, show

_RESERVED = ("upstream", "product")


class Setting(msgspec.Struct, frozen=True):
    """What all tasks of one file have in common.

    Attributes:
        meta: of the spec.
        base: folder, relative to the root, to which sources that are scripts are relative.
        around: what the spec is read with; None: its text alone.
        source_fault: looks for a source; None: sources are not looked for.
        clients: functions that give clients, by the class of a task or a product.
        product_classes: the class of products, by the class of a task.
        serializing: what stands between functions and the disk.
    """

    meta: Meta
    base: str
    around: Around | None
    source_fault: SourceFault | None
    clients: dict[str, Call] = {}
    product_classes: dict[str, str] = {}
    serializing: Serializing = PLAIN_FUNCTION

    def value(self, call: Call) -> Any:
        """What a function gave; ``UNSET``: it is not known."""
        return UNSET if self.around is None else self.around.value(call)


def read_params(
    walk: Walk,
    setting: Setting,
    node: Mapping,
    entry: TaskEntry,
    key: str,
    calls: dict[str, Call],
) -> dict[str, Any]:
    """The params, those that functions give included so far as they are known.

    Args:
        walk: takes the reports.
        setting: what all tasks have in common.
        node: of the task.
        entry: its keys.
        key: its path.
        calls: is given the functions, by param.
    """
    params = entry.params or {}
    at = node.get("params")
    if not params or not isinstance(at, Mapping):
        return params
    key = join_key(key, "params")
    for name in _RESERVED:
        if name in params:
            what = f"'{name}' is a variable that nbpipe itself gives to the source"
            walk.report(at.entries[name][0], join_key(key, name), what, "take another name")
    found = dict(params)
    for name, value in params.items():
        call = param_call(value)
        if call is not None:
            calls[name] = call
            given = setting.value(call)
            found[name] = value if given is UNSET else given
    if RESOURCES in found:
        where = at.entries[RESOURCES][1]
        found[RESOURCES] = _files(walk, setting, found[RESOURCES], where, join_key(key, RESOURCES))
    return found


def _files(walk: Walk, setting: Setting, said: Any, at: Node, key: str) -> Any:
    """The files of ``resources_``, relative to the root."""
    if not isinstance(said, dict) or not all(isinstance(p, str) for p in said.values()):
        walk.report(at, key, "must be a mapping of names to paths", "such as {a: a.json}")
        return said
    around, found = setting.around, {}
    for name, path in said.items():
        found[name] = posix(path) if around is None else around.relative(posix(path))
        if around is None or setting.source_fault is None or around.is_file(found[name]):
            continue
        node = at.get(name) if isinstance(at, Mapping) else None
        walk.report(node or at, join_key(key, name), f"no file {show(path)}", "create it")
    return found


def posix(path: str) -> str:
    """A path of the spec, normalised."""
    return posixpath.normpath(path.replace("\\", "/") if os.sep == "\\" else path)
