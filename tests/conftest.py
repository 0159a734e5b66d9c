"""Fixtures that many tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import Project


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests go last: Playwright keeps an event loop running in the main thread."""
    items.sort(key=lambda item: "browser" in item.path.parts)


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
