"""``%%task``: explore here, run in a clean kernel, or write into a script."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.core.model import Failure, Task
from nbpipe.errors import UsageError, did_you_mean
from nbpipe.jupyter import cells
from nbpipe.jupyter.failed import TaskError
from nbpipe.jupyter.namespace import named
from nbpipe.jupyter.pipeline_commands import renew_panels
from nbpipe.jupyter.session import Session
from nbpipe.jupyter.show import Relay
from nbpipe.pipeline import Pipeline


def run(session: Session, options: Namespace, body: str) -> Any:
    """Carry out one cell."""
    if not body.strip():
        raise UsageError(f"%%task {options.name}: the cell has no body")
    pipeline = session.load()
    upstream = options.upstream or cells.upstream_of(body)
    for name in upstream:
        if name not in pipeline.graph.tasks:
            raise UsageError(
                f"%%task {options.name}: no task '{name}' to read",
                did_you_mean(name, pipeline.graph.tasks),
            )
    products = cells.products_of(options.product)
    if options.write is not None:
        return _write(session, pipeline, options, body, upstream, products)
    task = session.cells.add(pipeline, options.name, body, upstream, products)
    pipeline = session.load()
    _warn_if_stale(pipeline, task)
    try:
        if options.run:
            return _run_clean(pipeline, task, body, force=options.force)
        return _explore(session, pipeline, task, body)
    finally:
        renew_panels()


def _warn_if_stale(pipeline: Pipeline, task: Task) -> None:
    plan = pipeline.plan(upstream_of=task.name) if pipeline.graph.upstream[task.name] else None
    stale = [n for n, d in plan.decisions.items() if d.action == "run"] if plan else []
    if stale:
        print(
            f"warning: stale or missing: {', '.join(stale)}; to build: "
            f"%pipeline build --upstream-of {task.name}"
        )


# -- here ----------------------------------------------------------------------------------


def _explore(session: Session, pipeline: Pipeline, task: Task, body: str) -> None:
    """Run the body in the notebook's own kernel; its state is not a clean one, so no record."""
    shell = session.shell
    shell.user_ns["upstream"] = named(pipeline.upstream(task.name))
    shell.user_ns["product"] = named(pipeline.product(task.name))
    for path in task.data.values():
        (pipeline.root / path).parent.mkdir(parents=True, exist_ok=True)
    _run_body(shell, task.name, body)
    missing = [path for path in task.data.values() if not (pipeline.root / path).exists()]
    if missing:
        raise UsageError(
            f"%%task {task.name}: the body did not write {', '.join(missing)}",
            "write it: product['KEY'] holds the path",
        )


def _run_body(shell: Any, name: str, body: str) -> None:
    """Run code in the user's namespace; an error looks as if the cell itself had raised it.

    IPython shows an error where the code runs, and would show it again when it leaves the magic,
    with the magic's own frames. So the first rendering is kept, and shown as the second.
    """
    rendered: list[list[str]] = []
    shell._showtraceback = lambda kind, error, lines: rendered.append(lines)
    try:
        # A line in the place of the magic's own, so that errors show the cell's line numbers.
        result = shell.run_cell(f"# %%task {name}\n{body}", store_history=False)
    finally:
        del shell._showtraceback
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        if rendered:
            error._render_traceback_ = lambda: rendered[-1]
        raise error


# -- in a clean kernel ---------------------------------------------------------------------


def _run_clean(pipeline: Pipeline, task: Task, body: str, *, force: bool) -> None:
    """Run the task as a build would, its outputs shown here as they come."""
    from nbpipe.executors.notebook import NotebookExecutor

    relay = Relay()
    report = pipeline.build(
        task.name,
        upstream=False,
        force=force,
        on_wait=relay.tick,
        executor=NotebookExecutor(watch=relay),
    )
    relay.tick()
    done = report.tasks[task.name]
    if done.failure is not None and done.result == "failed":
        raise TaskError({task.name: in_cell(done.failure, body)})
    if report.run:
        print(f"✓ {task.name} ran in a clean kernel, {done.seconds:.1f} s")
        return
    for output in cells.outputs_of(pipeline.root / (task.notebook or "")):
        relay.show(output["output_type"], output)
    print(f"✓ {task.name} is up to date; --force runs it again")


def in_cell(failure: Failure, body: str) -> Failure:
    """A failure with the line numbers of the cell: 1 is the ``%%task`` line."""
    if failure.line is None or failure.line <= cells.HEAD_LINES:
        return failure
    line = failure.line - cells.HEAD_LINES + 1
    lines = ["", *body.splitlines()]
    shown = range(max(2, line - 2), min(len(lines), line + 2) + 1)
    excerpt = "\n".join(f"{'>' if n == line else ' '} {n:3} | {lines[n - 1]}" for n in shown)
    return msgspec.structs.replace(
        failure, file="this cell", line=line, cell=None, excerpt=excerpt, traceback=""
    )


# -- into a script -------------------------------------------------------------------------


def _write(
    session: Session,
    pipeline: Pipeline,
    options: Namespace,
    body: str,
    upstream: list[str],
    products: dict[str, str],
) -> None:
    path = Path(options.write).as_posix()
    cells.check_name(options.name)
    made = pipeline.write_task(
        options.name, path, body, upstream=upstream, product=products, force=options.force
    )
    session.cells.remove(pipeline.root, options.name)
    renew_panels()
    print(f"wrote {made} and added '{options.name}' to {pipeline.file.name}")
