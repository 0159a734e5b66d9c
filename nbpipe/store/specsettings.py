"""The settings of a spec: ``meta``, ``config``, ``executor``, and the classes that tasks name."""

from __future__ import annotations

import posixpath
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from nbpipe.core.model import KERNEL_STARTS, Kernels, Kind, Meta
from nbpipe.errors import did_you_mean
from nbpipe.store.specaround import Around
from nbpipe.store.specclasses import LATER_CLASSES, PRODUCT_CLASSES, TASK_CLASSES
from nbpipe.store.spectypes import KernelsEntry, MetaEntry, SpecFile, TaskEntry
from nbpipe.store.specwalk import Walk
from nbpipe.store.yamlnodes import Mapping, Node, join_key, show

_EXECUTORS = {
    "ploomber.executors.Serial": frozenset({"build_in_subprocess"}),
    "ploomber.executors.Parallel": frozenset({"processes", "start_method"}),
}
"""Ploomber's executors, with the arguments that mean something here or need not: every task has a
process of its own, however it is started."""


def read_meta(top: SpecFile) -> Meta:
    """``meta`` and ``config`` as one value."""
    names = Meta.__struct_fields__
    given: dict[str, Any] = {}
    for entry in (top.meta, top.config):
        if entry:
            given |= msgspec.structs.asdict(entry)
    given["kernels"] = _kernels(given.get("kernels"))
    return Meta(**{k: v for k, v in given.items() if v is not UNSET and k in names})


def _kernels(entry: KernelsEntry | UnsetType | None) -> Kernels | UnsetType:
    if not entry:
        return UNSET
    start = next((word for word in KERNEL_STARTS if word == entry.start), None)
    return Kernels(start=start, preload=None if entry.preload is UNSET else tuple(entry.preload))


def check_kernels(walk: Walk, node: Node | None, entry: MetaEntry) -> None:
    """Report what is wrong in ``kernels``."""
    kernels = entry.kernels or KernelsEntry()
    at = node.get("kernels") if isinstance(node, Mapping) else None
    if not isinstance(at, Mapping):
        return
    if isinstance(kernels.start, str) and kernels.start not in KERNEL_STARTS:
        what = f"kernels do not start by {show(kernels.start)}"
        hint = did_you_mean(kernels.start, KERNEL_STARTS) or f"one of {', '.join(KERNEL_STARTS)}"
        walk.report(at.get("start") or at, "meta.kernels.start", what, hint)
    for i, module in enumerate(kernels.preload or ()):
        if isinstance(module, str) and not all(map(str.isidentifier, module.split("."))):
            what, key = f"{show(module)} is not the name of a module", "meta.kernels.preload"
            walk.report(at.get("preload") or at, join_key(key, i), what, "such as sklearn.svm")


def check_classes(walk: Walk, node: Node | None, entry: MetaEntry) -> None:
    """Report what is wrong in ``product_default_class``."""
    at = node.get("product_default_class") if isinstance(node, Mapping) else None
    for task, product in (entry.product_default_class or {}).items():
        place = at.get(task) if isinstance(at, Mapping) else None
        where = join_key("meta.product_default_class", task)
        if place is None:
            continue
        if task not in TASK_CLASSES and task not in LATER_CLASSES:
            hint = did_you_mean(task, [*TASK_CLASSES, *LATER_CLASSES])
            walk.report(place, where, f"there is no task class {show(task)}", hint)
        else:
            _check_product_class(walk, place, where, product)


def check_compat(walk: Walk, node: Node | None, entry: MetaEntry) -> None:
    """Report a package whose imports cannot be answered."""
    if isinstance(entry.compat, str) and entry.compat != "ploomber":
        at = (node.get("compat") if isinstance(node, Mapping) else None) or node
        assert at is not None
        what = f"the imports of {show(entry.compat)} cannot be answered"
        walk.report(at, "meta.compat", what, "only 'ploomber'")


def _check_product_class(walk: Walk, node: Node, key: str, said: str) -> None:
    if said not in PRODUCT_CLASSES:
        hint = did_you_mean(said, PRODUCT_CLASSES)
        walk.report(node, key, f"there is no product class {show(said)}", hint)


def read_kind(walk: Walk, node: Mapping, entry: TaskEntry, kind: Kind, key: str) -> bool:
    """Report what is wrong with ``class`` and ``product_class``; False: a script's class."""
    if isinstance(entry.product_class, str):
        where = join_key(key, "product_class")
        _check_product_class(walk, node.get("product_class") or node, where, entry.product_class)
    said = entry.class_
    if not isinstance(said, str):
        return True
    message, hint = "", None
    if said in LATER_CLASSES:
        message, hint = f"{said} tasks are not supported yet", "remove the task"
    elif said not in TASK_CLASSES:
        message, hint = f"there is no task class {show(said)}", did_you_mean(said, TASK_CLASSES)
    elif TASK_CLASSES[said] != kind:
        message, hint = f"the source is not one of a {said}", "remove the key: the source tells"
    if message:
        walk.report(node.get("class") or node, join_key(key, "class"), message, hint)
    return said != "ScriptRunner"


def read_executor(walk: Walk, root: Mapping, said: Any) -> int | None:
    """How many tasks run at once; None: as many as there are cores."""
    if said is UNSET or said is None or said == "parallel":
        return None
    if said == "serial":
        return 1
    node = root.get("executor") or root
    dotted = said.get("dotted_path") if isinstance(said, dict) else said
    if dotted not in _EXECUTORS:
        what = f"{show(str(dotted))} is no executor"
        walk.report(node, "executor", what, f"serial, parallel, or one of {', '.join(_EXECUTORS)}")
        return None
    arguments = {k: v for k, v in said.items() if k != "dotted_path"} if said != dotted else {}
    for name in arguments.keys() - _EXECUTORS[dotted]:
        hint = f"remove it; supported: {', '.join(sorted(_EXECUTORS[dotted]))}"
        walk.report(node, join_key("executor", name), f"argument '{name}' is not supported", hint)
    if dotted.endswith("Serial"):
        return 1
    processes = arguments.get("processes")
    if processes is None or (
        isinstance(processes, int) and processes > 0 and processes is not True
    ):
        return processes
    walk.report(node, "executor.processes", "must be a whole number above 0", "such as 2")
    return None


def source_base(walk: Walk, node: Node | None, meta: MetaEntry, around: Around | None) -> str:
    """The folder, relative to the root, in which relative sources are looked for."""
    loader = meta.source_loader
    if not loader:
        return ""
    where = "meta.source_loader"
    at = (node.get("source_loader") if isinstance(node, Mapping) else None) or node
    assert at is not None
    path = loader.path or ""
    if loader.module and around is not None:
        folder = around.package_folder(loader.module)
        if folder is None:
            what = f"there is no package {show(loader.module)} below the root"
            walk.report(at, where, what, "check the name, or write 'path:' alone")
            return ""
        path = posixpath.join(folder, path)
    elif not path and not loader.module:
        walk.report(at, where, "says neither 'path' nor 'module'", "add one of them")
    return posixpath.normpath(path) if path else ""
