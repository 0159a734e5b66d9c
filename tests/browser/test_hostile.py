"""Hostile names, params and errors in a real browser: nothing runs, asks or is loaded.

The texts are those of ``tests/faults/corpus.py``. What comes to life calls ``alert``, sets
``window.pwned`` or asks for an address that is not the server's.
"""

from __future__ import annotations

import base64
import json
from urllib.parse import urlsplit

import nbformat
import pytest

from nbpipe.views.diagram import to_mermaid
from tests.browser.conftest import SHOW
from tests.browser.rig import NotebookPage, write_notebook
from tests.faults import corpus
from tests.faults.hostile import hostile_graph, html_texts

pytestmark = pytest.mark.kernel


class Witness:
    """Hears every dialog and every request of a page."""

    def __init__(self, page, *hosts: str) -> None:
        self.page, self.hosts = page, hosts
        self.dialogs: list[str] = []
        self.requests: list[str] = []
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self._request(request.url))

    def _dialog(self, dialog) -> None:
        self.dialogs.append(f"{dialog.type}: {dialog.message}")
        # A page that asks whether to leave it is Jupyter's own.
        dialog.accept() if dialog.type == "beforeunload" else dialog.dismiss()

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss", "ftp") and parts.netloc not in self.hosts:
            self.requests.append(url)

    def saw_nothing(self) -> None:
        """Give what waits time to come to life, touch everything, and look."""
        self.page.evaluate(TOUCH)
        self.page.wait_for_timeout(700)
        frames = [frame for frame in self.page.frames if frame.url != "about:blank"]
        assert [f for f in frames if f.evaluate("window.pwned")] == []
        assert [d for d in self.dialogs if not d.startswith("beforeunload")] == []
        assert self.requests == []


TOUCH = """() => {
  for (const e of document.querySelectorAll("*")) {
    for (const name of ["mouseover", "mouseenter", "focus", "load", "error", "begin", "toggle"])
      e.dispatchEvent(new Event(name));
  }
}"""


@pytest.mark.parametrize("where", [name for name in html_texts() if name != "page"])
def test_every_piece_of_html_is_inert(page, where):
    witness = Witness(page)
    head = '<!doctype html><meta charset="utf-8"><body>'
    page.set_content(f"{head}{html_texts()[where]}")
    witness.saw_nothing()
    if where != "runs":  # which names no task
        assert corpus.EVIL in page.inner_text("body"), "the texts are shown"


def test_the_page_is_inert_as_a_file_and_shows_its_table(page, tmp_path):
    witness = Witness(page)
    path = tmp_path / "p.html"
    path.write_text(html_texts()["page"], encoding="utf-8")
    page.goto(path.as_uri())
    assert page.locator("tbody tr").count() == len(corpus.ALL)
    witness.saw_nothing()


@pytest.mark.parametrize("how", ["file", "img", "object"])
def test_the_svg_is_inert_however_it_is_shown(page, tmp_path, how):
    witness = Witness(page)
    svg = html_texts()["svg"]
    path = tmp_path / "p.svg"
    path.write_text(svg, encoding="utf-8")
    if how == "file":
        page.goto(path.as_uri())
    else:
        data = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
        tag = f'<img src="{data}">' if how == "img" else f'<object data="{data}"></object>'
        page.set_content(f"<!doctype html><body>{tag}")
    page.wait_for_timeout(500)
    witness.saw_nothing()


def hostile_project(project) -> list[str]:
    """A pipeline whose names, params, sources and errors are attacks."""
    names = [name for name in corpus.names() if "{{" not in name]
    project.write("work.py", "def run(product):\n    raise ValueError(product)\n")
    project.tasks = [
        {
            "source": f"s{i}.py",
            "name": name,
            "product": {"nb": f"out/{i} {name[:60]}.ipynb", "data": f"out/{i}.csv"},
            # YAML has no half of a surrogate pair, and double braces are placeholders.
            "params": {"text": corpus.ALL[i].encode("utf-8", "replace").decode().replace("{{", "")},
        }
        for i, name in enumerate(names)
    ]
    for i, name in enumerate(names):
        ups = [names[i - 1]] if i else None
        project.write(f"s{i}.py", project.text(ups, f"# {name}\nx = {name!r}\nraise ValueError(x)"))
    project.save()
    return [str(task["name"]) for task in project.tasks]


def test_the_panel_and_the_magics_are_inert_in_lab(workspace):
    names = hostile_project(workspace.project)
    notebook = workspace.open(
        SHOW,
        "%load_ext nbpipe",
        "%pipeline status",
        "%pipeline plan",
        f"%pipeline build {json.dumps(names[0])}",
        "%pipeline log",
        f"%pipeline why {json.dumps(names[1])}",
        "%pipeline plot",
    )
    witness = Witness(notebook.page, f"127.0.0.1:{workspace.server.port}")
    notebook.run_cell(0)
    notebook.await_panel()
    assert list(notebook.table_states())
    for name in names[:6]:
        notebook.panel.locator(".nbp-rows button", has_text=name[:12]).first.click()
        for tab in ("Source", "Changes", "Products", "Log", "Runs"):
            notebook.panel.get_by_role("button", name=tab, exact=True).click()
            notebook.page.wait_for_timeout(60)
    witness.saw_nothing()
    for index in range(1, 8):
        notebook.run_cell(index)
    witness.saw_nothing()
    notebook.shot("hostile-panel")


def test_an_executed_notebook_and_mermaid_in_markdown_are_inert_in_lab(workspace):
    """Untrusted, as every notebook that a build has made and nobody has run by hand."""
    graph = hostile_graph()
    diagram = to_mermaid(graph, dict.fromkeys(graph.tasks, "failed"))
    path = workspace.root / "made.ipynb"
    write_notebook(path, "x = 1")
    notebook = nbformat.read(path, 4)
    short = "\n".join(line for line in diagram.splitlines() if "xxxxxxxx" not in line)
    notebook.cells.append(nbformat.v4.new_markdown_cell(f"```mermaid\n{short}\n```"))
    for text in corpus.HTML:
        output = nbformat.v4.new_output("error", ename=text, evalue=text, traceback=[text])
        cell = nbformat.v4.new_code_cell(f"text = {text!r}", outputs=[output])
        notebook.cells.append(cell)
    notebook.metadata["nbpipe"] = {"task": corpus.HTML[0], "source": corpus.HTML[1]}
    nbformat.write(notebook, path)
    page = workspace.page
    witness = Witness(page, f"127.0.0.1:{workspace.server.port}")
    opened = NotebookPage(page, workspace.server, f"{workspace.name}/made.ipynb")
    page.locator(
        ".jp-RenderedMermaid img, .jp-RenderedMermaid svg, .jp-mod-warning"
    ).first.wait_for(timeout=30_000)
    witness.saw_nothing()
    opened.shot("hostile-mermaid")
    assert page.locator(".jp-RenderedMermaid").count() >= 1
    assert "Syntax error" not in page.locator(".jp-RenderedMarkdown").first.inner_text()
