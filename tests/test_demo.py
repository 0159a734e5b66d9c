"""The demo notebook where there is no browser: nothing fails, and the pictures are static."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from nbpipe.cli.scaffold import write_demo

pytestmark = pytest.mark.kernel


def run(folder: Path, *args: str) -> None:
    subprocess.run(
        [sys.executable, "-m", *args], cwd=folder, check=True, timeout=240, capture_output=True
    )


def static_of(path: Path) -> dict[str, str]:
    """The static output of ``%pipeline`` in an executed notebook, in which nothing failed."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [o for cell in cells for o in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert any("image/png" in o.get("data", {}) for o in outputs), "%%task --run shows its plot"
    (panel,) = [cell for cell in cells if cell.source == "%pipeline"]
    (static,) = [o.data for o in panel.outputs if "text/html" in o.data]
    return static


def test_under_jupyter_execute_the_picture_and_the_table_show_the_final_state(tmp_path):
    write_demo(tmp_path)
    run(tmp_path, "jupyter", "execute", "master.ipynb", "--output=out.ipynb")
    static = static_of(tmp_path / "out.ipynb")
    assert "data:image/svg+xml" in static["text/html"]
    assert "<table" in static["text/html"]
    assert "8 fresh" in static["text/plain"]
    assert (tmp_path / "scripts" / "species.py").exists()


def test_under_papermill_and_in_nbconverts_page_the_picture_and_the_table_are_there(tmp_path):
    write_demo(tmp_path)
    run(tmp_path, "papermill", "master.ipynb", "out.ipynb")
    assert "8 fresh" in static_of(tmp_path / "out.ipynb")["text/plain"]
    run(tmp_path, "jupyter", "nbconvert", "--to", "html", "out.ipynb")
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "data:image/svg+xml" in page
    assert "8 fresh" in page
