"""Functions of the project that a spec names: hooks, and params that a function gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from nbpipe.core.options import HOOKS, NO_HOOKS, Call, Hooks
from nbpipe.store.spectaskkeys import HookKeys
from nbpipe.store.specwalk import Walk
from nbpipe.store.yamlnodes import Mapping as MappingNode
from nbpipe.store.yamlnodes import join_key, show

DOTTED = "dotted_path"
"""The key of the function in a mapping whose other keys are its arguments."""

_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*(?:\.|::)[^\W\d]\w*")
_STRICT = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*::[^\W\d]\w*")
_HINT = "write module.function, or {dotted_path: module.function, argument: value}"


def param_call(value: Any) -> Call | None:
    """The function that a param asks for, as ``module::function``; None: it is a plain value."""
    said, arguments = value, {}
    if isinstance(value, Mapping) and DOTTED in value:
        said = value[DOTTED]
        arguments = {key: one for key, one in value.items() if key != DOTTED}
    if not isinstance(said, str) or not _STRICT.fullmatch(said):
        return None
    return Call(said.replace("::", "."), arguments)


def read_hooks(walk: Walk, node: MappingNode, entry: HookKeys, key: str) -> Hooks:
    """The hooks of a task, or of the whole spec; what is wrong is reported."""
    found = {}
    for name in HOOKS:
        said = getattr(entry, name)
        if said is UNSET or said is None:
            continue
        call = hook_call(said)
        if call is None:
            what = f"{show(str(said))} names no function"
            walk.report(node.get(name) or node, join_key(key, name), what, _HINT)
        else:
            found[name] = call
    return Hooks(**found) if found else NO_HOOKS


def hook_call(said: str | Mapping[str, Any]) -> Call | None:
    """The function of a hook; None: the value names none."""
    arguments: dict[str, Any] = {}
    dotted: Any = said
    if isinstance(said, Mapping):
        dotted = said.get(DOTTED)
        arguments = {key: value for key, value in said.items() if key != DOTTED}
    if not isinstance(dotted, str) or not _DOTTED.fullmatch(dotted):
        return None
    return Call(dotted.replace("::", "."), arguments)


def call_key(call: Call) -> str:
    """One text for each function with its arguments, to remember what it gave."""
    return msgspec.json.encode([call.function, call.arguments], order="sorted").decode()
