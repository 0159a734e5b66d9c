"""The panel of a large pipeline: time, messages, and that it is right after many changes."""

from __future__ import annotations

import random
import time

import pytest

from tests.browser.conftest import SHOW

pytestmark = pytest.mark.kernel

MANY = 150

CHANGES = """
import random, threading, time
from nbpipe.core.model import STATES
names = list(panel._graph.tasks)

def change():
    random.seed(7)
    end = time.monotonic() + {seconds}
    for i in range({count}):
        panel._view.set_states({{random.choice(names): random.choice(STATES)}})
        time.sleep({seconds} / {count} * 0.6)

thread = threading.Thread(target=change); thread.start()
"""


def many(workspace) -> None:
    """150 tasks in 15 layers, each with two upstreams: 280 edges."""
    random.seed(3)
    project = workspace.project
    save, project.save = project.save, lambda: None
    for i in range(MANY):
        layer = i // 10
        before = range((layer - 1) * 10, layer * 10)
        ups = [f"t{j:03d}" for j in sorted(random.sample(before, 2))] if layer else None
        project.task(f"t{i:03d}", ups)
    save()


def test_150_tasks_are_drawn_in_time_and_right_after_5000_changes(workspace, capsys):
    many(workspace)
    seconds, count = 20, 5000
    notebook = workspace.open(SHOW, CHANGES.format(seconds=seconds, count=count))
    before, began = notebook.comm_messages(), time.monotonic()
    notebook.run_cell(0, wait=False)
    notebook.await_panel()
    notebook.page.wait_for_function(
        "() => { const r = document.querySelector('.nbp-light')._cyreg;"
        f" return r && r.cy.nodes('[width > 50][label != \"\"]').length >= {MANY} }}"
    )
    drawn = time.monotonic() - began
    notebook.wait_idle()
    notebook.page.wait_for_timeout(1000)
    messages = notebook.comm_messages() - before
    notebook.shot("panel-150")
    before = notebook.comm_messages()
    notebook.run_cell(1)
    wanted = _replayed(count)
    notebook.page.wait_for_timeout(1000 * (seconds + 1))
    end = time.monotonic() + 15
    while time.monotonic() < end and _shown(notebook) != wanted:
        notebook.page.wait_for_timeout(200)
    later = notebook.comm_messages() - before
    with capsys.disabled():
        print(f"\n150 tasks: drawn in {drawn:.2f} s with {messages} comm messages;")
        print(f"{count} changes in {seconds} s sent {later} more")
    assert _shown(notebook) == wanted
    assert drawn < 3.0
    assert messages < 400
    notebook.shot("panel-150-changed", notebook.panel)


def _replayed(count: int) -> dict[str, str]:
    from nbpipe.core.model import STATES

    names = [f"t{i:03d}" for i in range(MANY)]
    random.seed(7)
    states = dict.fromkeys(names, "new")
    for _ in range(count):
        name = random.choice(names)
        states[name] = random.choice(STATES)
    return states


def _shown(notebook) -> dict[str, str]:
    """The state that each node shows, told by its border, which a forced style changes too."""
    from nbpipe.views.theme import STATE_STYLES

    by_colour = {
        "rgb({},{},{})".format(*(int(s.light.edge[i : i + 2], 16) for i in (1, 3, 5))): state
        for state, s in STATE_STYLES.items()
    }
    return {
        name: by_colour.get(node["border"], node["border"])
        for name, node in notebook.canvas()["nodes"].items()
    }
