"""What the functions give that a spec names for params and grids, called in a clean process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.core.options import Call
from nbpipe.errors import Problem, SpecError
from nbpipe.executors.processes import describe_exit
from nbpipe.executors.values import Reply, Request
from nbpipe.run.launch import environment
from nbpipe.run.prepare import compat_of
from nbpipe.store.bytecode import drop_racy_of
from nbpipe.store.env import OVERRIDES
from nbpipe.store.speccalls import call_key
from nbpipe.store.specload import Reading, load_spec


def with_values(reading: Reading) -> tuple[Reading, dict[str, Any]]:
    """The spec with what its functions give now, and that; a value may name further functions.

    Raises:
        SpecError: as :func:`call_all`.
    """
    values: dict[str, Any] = {}
    while new := [call for call in reading.calls if call_key(call) not in values]:
        environ = compat_of(reading.spec.meta)
        if reading.env.overrides:
            environ[OVERRIDES] = msgspec.json.encode(reading.env.overrides).decode()
        values |= call_all(new, reading.entry.root, reading.spec.file, environ)
        reading = load_spec(reading.entry, reading.env, values=values)
    return reading, values


def call_all(
    calls: Sequence[Call], root: Path, file: str, environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What each function gives now, by `call_key`. All of them run in one process.

    Args:
        calls: the functions.
        root: of the pipeline, where they run.
        file: the spec, for messages.
        environ: more variables for the process; None: none.

    Raises:
        SpecError: one of them failed, or gave what cannot be a param.
    """
    if not calls:
        return {}
    drop_racy_of(root, [call.function for call in calls])
    reply = _reply(Request(str(root.resolve()), tuple(calls)), root, file, environ or {})
    if reply.failure is not None:
        failed, failure = calls[len(reply.values)], reply.failure
        place = f" ({failure.file}:{failure.line})" if failure.file else ""
        what = f"{failed.function}: {failure.error}: {failure.message}{place}"
        raise SpecError([Problem(file, 0, 0, "", what, failure.hint)])
    return {call_key(c): value for c, value in zip(calls, reply.values, strict=True)}


def _reply(request: Request, root: Path, file: str, environ: Mapping[str, str]) -> Reply:
    with tempfile.TemporaryDirectory(prefix="nbpipe-") as folder:
        result = Path(folder) / "values.json"
        # -P: no file of the project can stand in for a module that nbpipe itself imports.
        done = subprocess.run(
            [sys.executable, "-P", "-m", "nbpipe.executors.values", str(result), str(os.getpid())],
            cwd=root,
            env={**environment(os.environ), **environ},
            input=msgspec.json.encode(request),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        try:
            return msgspec.json.decode(result.read_bytes(), type=Reply)
        except (OSError, msgspec.DecodeError):
            names = ", ".join(dict.fromkeys(call.function for call in request.calls))
            said = done.stdout.decode(errors="replace").strip().splitlines()
            last = said[-1] if said else "it said nothing"
            how = describe_exit(done.returncode)
            what = f"the process that calls {names} died ({how}): {last}"
            raise SpecError([Problem(file, 0, 0, "", what, "call it by hand to see why")]) from None
