"""Fixtures that many tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import Project


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
