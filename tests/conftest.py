"""Fixtures that many tests share."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.podman_rig import Podman, why_not
from tests.projects import Project

collect_ignore = ["benchmarks"]
"""Run by ``python tests/benchmarks``, which makes environments and takes its time."""


def pytest_configure() -> None:
    """Ctrl-C reaches what the tests start, also where a shell runs them in the background.

    Such a shell has them ignore SIGINT, which every process that they start inherits.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests go last: Playwright keeps an event loop running in the main thread."""
    items.sort(key=lambda item: "browser" in item.path.parts)


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """Containers; tests that use them are skipped where there can be none."""
    if reason := why_not():
        pytest.skip(reason)
    with Podman() as podman:
        yield podman


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    return Project(tmp_path)


@pytest.fixture
def diamond(project: Project) -> Project:
    """get → sepal, petal → fit."""
    project.task("get")
    project.task("sepal", ["get"], "constant = 'sepal'")
    project.task("petal", ["get"], "constant = 'petal'")
    project.task("fit", ["sepal", "petal"])
    return project


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A folder that serves as a store."""
    return str(tmp_path.parent / f"{tmp_path.name}-store")


@pytest.fixture
def checkout(tmp_path: Path, diamond: Project) -> Callable[[], Project]:
    """Makes further checkouts of the diamond, which know nothing of each other."""
    count = iter(range(100))

    def make() -> Project:
        root = tmp_path.parent / f"{tmp_path.name}-{next(count)}"
        keep = shutil.ignore_patterns(".nbpipe", "out")
        shutil.copytree(diamond.root, root, ignore=keep)
        project = Project(root)
        project.tasks = diamond.tasks
        return project

    return make
