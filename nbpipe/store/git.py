"""What git says of a folder: the branch and the version that is checked out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from nbpipe.errors import UsageError

# No program that the repository's own settings name is run, and its index is left as it is.
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_TIMEOUT = 30.0


def git_describe(folder: Path) -> str:
    """A tag, or the abbreviated hash of the commit, with ``-dirty`` when files were edited.

    Raises:
        UsageError: git is not installed, or the folder is in no repository with a commit.
    """
    return _git(folder, "describe", "--tags", "--always", "--dirty=-dirty")


def git_location(folder: Path) -> str:
    """The branch; where none is checked out, what :func:`git_describe` says.

    Raises:
        UsageError: as :func:`git_describe`.
    """
    described = git_describe(folder)
    try:
        return _git(folder, "symbolic-ref", "--short", "HEAD")
    except UsageError:
        return described


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *_SAFE, *words],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"git cannot be run: {error}", "install git, or use no git placeholder"
        ) from None
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        hint = "make a repository with a commit (git init, git commit), or use no git placeholder"
        raise UsageError(f"git {words[0]} failed: {said}", hint)
    return done.stdout.rstrip("\n")
