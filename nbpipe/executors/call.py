"""The process in which a task's function runs: ``python -m nbpipe.executors.call RESULT < JOB``.

Reads a :class:`~nbpipe.core.model.Job` as JSON and writes an :class:`~nbpipe.core.model.Outcome`
to the file RESULT. Without that file, the function never returned.
"""

from __future__ import annotations

import faulthandler
import importlib
import inspect
import io
import linecache
import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from nbpipe.core.model import Failure, Job, Outcome
from nbpipe.core.options import HookCall
from nbpipe.errors import EARLY_STOP, did_you_mean
from nbpipe.executors import failures, inside, serializing
from nbpipe.executors.hints import EXIT, Scene, hint_for
from nbpipe.executors.hooks import call_hooks

PR_SET_PDEATHSIG = 1


class _CannotCall(Exception):
    """The function is not there, or its parameters are not. Carries the failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def main() -> None:
    """Read the job, call the function, write the outcome; then leave as any script does."""
    leave_with_parent(int(sys.argv[2]))
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    result = Path(sys.argv[1])
    _prepare_streams()
    sys.path.insert(0, job.root)
    sys.argv = [job.source]
    inside.prepare()
    failure = run(job, on_error=inside.keeper(job))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    outcome = Outcome(failure=failure, versions={"python": platform.python_version()})
    result.write_bytes(msgspec.json.encode(outcome))


def leave_with_parent(parent: int) -> None:
    """On Linux the system kills this process when the builder dies; elsewhere nothing does.

    Args:
        parent: process id of the builder, which in a container may be 1.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has died in the meantime
        os._exit(1)


def _prepare_streams() -> None:
    """``input()`` fails at once; lines reach the log as they come, and crashes too."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdin = open(0)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    faulthandler.enable()


def run(
    job: Job,
    keep: Callable[[Any], None] | None = None,
    *,
    find: Callable[[str], Callable[..., Any]] | None = None,
    on_error: Callable[[BaseException], None] | None = None,
) -> Failure | None:
    """Import and call the function, or the hooks in its place.

    Args:
        job: what to call.
        keep: takes what the function returns; None: nobody wants it.
        find: gives the function of a dotted name; None: it is imported.
        on_error: looks at an error of the function while its frames are there; None: nobody.

    Returns:
        Why it failed; None: it returned.
    """
    hook, find = None, find or find_function
    try:
        for hook in call_hooks(job.hooks, find, taken):
            job = msgspec.structs.replace(job, source=hook.call.function)
        if job.work is not None and not job.hooks:
            from nbpipe.executors import work

            work.run(job, find)
        elif not job.hooks:
            function = find(job.source)
            given = arguments(function, job, find) if keep is None else alone(function, job)
            result = function(**given)
            if inspect.iscoroutine(result):
                import asyncio

                result = asyncio.run(result)
            if keep is not None:
                keep(result)
            else:
                serializing.write(job, result, find)
    except _CannotCall as error:
        return _of_hook(error.failure, hook)
    except SystemExit as error:
        said = f"sys.exit({error.code!r}) was called"
        return _of_hook(_explain(job, error, said, EXIT), hook)
    except BaseException as error:
        failure = _explain(job, error, _text(error))
        if on_error is not None and failure.error != EARLY_STOP:
            on_error(error)
        return _of_hook(failure, hook)
    return None


def _of_hook(failure: Failure, hook: HookCall | None) -> Failure:
    """A failure that names the hook in which it happened; None: in no hook."""
    if hook is None or failure.error == EARLY_STOP:
        return failure
    return msgspec.structs.replace(failure, message=f"{hook.whose}: {failure.message}")


def find_function(dotted: str) -> Callable[..., Any]:
    """The function of a dotted name."""
    name, _, attribute = dotted.rpartition(".")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        hint = "the folder of pipeline.yaml comes first on the path; is there such a file?"
        raise _cannot("ModuleNotFoundError", f"there is no module '{error.name}'", hint) from None
    function = getattr(module, attribute, None)
    if function is None:
        message = f"module '{name}' has no function '{attribute}'"
        raise _cannot("AttributeError", message, did_you_mean(attribute, _functions(module)))
    if not callable(function):
        kind = type(function).__name__
        raise _cannot("TypeError", f"'{dotted}' is not a function but of type {kind}", None)
    return function  # type: ignore[no-any-return]


def _functions(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if inspect.isfunction(value)]


def arguments(
    function: Callable[..., Any], job: Job, find: Callable[[str], Callable[..., Any]]
) -> dict[str, Any]:
    """Of product, upstream and params those that the function's signature names."""
    return taken(function, serializing.offered(job, find), job.source)


def alone(function: Callable[..., Any], job: Job) -> dict[str, Any]:
    """The arguments of a function that is no task: just those that the spec gives."""
    return taken(function, job.params, job.source, job.params)


def taken(
    function: Callable[..., Any],
    offered: Mapping[str, Any],
    source: str,
    wanted: Collection[str] = (),
) -> dict[str, Any]:
    """Of some values those that the function's signature names.

    Args:
        function: that takes them.
        offered: by name.
        source: its dotted name.
        wanted: those that it must take, since the spec gives them to it alone.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # one written in C may have no signature
        return dict(offered)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(offered)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    missing = [p.name for p in named if p.default is p.empty and p.name not in offered]
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        message = f"{source}() requires {names}, which the task does not give"
        hint = "give the value under `params:` in pipeline.yaml, or the parameter a default"
        raise _cannot("TypeError", message, hint)
    if strange := sorted(set(wanted) - {p.name for p in named}):
        message = f"{source}() has no parameter '{strange[0]}', which the spec gives"
        raise _cannot("TypeError", message, did_you_mean(strange[0], [p.name for p in named]))
    return {p.name: offered[p.name] for p in named if p.name in offered}


def _cannot(error: str, message: str, hint: str | None) -> _CannotCall:
    return _CannotCall(Failure(error=error, message=message, hint=hint))


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be had)"


def _explain(job: Job, error: BaseException, message: str, hint: str | None = None) -> Failure:
    """The failure, quoted at the last frame in a file of the project."""
    _drop_own_frames(error)
    file, line = _place(job.root, error)
    code = linecache.getlines(os.path.join(job.root, file)) if file else []
    code = [text.rstrip("\n") for text in code]
    is_stop = any(kind.__name__ == EARLY_STOP for kind in type(error).__mro__)
    name = EARLY_STOP if is_stop else type(error).__name__
    scene = Scene(
        root=job.root,
        python=sys.executable,
        upstream=None if job.upstream is None else tuple(job.upstream),
        line=code[line - 1] if line and line <= len(code) else "",
        is_notebook=False,
    )
    return Failure(
        error=name,
        message=failures.shorten(message),
        file=file,
        line=line,
        excerpt=failures.excerpt(code, 1, line) if code else "",
        traceback=failures.cut_middle("".join(traceback.format_exception(error)).splitlines()),
        hint=hint or hint_for(name, message, scene),
    )


def _drop_own_frames(error: BaseException) -> None:
    """What is ours in the traceback tells a reader nothing."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    error.__traceback__ = trace


def _place(root: str, error: BaseException) -> tuple[str | None, int | None]:
    if isinstance(error, SyntaxError) and (file := _inside(root, error.filename or "")):
        return file, error.lineno
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if file := _inside(root, frame.filename):
            return file, frame.lineno
    return None, None


def _inside(root: str, file: str) -> str | None:
    """A path relative to the root; None: not a file of the project."""
    path, base = Path(os.path.realpath(file)), Path(os.path.realpath(root))
    if not path.is_relative_to(base) or "site-packages" in path.parts:
        return None
    return path.relative_to(base).as_posix()


if __name__ == "__main__":
    main()
