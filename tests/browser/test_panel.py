"""The panel as a reader meets it: a real server, a real kernel, a real browser, real builds."""

from __future__ import annotations

import io
import time

import pytest
from PIL import Image

from nbpipe.views.theme import palette
from tests.browser.conftest import SHOW

SIX = ["get", "feature-sepal", "feature-petal", "explore", "fit", "report"]

pytestmark = pytest.mark.kernel


def colours(locator) -> set[tuple[int, ...]]:
    """The colours of a screenshot that fill some 20 pixels or more."""
    image = Image.open(io.BytesIO(locator.screenshot())).convert("RGB")
    return {colour for count, colour in image.getcolors(1 << 24) if count >= 20}


def rgb(text: str) -> tuple[int, ...]:
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


def near(wanted: str, seen: set[tuple[int, ...]]) -> bool:
    return any(max(abs(a - b) for a, b in zip(rgb(wanted), c, strict=True)) <= 6 for c in seen)


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_six_nodes_are_drawn_and_a_click_fills_the_details(workspace, app):
    workspace.six()
    notebook = workspace.open(SHOW, app=app)
    notebook.run_cell(0)
    notebook.await_panel()
    assert list(notebook.table_states()) == SIX
    canvas = notebook.canvas()
    assert sorted(canvas["nodes"]) == sorted(SIX)
    assert canvas["inside"], canvas
    assert near(palette("light")["new-edge"], colours(notebook.page.locator(".nbp-dag")))
    assert not notebook.page.locator(".nbp-static").is_visible()
    notebook.click_node("fit")
    about = notebook.panel.locator(".nbp-about")
    about.get_by_text("never run").wait_for()
    assert "fit" in about.inner_text()
    assert "seen = [" in notebook.panel.locator(".nbp-body").inner_text()
    assert notebook.canvas()["nodes"]["fit"]["width"] == "2.5px"
    notebook.shot(f"panel-{app}")


def test_run_all_upstream_turns_rows_and_nodes_fresh_while_the_kernel_is_busy(workspace):
    workspace.six()
    notebook = workspace.open(SHOW, "import time\ntime.sleep(20)\nprint('slept')")
    notebook.run_cell(0)
    notebook.await_panel()
    notebook.click_node("fit")
    notebook.button("Run all upstream of fit").click()
    notebook.run_cell(1, wait=False)
    wanted = dict.fromkeys(["get", "feature-sepal", "feature-petal"], "fresh")
    notebook.await_states({"get": "running"})
    notebook.shot("panel-running", notebook.panel)
    notebook.await_states({**wanted, "fit": "new", "report": "new"})
    notebook.panel.get_by_text("done in").wait_for()
    assert notebook.outputs(1).count() == 0, "the cell has ended already: nothing is shown by this"
    nodes = notebook.canvas()["nodes"]
    assert {name for name in SIX if nodes[name]["classes"] == ["fresh"]} == set(wanted)
    assert nodes["get"]["border"] == "rgb({},{},{})".format(*rgb(palette("light")["fresh-edge"]))
    notebook.shot("panel-upstream-done", notebook.panel)


def test_cancel_stops_a_build_and_says_so(workspace):
    workspace.six(seconds=30)
    notebook = workspace.open(SHOW)
    notebook.run_cell(0)
    notebook.await_panel()
    notebook.button("Build all").click()
    notebook.await_states({"get": "running"})
    began = time.monotonic()
    notebook.button("Cancel").click()
    notebook.panel.get_by_text("cancelled in").wait_for(timeout=8000)
    assert time.monotonic() - began < 8
    assert "running" not in notebook.table_states().values()
    notebook.panel.locator("button:enabled", has_text="Build all").wait_for()


def test_a_new_panel_attaches_to_a_build_that_goes_on(workspace):
    workspace.six(seconds=1.0)
    start = "from nbpipe import Pipeline\nrun = Pipeline.load('.').start()"
    notebook = workspace.open(start, SHOW)
    notebook.run_cell(0)
    notebook.run_cell(1)
    notebook.await_panel()
    assert notebook.button("Cancel").is_enabled()
    notebook.await_states(dict.fromkeys(SIX, "fresh"))


def test_a_task_is_selected_with_the_keyboard_alone(workspace):
    workspace.six()
    notebook = workspace.open(SHOW)
    notebook.run_cell(0)
    notebook.await_panel()
    notebook.panel.locator(".nbp-fit").focus()
    for _ in range(12):
        notebook.page.keyboard.press("Tab")
        focused = notebook.page.evaluate("document.activeElement.innerText")
        if focused == "feature-sepal":
            break
    assert focused == "feature-sepal"
    notebook.page.keyboard.press("Enter")
    notebook.panel.locator(".nbp-about b", has_text="feature-sepal").wait_for()
    notebook.button("Run all upstream of feature-sepal").wait_for()
    assert notebook.canvas()["nodes"]["feature-sepal"]["width"] == "2.5px"
    region = notebook.panel.locator("[aria-live=polite]")
    assert region.count() == 1
    assert notebook.panel.locator("table.nbp-table th[scope=row]").count() == 6


def test_the_dark_theme_is_followed_without_a_kernel(workspace):
    workspace.six()
    notebook = workspace.open(SHOW)
    notebook.run_cell(0)
    notebook.await_panel()
    page = notebook.page
    menu = page.locator(".lm-MenuBar-item", has_text="Settings")
    menu.click()
    page.locator(".lm-Menu-item", has_text="Theme").first.hover()
    page.locator(".lm-Menu-itemLabel", has_text="JupyterLab Dark").first.click()
    page.wait_for_selector('body[data-jp-theme-light="false"]', state="attached")
    page.wait_for_timeout(400)
    dag = page.locator(".nbp-dag")
    seen = colours(dag)
    notebook.shot("panel-dark")
    assert near(palette("dark")["card"], seen)
    assert not near(palette("light")["card"], seen)
    assert page.locator(".nbp-dark").is_visible()
    assert not page.locator(".nbp-light").is_visible()
    notebook.click_node("get", "dark")
    notebook.panel.locator(".nbp-about b", has_text="get").wait_for()
    notebook.shot("panel-dark-details", notebook.panel)


def test_a_saved_and_reopened_notebook_shows_the_picture_and_the_table(workspace):
    workspace.six()
    notebook = workspace.open(SHOW)
    notebook.run_cell(0)
    notebook.await_panel()
    notebook.button("Build all").click()
    notebook.await_states(dict.fromkeys(SIX, "fresh"))
    notebook.panel.get_by_text("done in").wait_for()
    notebook.save()
    notebook.page.request.delete(
        workspace.server.url(f"api/kernels/{_kernel(notebook)}?token={workspace.server.token}")
    )
    notebook.page.goto("about:blank")
    again = workspace.reopen()
    picture = again.page.locator(".nbp-static img, .jp-RenderedHTMLCommon img").first
    picture.wait_for()
    size = picture.bounding_box()
    assert size["width"] > 300
    assert size["height"] > 100
    table = again.page.locator(".jp-RenderedHTMLCommon table")
    assert table.locator("tr").count() == 7
    assert "✓ fresh" in table.inner_text()
    assert "○ new" not in table.inner_text()
    assert again.panel.count() == 0
    again.shot("panel-reopened")


def _kernel(notebook) -> str:
    server = notebook.server
    reply = notebook.page.request.get(server.url(f"api/sessions?token={server.token}"))
    return next(s["kernel"]["id"] for s in reply.json() if s["path"] == notebook.path)


def test_a_link_opens_the_script_in_a_tab_beside_the_notebook(workspace):
    workspace.six()
    notebook = workspace.open(SHOW)
    notebook.run_cell(0)
    notebook.await_panel()
    notebook.click_node("get")
    notebook.panel.locator(".nbp-links a", has_text="script").click()
    notebook.page.locator(".lm-TabBar-tabLabel", has_text="get.py").wait_for()
    assert len(notebook.page.context.pages) == 1


def test_a_panel_that_was_drawn_in_a_hidden_tab_fits_when_it_is_shown(workspace):
    workspace.six()
    cell = f"import time\ntime.sleep(3)\n{SHOW}"
    notebook = workspace.open(cell)
    notebook.run_cell(0, wait=False)
    notebook.page.locator(".lm-TabBar-addButton:visible").first.click()
    notebook.page.locator(".jp-Launcher:visible").first.wait_for()
    notebook.page.wait_for_timeout(6500)
    notebook.page.locator(".lm-TabBar-tabLabel", has_text="master.ipynb").click()
    notebook.await_panel()
    for _ in range(40):
        canvas = notebook.canvas()
        if canvas.get("inside") and canvas["zoom"] > 0.5:
            break
        notebook.page.wait_for_timeout(100)
    assert canvas["inside"], canvas
    assert canvas["zoom"] > 0.5


@pytest.mark.parametrize("width", [900, 1400])
def test_nothing_is_clipped_at_common_widths(workspace, width):
    workspace.six()
    workspace.page.set_viewport_size({"width": width, "height": 1000})
    notebook = workspace.open(SHOW)
    notebook.run_cell(0)
    notebook.await_panel()
    notebook.click_node("fit")
    notebook.panel.locator(".nbp-about b", has_text="fit").wait_for()
    notebook.shot(f"panel-{width}", notebook.panel)
    wide = "els => els.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
    assert notebook.page.eval_on_selector_all(".nbp-panel .jupyter-button", wide) == []
    outer = notebook.panel.bounding_box()
    for button in notebook.panel.get_by_role("button").all():
        inner = button.bounding_box()
        assert inner is None or inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1
