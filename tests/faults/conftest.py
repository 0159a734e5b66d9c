"""Fixtures of the fault tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from nbpipe import pipeline
from nbpipe.cli.app import run
from tests.faults.rig import files
from tests.projects import Project


@pytest.fixture
def cli(project: Project, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., str]:
    """The command line in the project's folder, its tasks run in this process by a fake.

    Called with arguments and the exit code that is expected (None: any), it returns what was
    printed, both streams joined.
    """
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(pipeline, "default_executor", lambda kind: project.executor)

    def call(*args: str, code: int | None = 0) -> str:
        capsys.readouterr()
        got = run(list(args))
        said = "".join(capsys.readouterr())
        assert code in (got, None), f"exit code {got}:\n{said}"
        return said

    return call


@pytest.fixture
def refusal(project: Project, cli: Callable[..., str]) -> Callable[[str | bytes | None], str]:
    """Builds with a spec that is wrong: exit code 2, nothing runs and nothing is written.

    Returns what was printed. The scripts ``a.py``, ``b.py`` and ``x/a.py`` are there.
    """
    for name in ("a.py", "b.py", "x/a.py"):
        if not (project.root / name).exists():
            project.write(name, "x = 1\n")

    def refuse(text: str | bytes | None = None) -> str:
        if text is not None:
            data = text.encode() if isinstance(text, str) else text
            (project.root / "pipeline.yaml").write_bytes(data)
        before = files(project.root)
        said = cli("build", code=2)
        assert project.executor.jobs == []
        assert files(project.root) == before
        assert "Traceback" not in said
        return said

    return refuse


@pytest.fixture(params=["C", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With libyaml and without."""
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    return str(request.param)
