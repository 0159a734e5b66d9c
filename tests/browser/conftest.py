"""Fixtures: a server for the whole session, a browser, and small projects on the server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.rig import BROWSER_ARGS, CHROMIUM, NotebookPage, Server, write_notebook
from tests.projects import Project

REQUIRED = os.environ.get("NBPIPE_REQUIRE_BROWSER") == "1"
"""In CI a missing browser is an error, since a skipped test tells nothing."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("jupyter")
    root = tmp_path_factory.mktemp("files")
    running = Server(home, root)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    reason = _missing()
    if reason and REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER_ARGS)
        yield running
        running.close()


def _missing() -> str:
    if CHROMIUM is None:
        return "chromium is not installed"
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return ""


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(15_000)
    opened = context.new_page()
    yield opened
    context.close()


class Workspace:
    """A folder on the server with a project and a notebook beside it."""

    def __init__(self, server: Server, page: Any, name: str) -> None:
        self.server, self.page, self.name = server, page, name
        self.root = server.root / name
        self.root.mkdir()
        self.project = Project(self.root)

    def six(self, seconds: float = 0.3) -> Project:
        """The demo's graph, whose scripts only wait."""
        wait = f"import time\nprint('hello from the task')\ntime.sleep({seconds})"
        self.project.task("get", code=wait)
        self.project.task("feature-sepal", ["get"], wait)
        self.project.task("feature-petal", ["get"], wait)
        self.project.task("explore", ["get"], wait)
        self.project.task("fit", ["get", "feature-sepal", "feature-petal"], wait)
        self.project.task("report", ["fit"], wait)
        return self.project

    def open(self, *cells: str, app: str = "lab", name: str = "master") -> NotebookPage:
        write_notebook(self.root / f"{name}.ipynb", *cells)
        return NotebookPage(self.page, self.server, f"{self.name}/{name}.ipynb", app)

    def reopen(self, app: str = "lab", name: str = "master") -> NotebookPage:
        return NotebookPage(self.page, self.server, f"{self.name}/{name}.ipynb", app)


@pytest.fixture
def workspace(server: Server, page: Any, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    server.lab_setting("apputils-extension/themes", theme="JupyterLab Light")
    yield Workspace(server, page, name)
    shutil.rmtree(server.root / name, ignore_errors=True)


SHOW = (
    "from nbpipe import Pipeline\n"
    "from nbpipe.jupyter.panel import Panel, PipelineBackend\n"
    "panel = Panel(PipelineBackend(Pipeline.load('.')))\n"
    "panel.show()"
)
