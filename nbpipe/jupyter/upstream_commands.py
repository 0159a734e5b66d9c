"""``%upstream``: products of upstream tasks in the user's namespace."""

from __future__ import annotations

import shlex
import time
from argparse import Namespace
from collections.abc import Collection
from pathlib import Path
from typing import Any

from nbpipe.core.model import Product
from nbpipe.errors import StoreError
from nbpipe.jupyter.namespace import given, named, which_task
from nbpipe.jupyter.pipeline_commands import build_here, raise_failures
from nbpipe.jupyter.session import Session
from nbpipe.jupyter.show import CellProgress, in_kernel
from nbpipe.pipeline import Pipeline
from nbpipe.store.loading import load_product
from nbpipe.views.status import state_text


def run(session: Session, options: Namespace) -> None:
    """Carry out one line."""
    inside = given()
    if inside is not None and not options.load and _give(session, inside, options.names):
        return
    pipeline = session.load()
    own = None if options.names else which_task(pipeline, session.shell.user_ns, options.task)
    names = _wanted(pipeline, own, options.names)
    if inside is None:
        _make_ready(session, pipeline, own, names, options)
    values = _values(pipeline, own, names)
    if options.load:
        values = _loaded(pipeline, names, values)
    space: dict[str, Any] = {"upstream": named(values) if values else None}
    if own is not None:
        space["product"] = named(pipeline.product(own))
    session.shell.user_ns.update(space)
    if not options.quiet:
        print(_line(pipeline, own, names))


def _give(session: Session, inside: dict[str, Any], names: Collection[str]) -> bool:
    """Under a build: what the runner injected, or the part of it that is named."""
    upstream = inside["upstream"] or {}
    if not all(name in upstream for name in names):
        return False
    if names:
        upstream = {name: upstream[name] for name in names}
    session.shell.user_ns.update(upstream=named(upstream or None), product=named(inside["product"]))
    return True


def _wanted(pipeline: Pipeline, own: str | None, names: Collection[str]) -> tuple[str, ...]:
    if own is not None:
        return pipeline.graph.upstream[own]
    chosen = pipeline.select(names, upstream=False) or frozenset()
    return tuple(name for name in pipeline.graph.order() if name in chosen)


def _values(pipeline: Pipeline, own: str | None, names: Collection[str]) -> dict[str, Any]:
    if own is not None:
        return pipeline.upstream(own) or {}
    return {name: pipeline.product(name) for name in names}


def _make_ready(
    session: Session,
    pipeline: Pipeline,
    own: str | None,
    names: tuple[str, ...],
    options: Namespace,
) -> None:
    """Wait for a build that is at it, then build what is stale or say that it is."""
    if not names:
        return
    _await_running(session, pipeline, names)
    if options.build:
        raise_failures(build_here(session, pipeline, *names))
        return
    plan = pipeline.plan(*names)
    if plan.idle:
        return
    stale = [n for n, d in plan.decisions.items() if d.action == "run"]
    if not options.quiet:
        words = [*options.names, *(("--task", options.task) if options.task else ())]
        line = shlex.join([*words, "--build", *(("--load",) if options.load else ())])
        print(f"warning: stale or missing: {', '.join(stale)}; to build: %upstream {line}")
        if own is not None and in_kernel(session.shell):
            _offer_button(session, own)


def _offer_button(session: Session, own: str) -> None:
    from nbpipe.jupyter.panel import show_run_button

    show_run_button(session, own)


def _await_running(session: Session, pipeline: Pipeline, names: tuple[str, ...]) -> None:
    """While a build is about to make what is asked for, wait for it, with its progress."""
    running = pipeline.attach()
    if running is None or running.status != "running":
        return
    needed = set(names) | pipeline.graph.ancestors(*names)
    if not needed & set(running.progress.tasks):
        return
    shown = CellProgress() if in_kernel(session.shell) else None
    while running.status == "running":
        tasks = running.progress.tasks
        if all(tasks[n].result != "unfinished" for n in needed if n in tasks):
            break
        if shown is not None:
            shown.progress = running.progress
            shown.tick()
        time.sleep(0.1)
    if shown is not None:
        shown.progress = running.progress
        shown.show()


def _loaded(pipeline: Pipeline, names: Collection[str], values: dict[str, Any]) -> dict[str, Any]:
    """The same mapping with what the products hold; executed notebooks stay paths."""
    return {key: _load(pipeline, key, value, names) for key, value in values.items()}


def _load(pipeline: Pipeline, key: str, value: Any, names: Collection[str]) -> Any:
    if key not in pipeline.graph.tasks:
        return {name: _load(pipeline, name, product, names) for name, product in value.items()}
    task, record = pipeline.graph.tasks[key], pipeline.record(key)
    relative: Product = task.product

    def one(path: str, name: str) -> Any:
        if name == task.notebook:
            return path
        if not Path(path).exists():
            raise StoreError(f"{name}: there is no such file", f"build it: %upstream {key} --build")
        return load_product(Path(path), name, record)

    if isinstance(value, dict) and isinstance(relative, dict):
        return {k: one(path, relative[k]) for k, path in value.items()}
    return None if value is None else one(value, str(relative))


def _line(pipeline: Pipeline, own: str | None, names: Collection[str]) -> str:
    """Such as ``upstream: get ✓ · product: nb, data``."""
    states = pipeline.plan(*names).states if names else {}
    listed = ", ".join(f"{name} {state_text(states[name])[0]}" for name in names) or "none"
    if own is None:
        return f"upstream: {listed}"
    keys = [key or "one path" for key in pipeline.graph.tasks[own].products]
    return f"upstream: {listed} · product: {', '.join(keys) or 'none'}"
