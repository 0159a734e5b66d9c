"""The injected cell kept out of commits: a git hook, and what it calls."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from nbpipe.errors import NbpipeError, UsageError
from nbpipe.store.injected import NOTE, remove
from nbpipe.store.specfile import find_spec, read_spec
from nbpipe.store.spectypes import SCRIPT_SUFFIXES

BEGIN = "# >>> nbpipe: the injected cell stays out of commits >>>"
END = "# <<< nbpipe <<<"

_SHELLS = ("sh", "bash", "dash", "zsh", "ksh")


def install(folder: Path, uninstall: bool = False) -> list[str]:
    """Add our lines to the repository's pre-commit hook, or take them out; idempotent.

    Returns:
        What was done, for the user.

    Raises:
        UsageError: this is no git repository, or its hook is no shell script.
    """
    hook = _hook_file(folder)
    old = hook.read_text(encoding="utf-8") if hook.exists() else ""
    rest = _without_ours(old)
    if uninstall:
        if old == rest:
            return [f"nothing to do: {hook} does not call nbpipe"]
        if rest.strip() in ("", "#!/bin/sh"):
            hook.unlink()
        else:
            hook.write_text(rest, encoding="utf-8")
        return [f"taken out of {hook}"]
    shebang = rest.partition("\n")[0] if rest.strip() else "#!/bin/sh"
    if not shebang.startswith("#!") or shebang.split("/")[-1].split()[-1] not in _SHELLS:
        hint = f"call '{_command()}' from it yourself"
        raise UsageError(f"{hook}: is no shell script", hint)
    # First, since a hook may end early, with an exit or an exec of its own.
    new = "\n".join([shebang, BEGIN, f"{_command()} || exit 1", END, rest.partition("\n")[2]])
    if new == old:
        return [f"nothing to do: {hook} calls nbpipe already"]
    hook.parent.mkdir(parents=True, exist_ok=True)
    hook.write_text(new, encoding="utf-8")
    hook.chmod(0o755 if not old else hook.stat().st_mode | 0o111)
    return [f"installed in {hook}"]


def clean_staged(folder: Path) -> Iterator[str]:
    """Take the injected cell out of what git is about to commit; the files keep theirs.

    Yields:
        One line for every source that was cleaned.

    Raises:
        UsageError: this is no git repository, or a staged source cannot be cleaned, so that the
            commit must not go on.
    """
    top = Path(_git(folder, "rev-parse", "--show-toplevel").decode().rstrip("\n"))
    listed = _git(top, "diff", "--cached", "--name-only", "--diff-filter=ACMRT", "-z")
    for name in filter(None, listed.decode("utf-8", "surrogateescape").split("\0")):
        if Path(name).suffix not in SCRIPT_SUFFIXES:
            continue
        data = _git(top, "show", f":{name}")
        if NOTE.encode() not in data or not _is_source(top / name):
            continue
        bare = remove(data, name)
        if bare == data:
            continue
        mode = (
            _git(top, "--literal-pathspecs", "ls-files", "-s", "-z", "--", name)
            .split(b" ", 1)[0]
            .decode()
        )
        sha = _git(top, "hash-object", "-w", "--stdin", send=bare).decode().strip()
        _git(top, "update-index", "--cacheinfo", f"{mode},{sha},{name}")
        yield f"nbpipe: committed without the injected cell: {name}"


def _is_source(path: Path) -> bool:
    """Whether a file is a task's source: an executed notebook keeps its cell."""
    try:
        file = find_spec(path.parent)
        sources = {task.source for task in read_spec(file, sources=False).tasks}
    except NbpipeError as error:
        hint = "mend pipeline.yaml, or take the cell out of the file"
        message = f"{path}: has an injected cell, and its pipeline does not load:\n{error.message}"
        raise UsageError(message, hint) from None
    root = file.parent.resolve()
    return any((root / source).resolve() == path.resolve() for source in sources)


def _command() -> str:
    return f"{shlex.quote(sys.executable)} -m nbpipe nb remove --staged"


def _without_ours(text: str) -> str:
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    return before + after if begin and end else text


def _hook_file(folder: Path) -> Path:
    said = _git(folder, "rev-parse", "--git-path", "hooks/pre-commit")
    return folder / said.decode().rstrip("\n")


def _git(folder: Path, *args: str, send: bytes | None = None) -> bytes:
    try:
        done = subprocess.run(
            ["git", *args], cwd=folder, input=send, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise UsageError("git is not installed", "install it") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it failed"]
        raise UsageError(f"git {args[-1]}: {said[0]}", "run this in a git repository")
    return done.stdout
