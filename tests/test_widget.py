"""The panel and its diagram without a browser: models, messages, texts."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from itertools import pairwise

import pytest

from nbpipe.core import events as ev
from nbpipe.core.graph import Graph
from nbpipe.core.model import Failure, Task
from nbpipe.core.progress import Progress
from nbpipe.jupyter.live import Poller
from nbpipe.jupyter.panel import Panel, PipelineBackend
from nbpipe.views import widget_preview
from nbpipe.views.status import Status, StatusRow
from nbpipe.views.widget import BULK, DagView, StaticView, make_view
from nbpipe.views.widget_collapse import shown
from nbpipe.views.widget_details import Details, Link, link_html, source_html, tab_html
from nbpipe.views.widget_html import header_html, merged_states, running_html, table_html
from nbpipe.views.widget_style import stylesheet

EVIL = "<img src=x onerror=alert(1)>\"'&"


def graph_of(count: int, group: str | None = None) -> Graph:
    names = [f"t{i}" for i in range(count)]
    tasks = {n: Task(name=n, source=f"{n}.py", group=group) for n in names}
    return Graph(tasks, {n: ((up,) if up else ()) for up, n in pairwise([None, *names])})


def status_of(*names: str) -> Status:
    rows = tuple(
        StatusRow(
            task=name,
            state="new",
            action="run",
            reason="never run",
            last_run=None,
            seconds=None,
            products=(f"out/{name}",),
            source=f"{name}.py",
            upstream=(),
        )
        for name in names
    )
    return Status(rows, "a pipeline", 1000.0)


def live_models() -> set[str]:
    from ipywidgets.widgets.widget import _instances

    return set(_instances)


class TestDiagram:
    def test_complete_elements_are_handed_over_at_once(self):
        view = DagView()
        view.set_graph(graph_of(6), {"t0": "fresh"})
        drawing = view._drawing
        assert len(drawing.nodes) == 6
        assert drawing.nodes["t0"].classes == "fresh"
        assert drawing.nodes["t1"].position["x"] > drawing.nodes["t0"].position["x"]
        for canvas in drawing.canvases.values():
            assert canvas.cytoscape_layout["name"] == "preset"
            assert canvas.tooltip_source == ""
            assert set(canvas._interaction_handlers["node"]) == {"tap"}
        view.close()

    def test_another_graph_is_another_widget_and_every_old_model_is_closed(self):
        view = DagView()
        before = live_models()
        view.set_graph(graph_of(4), {})
        first = live_models() - before
        view.set_graph(graph_of(5), {})
        assert not first & live_models()
        view.close()
        assert live_models() <= before

    def test_a_click_calls_back_with_the_name_of_the_task(self):
        view, seen = DagView(), []
        view.on_select(seen.append)
        view.set_graph(graph_of(3), {})
        canvas = view._drawing.canvases["light"]
        content = {"widget": "node", "event": "tap", "data": {"data": {"id": "n1"}}}
        canvas._handle_interaction(canvas, content, [])
        assert seen == ["t1"]
        view.close()

    def test_quick_changes_are_joined_and_the_last_state_wins(self):
        view, sent = DagView(), []
        view.set_graph(graph_of(3), {})
        view._drawing.nodes["t1"].observe(lambda change: sent.append(change["new"]), "classes")
        for i in range(500):
            view.set_states({"t1": ("running", "queued")[i % 2]})
        view.set_states({"t1": "fresh"})
        time.sleep(0.3)
        assert sent[-1] == "fresh"
        assert len(sent) <= 4
        view.close()

    def test_many_changes_are_one_style_and_later_single_ones_still_show(self):
        view = DagView()
        view.set_graph(graph_of(BULK + 20), {})
        view.set_states({f"t{i}": "fresh" for i in range(BULK + 10)})
        drawing = view._drawing
        assert drawing.nodes["t0"].classes == "new"
        assert drawing.forced["n0"] == "fresh"
        time.sleep(0.15)
        view.set_states({"t0": "failed"})
        assert drawing.forced["n0"] == "failed"
        style = drawing.canvases["light"].cytoscape_style
        last = [rule for rule in style if "#n0" in rule["selector"].split(",")][-1]
        assert last["css"]["border-color"] == "#d55e00"
        view.close()

    def test_the_selected_node_is_outlined_in_both_themes(self):
        for theme in ("light", "dark"):
            style = stylesheet(theme, 124, {}, "n3")
            assert style[-1]["selector"] == "#n3"
            assert style[-1]["css"]["underlay-opacity"] > 0

    @pytest.mark.parametrize(
        ("count", "nodes"), [(150, 150), (151, 151), (400, 400)], ids=["150", "151", "400"]
    )
    def test_above_150_tasks_groups_or_layers_are_drawn(self, count, nodes):
        found = shown(graph_of(count), 150)
        assert len(found.members) == nodes  # a chain has as many layers as tasks
        found = shown(graph_of(count, "all"), 150)
        assert len(found.members) == (150 if count == 150 else 1)

    def test_a_collapsed_node_shows_its_most_pressing_task(self):
        found = shown(graph_of(200, "all"), 150)
        (node,) = found.members
        assert node == "all · 200 tasks"
        assert found.states({"t3": "running", "t4": "failed"}) == {node: "failed"}
        assert found.pressing(node, {"t3": "running", "t4": "failed"}) == "t4"

    def test_above_500_tasks_it_is_a_picture(self):
        view = make_view(graph_of(501))
        assert isinstance(view, StaticView)
        view.set_graph(graph_of(501), {})
        assert "data:image/svg+xml;base64," in view.widget.value
        view.close()


class TestTexts:
    def test_everything_is_escaped(self):
        status = status_of(EVIL)
        progress = Progress()
        progress.apply(ev.RunStarted(run="r", tasks=(EVIL,), time=1.0))
        progress.apply(ev.TaskStarted(task=EVIL, time=1.0))
        progress.apply(ev.CellStarted(task=EVIL, index=1, total=2))
        details = Details(
            task=EVIL,
            state="new",
            reasons=(EVIL,),
            source=EVIL,
            diff=f"+{EVIL}",
            log=EVIL,
            links=(Link(EVIL, EVIL, EVIL, EVIL),),
        )
        texts = [
            header_html(EVIL, {EVIL: "new"}, progress, 2.0),
            running_html(progress),
            table_html(status, merged_states(status, progress), progress, 2.0, ""),
            *(tab_html(details, tab) for tab in ("Source", "Changes", "Log")),
            link_html(details.links[0]),
        ]
        for text in texts:
            assert "<img" not in text
            assert "'&" not in text.replace("&#x27;&amp;", "")

    def test_a_run_says_only_what_it_knows(self):
        status, progress = status_of("a", "b"), Progress()
        progress.apply(ev.RunStarted(run="r", tasks=("a", "b")))
        assert merged_states(status, progress) == {"a": "new", "b": "new"}
        progress.apply(ev.TaskQueued(task="a"))
        assert merged_states(status, progress) == {"a": "queued", "b": "new"}
        progress.apply(ev.TaskFailed(task="a", seconds=1, failure=Failure(error="E", message="no")))
        html = table_html(status, merged_states(status, progress), progress, 2.0, "a")
        assert "E: no" in html
        assert html.count("<tr") == 3

    def test_the_header_of_a_script_is_left_out_and_lines_keep_their_numbers(self):
        html = source_html("# ---\n# jupyter: x\n# ---\n\nx = '''a\nb'''\n")
        assert "jupyter" not in html
        assert '<span class="nbp-num">5</span>' in html
        assert html.count("<span") == html.count("</span>")

    @pytest.mark.parametrize(
        ("name", "data", "wanted"),
        [
            ("a.csv", b"x,y\n1,<b>\n", "&lt;b&gt;"),
            ("a.json", b'{"a": [1]}', "&quot;a&quot;"),
            ("a.json", b"{", "no preview: JSONDecodeError"),
            ("a.txt", b"\xff<i>", "&lt;i&gt;"),
            ("a.png", b"\x89PNG", '<img alt="a.png" src="data:image/png;base64,'),
            ("a.csv", b"", "empty"),
            ("a.pickle", b"cos\nsystem\n", ""),
        ],
    )
    def test_a_product_is_previewed_by_its_suffix(self, tmp_path, name, data, wanted):
        (tmp_path / name).write_bytes(data)
        html = widget_preview.preview_html(str(tmp_path / name), len(data))
        assert wanted in html
        assert bool(html) == bool(wanted)


class FakeRun:
    def __init__(self) -> None:
        self.progress, self.status, self.cancelled = Progress(), "running", False

    def cancel(self) -> None:
        self.cancelled = True


class FakeBackend:
    """A pipeline of three tasks, without files."""

    def __init__(self, count: int = 3) -> None:
        self.graph = graph_of(count)
        self.going: FakeRun | None = None
        self.started: list[tuple] = []

    def status(self) -> Status:
        return status_of(*self.graph.tasks)

    def start(self, upstream_of, jobs, force, keep_going):
        self.started.append((upstream_of, jobs, force, keep_going))
        self.going = FakeRun()
        return self.going

    def attach(self):
        return self.going

    def details(self, task):
        if task == "t2":
            raise ValueError("t2 <is> odd")
        return Details(task=task, state="new", source="x = 1")


@pytest.fixture
def panel():
    made = Panel(FakeBackend(), jobs=3)
    made._open()
    made._static.update = lambda status: None
    yield made
    made.close()


class TestPanel:
    def test_the_buttons_start_what_they_say(self, panel):
        panel._face.upstream.click()
        assert "Select a task first" in panel._face.say.value
        panel.select("t1")
        panel._face.force.value = True
        panel._face.upstream.click()
        assert panel.backend.started == [("t1", 3, True, False)]
        assert panel._face.build.disabled
        assert not panel._face.cancel.disabled
        panel._face.cancel.click()
        time.sleep(0.1)
        assert panel.run.cancelled

    def test_a_run_is_followed_to_its_end(self, panel):
        panel._face.build.click()
        run = panel.run
        run.progress.apply(ev.RunStarted(run="r", tasks=("t0", "t1", "t2"), time=time.time()))
        run.progress.apply(ev.TaskStarted(task="t0", time=time.time()))
        assert panel.tick() == pytest.approx(0.25)
        assert 'data-state="running"' in panel._face.table.value
        run.progress.apply(ev.RunFinished(state="done", seconds=2.0))
        run.status, panel.backend.going = "done", None
        assert panel.tick() > 1
        assert "done in 2.0 s" in panel._face.head.value
        assert "Build done" in panel._face.say.value
        assert not panel._face.build.disabled

    def test_a_run_that_has_ended_is_shown_as_ended_without_waiting_for_the_thread(self, panel):
        shown = []
        panel._static.update = shown.append
        panel._face.build.click()
        panel.renew()
        assert (shown, panel.run.status) == ([], "running"), "it goes on: the thread follows it"
        panel.run.status, panel.backend.going = "done", None
        panel.renew()
        assert [status.name for status in shown] == [panel.backend.status().name]
        assert panel.run is None
        assert "Build done" in panel._face.say.value

    def test_a_build_of_somebody_else_is_followed(self, panel):
        panel.tick()
        assert panel._face.cancel.disabled
        panel.backend.going = FakeRun()
        panel.tick()
        assert not panel._face.cancel.disabled

    def test_an_error_of_a_callback_is_shown(self, panel):
        panel._face.rows.value = "t2"
        assert "ValueError: t2 &lt;is&gt; odd" in panel._face.say.value
        assert 'role="alert"' in panel._face.say.value

    def test_an_error_while_following_is_shown_and_the_thread_lives(self, panel):
        def fail():
            raise OSError("disk")

        panel.backend.attach = fail
        assert panel.tick() > 0
        assert "OSError: disk" in panel._face.say.value

    def test_another_graph_is_drawn_anew(self, panel):
        panel.backend.graph = graph_of(5)
        panel._renew()
        assert len(panel._view._drawing.nodes) == 5
        assert len(panel._face.rows.options) == 5

    def test_closing_closes_every_model(self):
        before = live_models()
        made = Panel(FakeBackend())
        made._open()
        assert len(live_models() - before) < 120
        made.close()
        assert live_models() <= before

    def test_without_a_kernel_it_is_text(self, capsys):
        Panel(FakeBackend()).show()
        assert "never run" in capsys.readouterr().out

    def test_its_plain_form_is_the_picture_and_the_table(self):
        bundle = Panel(FakeBackend())._repr_mimebundle_()
        assert "data:image/svg+xml;base64," in bundle["text/html"]
        assert bundle["text/html"].count("<tr>") == 4
        assert "never run" in bundle["text/plain"]


class TestThread:
    def test_it_ends_when_stopped_or_when_its_panel_is_gone(self):
        class Target:
            def tick(self) -> float:
                return 0.01

        before = threading.active_count()
        for ending in ("stop", "gone"):
            target = Target()
            poller, ref = Poller(target), weakref.ref(target)
            poller.start()
            assert poller.daemon
            if ending == "stop":
                poller.stop()
            else:
                del target
                gc.collect()
            poller.join(2)
            assert not poller.is_alive()
            assert ending == "stop" or ref() is None
        assert threading.active_count() <= before


def test_details_of_a_real_pipeline(diamond):
    diamond.build()
    diamond.edit("fit.py", '"one"', '"two"')
    backend = PipelineBackend(diamond.pipeline())
    assert backend.status()["fit"].state == "stale"
    details = backend.details("fit")
    assert "two" in details.diff
    assert details.ever
    assert [run.result for run in details.runs] == ["ran"]
    assert {p.path: p.size is not None for p in details.products} == {
        "out/fit.ipynb": True,
        "out/fit.txt": True,
    }


def test_importing_the_panel_imports_no_widgets():
    code = (
        "import sys, nbpipe.jupyter.panel, nbpipe.views.widget\n"
        "bad = {'ipywidgets', 'ipycytoscape', 'pandas', 'networkx', 'IPython'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
