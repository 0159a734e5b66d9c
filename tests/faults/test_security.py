"""Rows 51 to 54: hostile texts, private files, pickles and secrets.

What a browser makes of the same texts is tested in ``tests/browser/test_hostile.py``.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from nbpipe import UsageError
from nbpipe.cli import output
from nbpipe.cli.app import cli as click_group
from nbpipe.core import events as ev
from nbpipe.errors import NbpipeError
from nbpipe.store.loading import load_product
from nbpipe.views import plans, progress, runs
from nbpipe.views.diagram import render, to_dot, to_elements, to_mermaid
from nbpipe.views.widget_preview import preview_html
from tests.cli import nbpipe as shell
from tests.faults import corpus
from tests.faults.hostile import (
    FAILURE,
    hostile_graph,
    hostile_plan,
    hostile_progress,
    hostile_report,
    hostile_status,
    html_texts,
)
from tests.faults.rig import files, pids_in, start, until

OURS = frozenset(
    [
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "h1",
        "p",
        "figure",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "span",
        "div",
        "svg",
        "desc",
        "g",
        "rect",
        "text",
        "path",
        "circle",
        "b",
        "i",
        "br",
        "pre",
        "code",
        "section",
        "header",
        "a",
        "ul",
        "li",
        "strong",
        "progress",
        "img",
        "colgroup",
        "col",
        "summary",
        "details",
    ]
)
"""The elements that our own templates have."""


class Look(HTMLParser):
    """Reads HTML as a browser does, and keeps what a text must not be able to add."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in OURS:
            self.bad.append(f"<{tag}>")
        for key, value in attrs:
            value = value or ""
            if key.startswith("on") or key in ("srcdoc", "formaction", "http-equiv.refresh"):
                self.bad.append(f"{tag} {key}={value}")
            is_address = key in ("href", "src", "action", "xlink:href")
            if is_address and not re.match(r"(/files/|data:image/|#)", value):
                self.bad.append(f"{tag} {key}={value}")
            if key == "style" and ("url" in value or corpus.EVIL in value):
                self.bad.append(f"{tag} {key}={value}")

    def handle_comment(self, data: str) -> None:
        self.bad.append(f"<!--{data}")

    def handle_decl(self, decl: str) -> None:
        if decl.lower() != "doctype html":
            self.bad.append(f"<!{decl}")

    def unknown_decl(self, data: str) -> None:
        self.bad.append(f"<![{data}")


@pytest.mark.parametrize("where", html_texts())
def test_51_hostile_texts_add_no_element_no_handler_and_no_address_to_html(where):
    text = html_texts()[where]
    look = Look()
    look.feed(text)
    look.close()
    assert look.bad == []
    assert not corpus.STEERING.search(text), "no control character, none that turns the direction"
    style = "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
    assert corpus.EVIL not in style
    text.encode("utf-8")


def test_51_hostile_names_stay_text_in_svg():
    """The same elements and attributes as for harmless names; each name is one text."""
    svg = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(html_texts()["svg"])
    known = {"svg", "title", "desc", "style", "g", "rect", "text", "path", "circle"}
    assert {element.tag.removeprefix(svg) for element in root.iter()} <= known
    for element in root.iter():
        assert not any(key.startswith("on") or "href" in key for key in element.attrib)
        assert not any("alert" in value for value in element.attrib.values())
    assert f"{corpus.HTML[0]}: failed" in " ".join(root.itertext())


def test_51_the_page_has_a_policy_that_runs_and_loads_nothing():
    text = html_texts()["page"]
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")


def test_51_mermaid_labels_hold_nothing_that_mermaid_reads():
    """A label is letters, digits, entities and our own two tags; ids are n0, n1, …"""
    label = r"<b>(?:[\w\s.-]|#\d+;|[^\x00-\x7f])*</b><br/>. \w+"
    text = to_mermaid(hostile_graph(), dict.fromkeys(corpus.ALL, "failed"))
    assert not corpus.STEERING.search(text)
    lines = text.splitlines()
    nodes = [line for line in lines if '("' in line]
    assert len(nodes) == len(corpus.ALL)
    assert all(re.fullmatch(rf'  n\d+\("{label}"\):::failed', line) for line in nodes)
    rest = r"flowchart LR|  n\d+ --> n\d+|  classDef \w+ [\w#:,]+"
    assert all(re.fullmatch(rest, line) for line in lines if line not in nodes)


def test_51_dot_strings_end_where_they_should():
    """Reading the strings as Graphviz does leaves only our own words outside of them."""
    text = to_dot(hostile_graph(), dict.fromkeys(corpus.ALL, "failed"))
    assert not corpus.STEERING.search(text)
    strings = "".join(re.findall(r'"(?:[^"\\]|\\.)*"', text))
    assert {e[1] for e in re.findall(r"\\.", strings)} == {"n", "\\", '"'}
    lines = re.sub(r'"(?:[^"\\]|\\.)*"', "S", text).splitlines()
    assert (lines[0], lines[-1]) == ("digraph pipeline {", "}")
    node = r"  n\d+ \[label=S, tooltip=S, color=S, fillcolor=S, fontcolor=S\]"
    assert sum(bool(re.fullmatch(node, line)) for line in lines) == len(corpus.ALL)
    edges = sum(bool(re.fullmatch(r"  n\d+ -> n\d+", line)) for line in lines)
    assert edges == len(corpus.ALL) - 1
    assert len(lines) == 2 * len(corpus.ALL) - 1 + 6


def test_51_elements_never_use_a_name_as_id():
    """A name could break a selector; it is data only."""
    found = to_elements(hostile_graph(), {})
    ids = [node["data"]["id"] for node in found["nodes"]]
    assert ids == [f"n{i}" for i in range(len(corpus.ALL))]
    assert [node["data"]["name"] for node in found["nodes"]] == list(corpus.ALL)
    assert not any(corpus.STEERING.search(node["data"]["label"]) for node in found["nodes"])
    assert json.loads(render(hostile_graph(), {}, ".json")) == found


def test_51_the_widget_gives_cytoscape_no_html_and_no_tooltip():
    """Its tooltip would be innerHTML; labels are drawn on a canvas, and styles name ids alone."""
    from nbpipe.views.widget import DagView

    view = DagView()
    view.set_graph(hostile_graph(), {})
    try:
        for canvas in view._drawing.canvases.values():
            assert canvas.tooltip_source == ""
            for rule in canvas.cytoscape_style:
                assert re.fullmatch(r"core|node|edge|#\w+|node\.\w+|[\w#.,]+", rule["selector"])
                assert corpus.EVIL not in json.dumps(rule)
        for node in view._drawing.nodes.values():
            assert re.fullmatch(r"n\d+", node.data["id"])
            assert "tooltip" not in node.data
            assert not corpus.STEERING.search(node.data["label"])
    finally:
        view.close()


@pytest.mark.parametrize("suffix", [".csv", ".json", ".txt", ".md", ".html", ".py", ".svg", ".png"])
def test_51_a_hostile_product_is_inert_in_its_preview(tmp_path, suffix):
    path = tmp_path / f"<b onclick=x>{suffix}"
    path.write_bytes("\n".join(corpus.ALL).encode("utf-8", "replace"))
    shown = preview_html(str(path), path.stat().st_size)
    look = Look()
    look.feed(shown)
    assert look.bad == []
    assert shown


@pytest.mark.parametrize("is_terminal", [False, True], ids=["pipe", "terminal"])
def test_51_nothing_steers_the_terminal(monkeypatch, is_terminal):
    """Of the escapes that a terminal gets, all are rich's own colours; no markup is obeyed."""
    from rich.console import Console

    out = io.StringIO()
    monkeypatch.setattr(
        output, "console", lambda: Console(file=out, force_terminal=is_terminal, width=200)
    )
    monkeypatch.setattr("click.echo", lambda text="", **options: out.write(f"{text}\n"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    plan = hostile_plan()
    output.print_status(hostile_status())
    output.print_plan(plan)
    output.print_report(hostile_report())
    output.print_report(hostile_report(), traceback=True)
    output.print_run(hostile_progress(), as_json=False)
    output.print_log([hostile_progress()], as_json=False)
    tried = [runs.TaskRun("r", 1.0, task) for task in hostile_progress().tasks.values()]
    output.print_task_log(tried, as_json=False)
    for name, decision in plan.decisions.items():
        output.print_why(plans.Explanation(decision, f"--- {name}\n+{name}\n"))
    lines = progress.PlainLines(lambda line: out.write(f"{line}\n"))
    live = progress.LiveProgress(Console(file=out, force_terminal=is_terminal, width=200))
    for text in corpus.ALL:
        for event in (
            ev.TaskStarted(task=text, time=1.0),
            ev.Warned(task=text, message=text),
            ev.TaskBlocked(task=text, by=text),
            ev.TaskFailed(task=text, seconds=1.0, failure=FAILURE[text]),
        ):
            lines(event)
            live(event)
    said = out.getvalue()
    said = re.sub(r"\x1b\[[\d;]*m", "", said) if is_terminal else said
    assert not corpus.STEERING.search(said), repr(corpus.STEERING.search(said))
    assert "[bold red]rich[/bold red]" in said


def test_51_an_error_of_ours_steers_no_terminal_and_no_notebook(monkeypatch, capsys):
    for text in corpus.ALL:
        error = NbpipeError(f"no task '{text}'", text)
        assert not corpus.STEERING.search("\n".join(error._render_traceback_()))

        def fail(*args, raised=error, **options):
            raise raised

        monkeypatch.setattr(click_group, "main", fail)
        from nbpipe.cli.app import run

        assert run([]) == 1
        assert not corpus.STEERING.search(capsys.readouterr().err)


def test_51_what_a_hostile_spec_gets_said_steers_no_terminal(project, cli):
    """Names, keys, values and upstreams, each in an error message or a warning."""
    for text in (*corpus.TERMINAL, *corpus.DIRECTION):
        quoted = json.dumps(text)
        for spec in (
            f"tasks:\n- source: {quoted}\n",
            f"tasks:\n- source: a.py\n  name: {quoted}\n",
            f"tasks:\n- source: a.py\n  {quoted}: x\n",
            f"{quoted}: x\n",
            f"tasks:\n- source: a.py\n  kernel: {quoted}\n",
            f"tasks:\n- source: a.py\n  product: {{{quoted}: x}}\n",
        ):
            project.write("a.py", "x = 1\n")
            project.write("pipeline.yaml", spec)
            said = cli("status", code=None)
            assert not corpus.STEERING.search(said), (spec, said)
        project.write("pipeline.yaml", "tasks:\n- source: a.py\n")
        project.write("a.py", f"upstream = [{text!r}]\nproduct = None\n")
        assert not corpus.STEERING.search(cli("status", code=2))
        project.write("a.py", f"upstream = None\nproduct = None\nx = upstream[{text!r}]\n")
        assert not corpus.STEERING.search(cli("status", code=None))


@pytest.mark.kernel
def test_51_an_executed_notebook_holds_hostile_names_params_and_errors_as_text(project):
    """Its metadata and the injected cell hold them as data; an error is text, not HTML."""
    evil = {f"p{i}": text for i, text in enumerate(corpus.HTML)}
    project.task("get", params=evil, code=f"print({corpus.HTML[0]!r})")
    project.task("bad", params=evil, code=f"raise ValueError({corpus.HTML[0]!r})")
    project.tasks[0]["name"] = "get <img src=x onerror=alert(1)>"
    project.save()
    said = shell("build", "-k", "-j", "1", cwd=project.root, code=1)
    assert f"ValueError: {corpus.HTML[0]}" in said
    failed = next((project.root / ".nbpipe" / "runs").glob("*/bad.ipynb"))
    for path in (project.root / "out" / "get.ipynb", failed):
        notebook = json.loads(path.read_text("utf-8"))
        outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", ())]
        kinds = {out["output_type"] for out in outputs}
        assert kinds <= {"stream", "error", "execute_result"}
        assert not any("text/html" in out.get("data", {}) for out in outputs)
        assert all(cell["cell_type"] == "code" for cell in notebook["cells"])


# -- 52 --------------------------------------------------------------------------------------

WAITS = """
import os, time
Path("pid").write_text(str(os.getpid()))
Path("here").touch()
while not Path("go").exists():
    time.sleep(0.05)
"""

WAYS = {"cold": ({"NBPIPE_KERNELS": "cold"}, ""), "forked, and asks for zmq": ({}, "import zmq")}
"""Kernels that speak through zmq: the environment, and code."""


def modes(folder: Path) -> dict[str, str]:
    """The permissions of all files in a folder that are no sockets, and its own."""
    found = {".": stat.filemode(folder.stat().st_mode)}
    for path in folder.rglob("*"):
        found[path.relative_to(folder).as_posix()] = stat.filemode(path.lstat().st_mode)
    return found


@pytest.fixture
def private():
    """A folder for temporary files, of which nothing may be left."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        yield Path(folder)


@contextlib.contextmanager
def kernel_that_runs(root: Path, umask: int, environ: dict[str, str]) -> Iterator[int]:
    """Meanwhile a build is in the midst of a cell; gives the kernel's process id."""
    build = start(root, "build", environ=environ, umask=umask)
    try:
        until((root / "here").exists)
        yield pids_in(root / "pid")[0]
        (run,) = (root / ".nbpipe" / "runs").iterdir()
        assert modes(run)["."] == "drwx------"  # it has the logs
    finally:
        (root / "go").touch()
        said = build.communicate(timeout=60)[0]
    assert build.returncode == 0, said


@pytest.mark.kernel
@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_52_a_forked_kernel_has_nothing_that_lets_anybody_in(project, private, umask):
    """No connection file, and no socket with an address: its line is a pair that has no name."""
    project.task("get", code=WAITS)
    with kernel_that_runs(project.root, umask, {"TMPDIR": str(private)}) as pid:
        (folder,) = private.iterdir()
        assert modes(folder) == {".": "drwx------"}
        sockets = psutil.Process(pid).net_connections("all")
        assert sockets, "its line"
        assert [s for s in sockets if s.family != socket.AF_UNIX or s.laddr or s.raddr] == []
    assert list(private.iterdir()) == []


@pytest.mark.kernel
@pytest.mark.parametrize("umask", [0o022, 0o000])
@pytest.mark.parametrize("way", WAYS)
def test_52_connection_files_are_private_use_ipc_and_are_removed(project, private, way, umask):
    """Of kernels that speak through zmq, whatever the umask is."""
    environ, code = WAYS[way]
    project.task("get", code=code + WAITS)
    with kernel_that_runs(project.root, umask, {"TMPDIR": str(private), **environ}):
        found = list(private.glob("**/*.json"))
        assert found, "the connection file"
        for path in found:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) & 0o777 == 0o700
            connection = json.loads(path.read_text())
            assert connection["transport"] == "ipc"
            assert len(connection["key"]) >= 32
            key = connection["key"]
        words = " ".join(w for p in psutil.process_iter() for w in argv(p))
        assert key not in words
    assert list(private.iterdir()) == []
    assert not any(key.encode() in data for data in files(project.root).values())


def argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


# -- 53 --------------------------------------------------------------------------------------

PICKLE = b"cos\nsystem\n(S'touch evil'\ntR."


def test_53_only_a_pickle_that_this_pipeline_recorded_is_loaded(project, cli, tmp_path):
    write = 'import pickle\nPath(product["model"]).write_bytes(pickle.dumps({1}))\nseen ='
    project.task("get")
    project.tasks[0]["product"] = {"data": "out/get.txt", "model": "out/model.pickle"}
    project.save()
    project.edit("get.py", "seen =", write)
    path, name = project.root / "out/model.pickle", "out/model.pickle"
    path.parent.mkdir()
    path.write_bytes(PICKLE)
    with pytest.raises(UsageError, match="a pickle that this pipeline did not write"):
        load_product(path, name, None)
    cli("build")
    record = project.pipeline().record("get")
    assert load_product(path, name, record) == {1}
    path.write_bytes(PICKLE)
    with pytest.raises(UsageError) as error:
        load_product(path, name, record)
    assert error.value.message == (
        "out/model.pickle: a pickle that this pipeline did not write is not loaded, since loading "
        "runs what it holds"
    )
    assert "build the task that makes it" in error.value.hint
    assert not (project.root / "evil").exists()


def test_53_upstream_load_refuses_it_in_two_lines(diamond, cli, capsys):
    diamond.tasks[0]["product"] = {"data": "out/get.txt", "model": "out/model.pickle"}
    diamond.save()
    write = 'import pickle; Path(product["model"]).write_bytes(pickle.dumps({1}))\nseen ='
    diamond.edit("get.py", "seen =", write)
    ip = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    ip.run_line_magic("load_ext", "nbpipe")
    try:
        ip.run_cell("%upstream get --build --load").raise_error()
        assert ip.user_ns["upstream"]["get"]["model"] == {1}
        (diamond.root / "out/model.pickle").write_bytes(PICKLE)
        capsys.readouterr()
        assert not ip.run_cell("%upstream get --load --quiet").success
        said = capsys.readouterr().out.strip().splitlines()
        assert len(said) == 2
        assert "a pickle that this pipeline did not write is not loaded" in said[0]
        assert not (diamond.root / "evil").exists()
    finally:
        ip.run_line_magic("unload_ext", "nbpipe")


# -- 54 --------------------------------------------------------------------------------------

SECRET = "tell-nobody-9f3c1c"


@pytest.mark.kernel
@pytest.mark.parametrize("ending", ["well", "failed", "killed"])
def test_54_no_secret_of_the_environment_is_in_any_file_or_argument(project, ending):
    """Every byte under the project and the temporary folder, while it runs and afterwards."""
    private = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    project.write("work.py", "def run(product):\n    open(product, 'w').write('made')\n")
    project.task("get", code=WAITS)
    project.task("bad", ["get"], "raise ValueError('no')" if ending == "failed" else "")
    project.tasks.append({"source": "work.run", "product": "out/run.txt"})
    project.save()
    environ = {"TMPDIR": str(private), "API_TOKEN": SECRET}
    build = start(project.root, "build", environ=environ)
    until((project.root / "here").exists)
    try:
        seen = files(project.root) | files(private)
        assert not [name for name, data in seen.items() if SECRET.encode() in data]
        words = [word for process in psutil.process_iter() for word in argv(process)]
        assert not any(SECRET in word for word in words)
        if ending == "killed":
            build.terminate()
    finally:
        (project.root / "go").touch()
        said = build.communicate(timeout=60)[0]
    assert build.returncode == {"well": 0, "failed": 1, "killed": 143}[ending]
    assert SECRET not in said
    seen = files(project.root) | files(private)
    assert len(seen) > 10
    assert not [name for name, data in seen.items() if SECRET.encode() in data]
    private.rmdir()


@pytest.mark.process
def test_54_a_background_build_hands_no_secret_on_but_in_the_environment(project, monkeypatch):
    monkeypatch.setenv("API_TOKEN", SECRET)
    project.write(
        "work.py",
        "import os, time\ndef run(product):\n    while not os.path.exists('go'): time.sleep(0.02)\n"
        "    open(product, 'w').write(str(len(os.environ['API_TOKEN'])))\n",
    )
    project.tasks = [{"source": "work.run", "product": "out/run.txt"}]
    project.save()
    run = project.pipeline().start()
    assert SECRET not in " ".join(psutil.Process(run.pid).cmdline())
    assert not any(SECRET.encode() in data for data in files(project.root).values())
    project.write("go", "")
    assert run.wait(timeout=30).ok
    assert project.read("out/run.txt") == str(len(SECRET))
    assert not any(SECRET.encode() in data for data in files(project.root).values())
