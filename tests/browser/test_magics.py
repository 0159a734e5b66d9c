"""The magics in a browser: the demo notebook as a newcomer runs it, restarts, streams."""

from __future__ import annotations

import shutil

import pytest

from nbpipe.cli.scaffold import write_demo
from tests.browser.rig import NotebookPage

SIX = ["get", "feature-sepal", "feature-petal", "explore", "fit", "report"]

pytestmark = pytest.mark.kernel


def restart_kernel(notebook: NotebookPage) -> None:
    """Restart with the menu, and confirm."""
    page = notebook.page
    page.locator(".lm-MenuBar-itemLabel", has_text="Kernel").click()
    page.get_by_text("Restart Kernel…", exact=True).click()
    page.locator(".jp-Dialog .jp-mod-warn").click()
    page.locator(".jp-Dialog").wait_for(state="detached")
    notebook.wait_idle()


def run_all(notebook: NotebookPage) -> None:
    """Run all cells with the menu; again while Lab is not ready for it and nothing begins."""
    page = notebook.page
    for _ in range(5):
        page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_timeout(4000)
        prompts = page.locator(".jp-InputPrompt").all_inner_texts()
        if any(text.strip("[]: \xa0") for text in prompts):
            return
    raise AssertionError(f"no cell runs: {prompts}")


def scroll(notebook: NotebookPage, to: str) -> None:
    """Scroll the notebook: Lab takes cells that are out of sight out of the page."""
    notebook.page.locator(".jp-WindowedPanel-outer").evaluate(f"e => {{ e.scrollTop = {to} }}")
    notebook.page.wait_for_timeout(500)


def test_a_newcomer_runs_all_cells_of_the_demo_and_sees_the_dag_turn_green(workspace):
    for path in (workspace.root, workspace.root / "x"):
        shutil.rmtree(path, ignore_errors=True)
    write_demo(workspace.root)
    notebook = NotebookPage(workspace.page, workspace.server, f"{workspace.name}/master.ipynb")
    page = notebook.page
    run_all(notebook)
    page.locator("caption", has_text="8 tasks: 8 fresh").last.wait_for(timeout=120_000)
    scroll(notebook, "0")
    notebook.await_states(dict.fromkeys([*SIX, "species", "widest"], "fresh"))
    notebook.shot("demo-master")
    assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    assert (workspace.root / "scripts/species.py").exists()
    assert "scripts/species.py" in (workspace.root / "pipeline.yaml").read_text()
    scroll(notebook, "e.scrollHeight")
    plot = page.locator(".jp-OutputArea-output img:not(.nbp-picture)")
    plot.wait_for()
    plot.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    notebook.shot("demo-task")


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_magics_work_in_lab_and_in_notebook(workspace, app):
    workspace.six(seconds=0.1)
    notebook = workspace.open(
        "%load_ext nbpipe", "%pipeline", "%upstream fit --build", "upstream['fit']['data']", app=app
    )
    for i in range(4):
        notebook.run_cell(i)
    notebook.wait_idle()
    wanted = {name: "fresh" for name in SIX if name not in ("explore", "report")}
    notebook.await_states(wanted)
    assert str(workspace.root / "out/fit.txt") in notebook.outputs(3).inner_text()
    notebook.shot(f"magics-{app}")


def test_a_kernel_restart_in_the_middle_of_a_build_loses_nothing(workspace):
    """Row 36: the build goes on, and %pipeline in the new kernel shows it live."""
    workspace.six(seconds=3.0)
    notebook = workspace.open("%load_ext nbpipe", "run = %pipeline build --bg\nrun", "%pipeline")
    notebook.run_cell(0)
    notebook.run_cell(1)
    restart_kernel(notebook)
    notebook.run_cell(0)
    notebook.run_cell(2)
    notebook.await_panel()
    states = notebook.await_states({"get": "fresh"})
    assert states["report"] != "fresh", "it goes on"
    notebook.shot("magics-restarted")
    notebook.await_states(dict.fromkeys(SIX, "fresh"), timeout=60)


def test_a_clean_run_streams_text_and_a_plot_into_the_cell_as_they_come(workspace):
    workspace.six(seconds=0.1)
    body = (
        "%%task show --run\n"
        "import time\n"
        "print('first line')\n"
        "time.sleep(4)\n"
        "import matplotlib.pyplot as plt\n"
        "plt.figure(figsize=(3, 2)); plt.plot([1, 3, 2]); plt.show()"
    )
    notebook = workspace.open("%load_ext nbpipe", body)
    notebook.run_cell(0)
    notebook.run_cell(1, wait=False)
    notebook.outputs(1).get_by_text("first line").wait_for()
    assert notebook.page.locator(".jp-OutputArea-output img").count() == 0, "that comes later"
    notebook.page.locator(".jp-OutputArea-output img").wait_for()
    notebook.outputs(1).get_by_text("ran in a clean kernel").wait_for()
    notebook.shot("magics-task-run")


def test_a_stale_upstream_offers_the_button_that_runs_it(workspace):
    workspace.six(seconds=0.1)
    notebook = workspace.open("%load_ext nbpipe", "%upstream --task fit")
    notebook.run_cell(0)
    notebook.run_cell(1)
    notebook.outputs(1).get_by_text("warning: stale or missing: get").wait_for()
    notebook.button("Run all upstream of fit").click()
    notebook.await_states(dict.fromkeys(SIX[:3], "fresh"))
    notebook.run_cell(1)
    assert "upstream: get ✓" in notebook.outputs(1).first.inner_text()
