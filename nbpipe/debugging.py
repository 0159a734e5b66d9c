"""A debugger on a failed task: run again in this process, or opened from its dump."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import linecache
import os
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from nbpipe.core.model import Job
from nbpipe.core.plan import offer
from nbpipe.errors import BuildError, UsageError
from nbpipe.executors import call, dump, inside
from nbpipe.run import prepare

if TYPE_CHECKING:
    from nbpipe.loaded import LoadedPipeline

PostMortem = Callable[[TracebackType], None]
"""Looks into the frames of an error."""


def open_debugger(trace: TracebackType) -> None:
    """IPython's debugger in a terminal, else Python's own."""
    debugger: Any
    if sys.stdin.isatty():
        terminal: Any = importlib.import_module("IPython.terminal.debugger")
        _shell()
        debugger = terminal.TerminalPdb()
    else:
        import pdb

        debugger = pdb.Pdb()
    debugger.reset()
    debugger.interaction(None, trace)


def debug_task(
    pipeline: LoadedPipeline, name: str, post_mortem: PostMortem | None = None
) -> BaseException | None:
    """Run a task in this process, and look into the frames of its error.

    Its products are written where it writes them, but nothing is recorded: the next build runs the
    task as before.

    Args:
        pipeline: that has the task.
        name: of the task, whose upstreams have been built.
        post_mortem: what looks into the frames; None: :func:`open_debugger`.

    Returns:
        The error; None: it went well.

    Raises:
        UsageError: there is no such task, it is neither a Python notebook nor a function, or an
            upstream has not been built.
    """
    with tempfile.TemporaryDirectory(prefix="nbpipe-") as folder:
        job = _job(pipeline, name, Path(folder))
        errors: list[BaseException] = []
        with _as_in(job):
            if job.kind == "function":
                failure = call.run(job, on_error=errors.append)
                if failure is not None and not errors:  # it could not be called, or has exited
                    errors.append(BuildError(f"{failure.error}: {failure.message}", failure.hint))
            else:
                errors += _run_cells(job)
            if errors and (trace := _user_trace(errors[0].__traceback__)) is not None:
                (post_mortem or open_debugger)(trace)
    return errors[0] if errors else None


def _job(pipeline: LoadedPipeline, name: str, folder: Path) -> Job:
    """The task as a build would run it."""
    task = pipeline.graph.task(name)
    if task.kind not in ("function", "notebook"):
        raise UsageError(f"task '{name}' is no Python code", "nbpipe build --traceback tells more")
    gatherer, records = pipeline._gatherer, pipeline._records()
    ups = [pipeline.graph.tasks[up] for up in pipeline.graph.upstream[name]]
    offers = {
        up.name: offer(up, gatherer.facts(up, records.get(up.name)), records.get(up.name))
        for up in ups
    }
    prepare.check_offers(offers)
    taken = gatherer.take(task, records.get(name), offers)
    if taken.source is not None and taken.source.language != "python":
        raise UsageError(f"task '{name}' is written in {taken.source.language}", "debug it there")
    prepare.make_folders(pipeline.root, task)
    environ = prepare.compat_of(pipeline.spec.meta)
    return prepare.make_job(pipeline.graph, gatherer, task, taken, folder, 1, environ)


@contextlib.contextmanager
def _as_in(job: Job) -> Iterator[None]:
    """The folder, the path and the variables of a task's process; afterwards as before."""
    folder, path, environ = os.getcwd(), list(sys.path), dict(os.environ)
    os.environ.update(job.environ)
    os.chdir(job.cwd or job.root)
    sys.path.insert(0, job.cwd or job.root)
    inside.prepare()
    try:
        yield
    finally:
        os.chdir(folder)
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environ)


def _run_cells(job: Job) -> list[BaseException]:
    """Run a notebook's cells in one namespace, up to the first error."""
    scope: dict[str, Any] = {"__name__": "__main__", "get_ipython": _shell}
    transform: Any = importlib.import_module("IPython.core.inputtransformer2").TransformerManager()
    for number, cell in enumerate((job.notebook or {}).get("cells", ()), 1):
        if cell["cell_type"] != "code":
            continue
        text = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        line = job.lines[number - 1] if number <= len(job.lines) else 0
        try:
            code = _compiled(transform.transform_cell(text), text, job, number, line)
            if code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(eval(code, scope))
            else:
                exec(code, scope)
        except (Exception, SystemExit) as error:
            return [error]
    return []


def _shell() -> Any:
    """IPython's shell in this process, which magics and the debugger need; made at first use."""
    from IPython.core.getipython import get_ipython
    from IPython.terminal.interactiveshell import TerminalInteractiveShell

    return get_ipython() or TerminalInteractiveShell.instance()


def _compiled(text: str, shown: str, job: Job, number: int, line: int) -> CodeType:
    """A cell's code, whose lines are those of the script, or of a file of its own."""
    script = Path(job.root) / job.source
    is_script = line > 0 and script.suffix != ".ipynb" and text.rstrip() == shown.rstrip()
    file = str(script) if is_script else f"<{job.task}, cell {number}>"
    if not is_script:
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    tree = ast.parse(text, file)
    if is_script:
        ast.increment_lineno(tree, line - 1)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(tree, file, "exec", flags=flags, dont_inherit=True)
    return code


def _user_trace(trace: TracebackType | None) -> TracebackType | None:
    """The frames without our own in front."""
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, call.__file__):
        trace = trace.tb_next
    return trace


# -- dumps -------------------------------------------------------------------------------------


def read_dump(path: Path) -> dump.Dump:
    """The frames that a failed task left behind.

    Raises:
        UsageError: there is no such file, or it is no dump of this version.
    """
    try:
        found = msgspec.msgpack.decode(path.read_bytes(), type=dump.Dump)
    except OSError as error:
        hint = "nbpipe build --debug-later makes one, in the folder of the run"
        raise UsageError(f"{path}: cannot be read: {error.strerror}", hint) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UsageError(f"{path}: is no dump of a failed task", "name one.dump") from None
    if found.format != dump.FORMAT:
        raise UsageError(f"{path}: was written by another nbpipe", "build with --debug-later again")
    return found


def open_dump(found: dump.Dump, post_mortem: PostMortem | None = None) -> None:
    """Look into the frames of a dump with a debugger.

    Its variables are unpickled, which runs code of whoever wrote the file: open only your own.

    Args:
        found: from :func:`read_dump`.
        post_mortem: what looks into them; None: :func:`open_debugger`.
    """
    for file, lines in found.sources.items():
        linecache.cache[file] = (sum(map(len, lines)), None, lines, file)
    trace: TracebackType | None = None
    scopes: dict[str, dict[str, Any]] = {}
    frames = []
    for kept in found.frames:
        values = {name: dump.restored(value) for name, value in kept.values.items()}
        scope = scopes.setdefault(kept.file, {"__name__": kept.name})
        if not kept.own:
            scope.update(values)
        frames.append((kept, scope, values if kept.own else scope))
    for kept, scope, values in reversed(frames):
        frame = _frame(kept, scope, values)
        trace = types.TracebackType(trace, frame, frame.f_lasti, kept.line)
    if trace is not None:
        (post_mortem or open_debugger)(trace)


def _frame(kept: dump.Frame, scope: dict[str, Any], values: dict[str, Any]) -> types.FrameType:
    """A frame of this process with the place and the variables of one that is gone."""
    code = compile("\n" * (max(kept.line, 1) - 1) + "raise LookupError", kept.file, "exec")
    code = code.replace(co_name=kept.name)
    try:
        exec(code, scope, values)
    except LookupError as error:
        trace = error.__traceback__
        assert trace is not None
        assert trace.tb_next is not None
        return trace.tb_next.tb_frame
    raise AssertionError("it raises")
