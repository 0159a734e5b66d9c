"""Starts the bare warm process: for a build that asks for one, or ahead of a build.

A build imports, reads and plans for some tenths of a second before it knows what to run; the warm
process takes as long to import ipykernel. On two cores both happen at once. Imports little: this is
the first that such a build does.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import IO, Any

from nbpipe.kernels import wire
from nbpipe.kernels.environment import differences, obstacle

BOOT = "import sys; sys.path.remove(''); from nbpipe.kernels.warm import main; main()"
"""With ``-c`` the first place to import from is the working folder: no file there may stand in for
a module of ours."""

IN_MEMORY = "--HistoryManager.hist_file=:memory:"
"""A history file would have a thread, and an open database, that a fork cannot share."""

RUN, NO_RUN = "NBPIPE_RUN", "00000000-000000-000000"
"""The variable by which processes of a run are found when their builder was killed; and its value
while there is no run yet, as long as the id of one."""

MOST = 1 << 20
"""Bytes of a spec that are looked at."""

_SCRIPT = re.compile(r"""source["']?\s*:\s*["']?[^\s"'#,}]+\.(py|ipynb|md|qmd)\b""")
_OTHERWISE = re.compile(r"""start["']?\s*:\s*["']?(cold|pool)\b""")


class Warm:
    """A bare warm process that has just been started.

    Args:
        python: the interpreter, with its options.
        options: of every kernel, without the connection file.
        folder: working folder of the warm process and of its kernels.
        environ: its environment.

    Attributes:
        conn: our end of its socket.
        log: what it prints.
    """

    def __init__(
        self, python: Sequence[str], options: Sequence[str], folder: str, environ: Mapping[str, str]
    ) -> None:
        self.key = (tuple(python), tuple(options), os.path.realpath(folder))
        self.environ = dict(environ)
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.conn, theirs = wire.pair()
        told: dict[str, Any] = {"socket": theirs.fileno(), "options": options}
        told["launcher"] = _launcher()
        with theirs:
            self.process = subprocess.Popen(
                [*python, "-c", BOOT, json.dumps(told)],
                cwd=folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def mark(self, run: str) -> None:
        """Have it, and what it forks, show to which run it belongs."""
        if len(run) == len(NO_RUN) and run.isascii():
            with contextlib.suppress(OSError):
                wire.send(self.conn, {"op": "mark", "run": run})
            self.environ[RUN] = run

    def kill(self) -> None:
        """End it: nobody has asked it for anything."""
        self.conn.close()
        self.log.close()
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()


_waiting: list[Warm] = []


def start_ahead(spec_file: str) -> None:
    """Start the warm process that a build of this spec is likely to ask for.

    Nothing is decided here: a build that asks for another one, or for none, ends it.

    Args:
        spec_file: a path.
    """
    if _waiting or not sys.platform.startswith("linux"):
        return
    if (os.environ.get("NBPIPE_KERNELS") or "fork") != "fork" or not _looks_like_notebooks(
        spec_file
    ):
        return
    root = os.path.dirname(os.path.abspath(spec_file))
    ours = {"NBPIPE_ROOT": root, RUN: NO_RUN, "JPY_PARENT_PID": str(os.getpid())}
    environ = {**os.environ, **ours}
    with contextlib.suppress(OSError):
        _waiting.append(Warm([sys.executable], [IN_MEMORY], root, environ))
        atexit.register(drop)


def take(
    python: Sequence[str], options: Sequence[str], folder: str, environ: Mapping[str, str]
) -> Warm:
    """A warm process: the one that was started ahead, if it is such a one, or a new one.

    Arguments are those of :class:`Warm`. The environment may be another one, as far as kernels can
    still be given theirs: :attr:`Warm.environ` tells.
    """
    while _waiting:
        found = _waiting.pop()
        is_such = found.key == (tuple(python), tuple(options), os.path.realpath(folder))
        if is_such and obstacle(differences(found.environ, environ)) is None:
            found.mark(environ.get(RUN, NO_RUN))
            return found
        found.kill()
    return Warm(python, options, folder, environ)


def drop() -> None:
    """End what was started ahead and not taken."""
    while _waiting:
        _waiting.pop().kill()


def _looks_like_notebooks(spec_file: str) -> bool:
    try:
        with open(spec_file, encoding="utf-8") as file:
            text = file.read(MOST)
    except (OSError, ValueError):
        return False
    return bool(_SCRIPT.search(text)) and not _OTHERWISE.search(text)


def _launcher() -> str:
    """The file that a cold kernel has in ``sys.argv[0]``."""
    found = find_spec("ipykernel_launcher")
    return found.origin or "" if found is not None else ""
