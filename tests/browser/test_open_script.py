"""The tutorial's editing loop in a browser: a script opened as a notebook follows its pipeline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nbpipe import Pipeline
from nbpipe.store.scaffold import new_sources
from tests.browser.rig import NotebookPage, Server

SPEC = """\
meta:
  jupyter_hot_reload: True

tasks:
  - source: scripts/get.py
    product:
      nb: output/get.ipynb
      data: output/get.csv

  - source: scripts/feature-sepal.py
    product:
      nb: output/feature-sepal.ipynb
      data: output/feature-sepal.csv

  - source: scripts/feature-petal.py
    product:
      nb: output/feature-petal.ipynb
      data: output/feature-petal.csv

  - source: scripts/fit.py
    product:
      nb: output/fit.ipynb
      model: output/model.pickle
"""
"""The tutorial's."""

PARAMETERS, INJECTED = 1, 2
"""Where the two cells stand in what ``nbpipe scaffold`` writes."""


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the extension, however the package is installed."""
    home = tmp_path_factory.mktemp("jupyter")
    (home / "config").mkdir()
    extensions = {"nbpipe": True, "ploomber_extension": False}
    config = {"ServerApp": {"jpserver_extensions": extensions}}
    (home / "config" / "jupyter_server_config.json").write_text(json.dumps(config))
    running = Server(home, tmp_path_factory.mktemp("files"))
    yield running
    running.stop()


class Opened(NotebookPage):
    """A script that was opened from the file browser with Open With → Notebook."""

    def __init__(self, page: Any, server: Server, path: str, app: str) -> None:
        self.server, self.path, self.app = server, path, app
        folder, _, name = path.rpartition("/")
        start = f"lab/tree/{folder}?reset&" if app == "lab" else f"tree/{folder}?"
        page.goto(server.url(f"{start}token={server.token}"))
        item = page.locator(".jp-DirListing-item", has_text=name)
        item.wait_for(timeout=60_000)
        item.click(button="right")
        page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Open With$")).hover()
        choice = page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Notebook$"))
        if app == "lab":
            choice.click()
            self.page = page
        else:
            with page.context.expect_page() as made:
                choice.click()
            self.page = made.value
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self.page.wait_for_selector(".jp-Spinner", state="detached", timeout=60_000)
        if app == "lab":
            self._hide_sidebar()
        self.wait_idle(first=True)

    def text(self, index: int) -> str:
        """What a cell shows."""
        lines = self.page.locator(".jp-Cell").nth(index).locator(".cm-line").all()
        return "\n".join(line.inner_text().replace("\n", "") for line in lines)

    def await_text(self, index: int, wanted: str) -> str:
        """Wait until a cell shows a text."""
        cell = self.page.locator(".jp-Cell").nth(index)
        cell.locator(".cm-content", has_text=wanted).wait_for()
        return self.text(index)

    def replace(self, index: int, text: str) -> None:
        """Type over a cell."""
        self.select_cell(index)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def reload_from_disk(self) -> None:
        """File → Reload … from Disk."""
        self.page.keyboard.press("Escape")
        self.page.get_by_role("menuitem", name="File", exact=True).click()
        self.page.locator(".lm-Menu-itemLabel", has_text=re.compile("Reload .*Disk")).click()
        accept = self.page.locator(".jp-Dialog .jp-mod-accept")
        self.page.wait_for_timeout(300)
        if accept.count():
            accept.click()

    def value(self, code: str) -> str:
        """What an expression gives in the kernel; its cell is taken out again."""
        self.select_cell(INJECTED)
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("b")
        self.replace(INJECTED + 1, f"print({code})")
        self.run_cell(INJECTED + 1)
        said = str(self.outputs(INJECTED + 1).first.inner_text())
        self.page.locator(".jp-Cell").nth(INJECTED + 1).locator(".jp-InputPrompt").click()
        self.page.keyboard.press("d")
        self.page.keyboard.press("d")
        return said.strip()


def project(root: Path) -> Path:
    """The tutorial's playground, with the scripts that ``nbpipe scaffold`` makes."""
    root.mkdir()
    (root / "pipeline.yaml").write_text(SPEC)
    new_sources(root / "pipeline.yaml")
    return root / "scripts" / "feature-petal.py"


def body(script: bytes) -> bytes:
    """A script without its header, to which jupytext adds its version at the first edit."""
    return script.split(b"# ---\n", 2)[2]


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_tutorial_s_loop(jupyter, page, app):
    """Open with Notebook, see the cell, edit upstream, reload, see it follow, run it, save."""
    script = project(jupyter.root / f"playground-{app}")
    root = script.parent.parent.resolve()
    made = script.read_bytes()
    notebook = Opened(page, jupyter, f"playground-{app}/scripts/feature-petal.py", app)

    parameters = notebook.text(PARAMETERS)
    assert "\nupstream = None\n" in parameters
    assert "upstream = None" in notebook.await_text(INJECTED, "Injected by nbpipe")
    notebook.select_cell(INJECTED)
    notebook.page.keyboard.type("mistake")
    assert "mistake" not in notebook.text(INJECTED)  # it is read-only
    notebook.save()
    assert script.read_bytes() == made  # saved without an edit

    notebook.replace(PARAMETERS, parameters.replace("upstream = None", "upstream = ['get']"))
    notebook.save()
    edited = script.read_bytes()
    wanted = made.replace(b"\nupstream = None", b"\nupstream = ['get']")
    assert body(edited) == body(wanted)
    notebook.reload_from_disk()
    notebook.await_text(INJECTED, "output/get.csv")
    notebook.shot(f"open-script-{app}")

    notebook.run_cell(INJECTED)
    assert notebook.value("upstream['get']['data']") == f"{root}/output/get.csv"
    assert notebook.value("__import__('os').getcwd()") == str(script.parent.resolve())
    notebook.save()
    assert script.read_bytes() == edited
    assert Pipeline.load(root).graph.upstream["feature-petal"] == ("get",)

    both = b"\nupstream = ['get', 'feature-sepal']"
    script.write_bytes(made.replace(b"\nupstream = None", both))
    notebook.reload_from_disk()
    notebook.await_text(INJECTED, "output/feature-sepal.csv")

    spec = root / "pipeline.yaml"
    spec.write_text(SPEC.replace("tasks:", "tusks:"))
    notebook.reload_from_disk()
    banner = notebook.page.locator(".jp-MarkdownOutput", has_text="did you mean 'tasks'?")
    banner.wait_for()
    notebook.shot(f"open-script-banner-{app}")
    before = script.read_bytes()
    notebook.save()
    assert script.read_bytes() == before
