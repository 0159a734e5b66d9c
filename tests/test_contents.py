"""Scripts opened as notebooks: over HTTP, against real Jupyter servers."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbpipe.jupyter import contents
from nbpipe.jupyter.contents_cells import (
    BANNER_TAG,
    Shown,
    same_content,
    with_live_cells,
    without_live_cells,
)
from nbpipe.jupyter.contents_tasks import Tasks
from tests.jupyter_server_rig import ASYNC, SYNC, ContentsServer
from tests.projects import Project

JUPYTEXT = "jupytext.TextFileContentsManager"

LATE = """
def _jupyter_server_extension_points():
    return [{"module": "zz_late"}]

def _load_jupyter_server_extension(app):
    import jupyterlab_jupytext
    jupyterlab_jupytext.load_jupyter_server_extension(app)
"""
"""An extension that loads after ours and puts jupytext's manager in the place of the server's."""

SETUPS: dict[str, dict[str, Any]] = {
    "async": {"manager": ASYNC},
    "sync": {"manager": SYNC},
    "jupytext": {"manager": JUPYTEXT},
    "late": {"manager": ASYNC, "jupytext": False, "extensions": {"zz_late": True}},
    "no-jupytext": {"manager": ASYNC, "jupytext": False},
    "without": {"manager": ASYNC, "nbpipe": False},
}
WITH_SCRIPTS = ("async", "sync", "jupytext", "late")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ContentsServer]]:
    """All servers, started side by side."""
    started = {}
    for name, setup in SETUPS.items():
        home = tmp_path_factory.mktemp(name)
        (home / "zz_late.py").write_text(LATE)
        started[name] = ContentsServer(home, **setup)
    try:
        for server in started.values():
            server.await_up()
        yield started
    finally:
        for server in started.values():
            server.process.terminate()
        for server in started.values():
            server.stop()


class Place:
    """A project in a folder of a server."""

    def __init__(self, server: ContentsServer, name: str) -> None:
        self.server, self.name = server, name
        self.root = server.root / name
        self.root.mkdir()
        self.project = Project(self.root)

    def chain(self) -> Place:
        """get → fit, in scripts/."""
        self.project.task("scripts/get")
        self.project.task("scripts/fit", ["get"])
        return self

    def open(self, path: str = "scripts/fit.py") -> dict[str, Any]:
        return self.server.notebook(f"{self.name}/{path}")

    def save(self, notebook: dict[str, Any], path: str = "scripts/fit.py") -> dict[str, Any]:
        return self.server.save(f"{self.name}/{path}", notebook)

    def bytes(self, path: str = "scripts/fit.py") -> bytes:
        return (self.root / path).read_bytes()

    def state(self) -> dict[str, tuple[bytes, int]]:
        """Every file with its bytes and its time of change."""
        return {
            p.relative_to(self.root).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
            for p in sorted(self.root.rglob("*"))
            if p.is_file()
        }


@pytest.fixture
def place(servers, request) -> Iterator[Place]:
    made = Place(
        servers[getattr(request, "param", "async")],
        "".join(c if c.isalnum() else "-" for c in request.node.name),
    )
    yield made
    shutil.rmtree(made.root, ignore_errors=True)


def everywhere(test: Any) -> Any:
    """Run a test against every kind of contents manager."""
    marked = pytest.mark.parametrize("place", WITH_SCRIPTS, indirect=True)(test)
    return pytest.mark.kernel(marked)


def injected(notebook: dict[str, Any]) -> dict[str, Any] | None:
    """Its one injected cell; None: it has none."""
    cells = [c for c in notebook["cells"] if "injected-parameters" in tags(c)]
    assert len(cells) <= 1
    return cells[0] if cells else None


def tags(cell: dict[str, Any]) -> list[str]:
    return cell["metadata"].get("tags", [])


def values(notebook: dict[str, Any]) -> dict[str, Any]:
    """What running the injected cell gives."""
    scope: dict[str, Any] = {}
    exec(injected(notebook)["source"], scope)
    return {key: value for key, value in scope.items() if not key.startswith("__")}


# -- reading -----------------------------------------------------------------------------------


@everywhere
def test_a_task_s_script_opens_with_the_cell_after_its_parameters(place):
    place.chain()
    notebook = place.open()
    assert [tags(c) for c in notebook["cells"]] == [["parameters"], ["injected-parameters"], []]
    root = place.root.resolve()
    out = root / "out" / "scripts"
    assert values(notebook) == {
        "upstream": {"get": {"nb": f"{out}/get.ipynb", "data": f"{out}/get.txt"}},
        "product": {"nb": f"{out}/fit.ipynb", "data": f"{out}/fit.txt"},
    }
    assert "task 'fit'" in injected(notebook)["source"]
    nbformat.validate(nbformat.from_dict(notebook))


@everywhere
def test_the_cell_follows_edits_of_the_source_and_of_the_spec(place):
    place.chain()
    place.project.task("more")
    assert list(values(place.open())["upstream"]) == ["get"]
    place.project.edit("scripts/fit.py", "['get']", "['get', 'more']")
    assert list(values(place.open())["upstream"]) == ["get", "more"]
    place.project.edit("pipeline.yaml", "out/more.txt", "elsewhere/more.txt")
    assert values(place.open())["upstream"]["more"]["data"].endswith("/elsewhere/more.txt")
    place.project.edit("scripts/fit.py", "['get', 'more']", "None")
    assert values(place.open())["upstream"] is None


@everywhere
def test_params_are_in_the_cell(place):
    place.project.task("fit", params={"seed": 3, "names": ["a", None]})
    got = values(place.open("fit.py"))
    assert (got["seed"], got["names"]) == (3, ["a", None])


@pytest.mark.kernel
def test_other_requests_are_answered_as_before(place):
    place.chain()
    model = place.server.get(f"{place.name}/scripts/fit.py", type="file", content=1)
    assert model["content"].encode() == place.bytes()
    model = place.server.get(f"{place.name}/scripts/fit.py", content=0)
    assert model["content"] is None
    model = place.server.get(f"{place.name}/scripts", content=1)
    assert {m["name"] for m in model["content"]} == {"fit.py", "get.py"}


@pytest.mark.kernel
def test_the_hash_is_the_file_s(place):
    place.chain()
    path = f"{place.name}/scripts/fit.py"
    models = [place.server.get(path, type=t, content=1, hash=1) for t in ("file", "notebook")]
    assert models[0]["hash"] == models[1]["hash"]


# -- saving ------------------------------------------------------------------------------------


@everywhere
def test_saving_without_an_edit_writes_nothing(place):
    place.chain()
    place.project.build()
    before = place.state()
    answer = place.save(place.open())
    assert (answer["path"], answer["content"]) == (f"{place.name}/scripts/fit.py", None)
    assert place.state() == before
    assert place.project.build() == []


@everywhere
def test_what_a_front_end_adds_by_itself_is_no_edit(place):
    """It names the kernel and its language, trusts cells, numbers them, and shows outputs."""
    place.chain()
    before = place.bytes()
    notebook = place.open()
    spec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook["metadata"]["kernelspec"] = spec
    notebook["metadata"]["language_info"] = {"name": "python", "version": "3.11"}
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"cell-{number}"
        cell["metadata"]["trusted"] = True
        cell["execution_count"] = number
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "hello"}]
    place.save(notebook)
    assert place.bytes() == before


@everywhere
def test_an_edit_is_saved_and_the_cell_is_not(place):
    place.chain()
    notebook = place.open()
    notebook["cells"][-1]["source"] += "\nprint('edited')"
    place.save(notebook)
    text = place.bytes().decode()
    assert "print('edited')" in text
    assert "injected" not in text
    assert "nbpipe" not in text
    assert injected(place.open()) is not None


@pytest.mark.kernel
def test_another_kernel_is_an_edit(place):
    place.chain()
    notebook = place.open()
    notebook["metadata"]["kernelspec"] = {"name": "ir", "display_name": "R", "language": "R"}
    notebook["metadata"].get("jupytext", {}).pop("notebook_metadata_filter", None)
    place.save(notebook)
    assert "name: ir" in place.bytes().decode()


@pytest.mark.kernel
def test_a_copy_of_a_source_has_no_cell_in_it(place):
    place.chain()
    body = {"copy_from": f"{place.name}/scripts/fit.py"}
    made = place.server.call("POST", f"contents/{place.name}/scripts", body)
    assert "injected" not in (place.server.root / made["path"]).read_text()


@pytest.mark.kernel
def test_saving_under_another_name_leaves_the_cell_out(place):
    place.chain()
    place.save(place.open(), "scripts/other.py")
    assert "injected" not in place.bytes("scripts/other.py").decode()
    assert place.bytes("scripts/other.py").decode().count("# %%") == 2


# -- formats -----------------------------------------------------------------------------------

LIGHT = '# + tags=["parameters"]\nupstream = ["get"]\nproduct = None\n# -\n\nx = 1\n\n# A note.\n'
MARKDOWN = (
    '# Fit\n\n```python tags=["parameters"]\nupstream = ["get"]\nproduct = None\n```\n\n'
    "Words.\n\n```python\nx = 1\n```\n"
)
HEADED = (
    "# ---\n# jupyter:\n#   jupytext:\n#     text_representation:\n#       extension: .py\n"
    "#       format_name: percent\n#   kernelspec:\n#     name: python3\n"
    "#     display_name: Python 3\n#     language: python\n# ---\n\n"
    '# %% tags=["parameters"]\nupstream = ["get"]\nproduct = None\n\n# %% [markdown]\n# Note\n'
)


def ipynb(minor: int = 5) -> str:
    cells = [
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "outputs": []},
        {"cell_type": "code", "metadata": {}, "outputs": []},
    ]
    for number, (cell, text) in enumerate(zip(cells, ("upstream = ['get']", "x = 1"), strict=True)):
        cell |= {"execution_count": None, "source": [text]}
        if minor >= 5:
            cell["id"] = f"c{number}"
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": minor}
    return json.dumps(notebook, indent=3)  # no front end writes it so: a rewrite would show


FORMATS = {
    "light.py": LIGHT,
    "words.md": MARKDOWN,
    "headed.py": HEADED,
    "old.ipynb": ipynb(4),
    "new.ipynb": ipynb(5),
    "crlf.py": HEADED.replace("\n", "\r\n"),
}


@pytest.mark.kernel
@pytest.mark.parametrize("place", ["async", "sync"], indirect=True)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_the_cell_and_is_saved_as_it_was(place, name):
    place.chain()
    place.project.tasks.append({"source": name, "name": "other", "product": "out/other.ipynb"})
    place.project.save()
    data = FORMATS[name].encode()
    (place.root / name).write_bytes(data)
    notebook = place.open(name)
    assert list(values(notebook)["upstream"]) == ["get"]
    position = notebook["cells"].index(injected(notebook))
    assert "parameters" in tags(notebook["cells"][position - 1])
    place.save(notebook, name)
    assert place.bytes(name) == data
    notebook["metadata"]["language_info"] = {"name": "python"}
    place.save(notebook, name)
    assert place.bytes(name) == data
    notebook["cells"][-1]["source"] = "y = 2"
    place.save(notebook, name)
    assert b"y = 2" in place.bytes(name)
    assert b"injected" not in place.bytes(name)


@pytest.mark.kernel
def test_a_source_in_r_is_given_r(place):
    place.chain()
    place.project.tasks.append({"source": "r.Rmd", "name": "other", "product": "out/other.ipynb"})
    place.project.save()
    chunk = '```{r tags=c("parameters")}\nupstream = list("get")\nproduct = NULL\n```\n'
    place.project.write("r.Rmd", f"# Words\n\n{chunk}")
    notebook = place.open("r.Rmd")
    assert "\nupstream <- list(" in injected(notebook)["source"]
    notebook["metadata"]["language_info"] = {"name": "R"}
    place.save(notebook, "r.Rmd")
    assert place.project.read("r.Rmd") == f"# Words\n\n{chunk}"


@pytest.mark.kernel
@pytest.mark.parametrize("place", ["async", "sync"], indirect=True)
def test_outputs_of_a_notebook_source_are_saved(place):
    place.chain()
    place.project.tasks.append({"source": "a.ipynb", "product": "out/a.ipynb"})
    place.project.save()
    (place.root / "a.ipynb").write_text(ipynb())
    notebook = place.open("a.ipynb")
    output = {"output_type": "stream", "name": "stdout", "text": "hello"}
    notebook["cells"][-1]["outputs"] = [output]
    place.save(notebook, "a.ipynb")
    saved = place.open("a.ipynb")
    assert saved["cells"][-1]["outputs"] == [output]
    assert b"injected" not in place.bytes("a.ipynb")


@pytest.mark.kernel
@pytest.mark.parametrize("place", ["async", "sync"], indirect=True)
@pytest.mark.parametrize("by", ["request", "saving"])
def test_a_notebook_source_can_be_trusted(place, by):
    """Its signature is that of the file, which does not have the cell."""
    place.chain()
    place.project.tasks.append({"source": "a.ipynb", "product": "out/a.ipynb"})
    place.project.save()
    output = {"output_type": "display_data", "metadata": {}, "data": {"text/html": [by]}}
    text = json.loads(ipynb())
    text["cells"][1]["outputs"] = [output]
    place.project.write("a.ipynb", json.dumps(text))
    before = place.bytes("a.ipynb")

    def trusted() -> list[bool]:
        cells = place.open("a.ipynb")["cells"]
        return [c["metadata"]["trusted"] for c in cells if "injected-parameters" not in tags(c)]

    assert trusted() == [False, False]
    if by == "request":
        place.server.call("POST", f"contents/{place.name}/a.ipynb/trust", {})
    else:
        notebook = place.open("a.ipynb")
        for cell in notebook["cells"]:
            cell["metadata"]["trusted"] = True
        place.save(notebook, "a.ipynb")
    assert trusted() == [True, True]
    assert place.bytes("a.ipynb") == before


@pytest.mark.kernel
@pytest.mark.parametrize("place", ["async", "sync"], indirect=True)
@pytest.mark.parametrize("opened", ["scripts/fit.py", "notebooks/fit.ipynb"])
def test_a_script_paired_with_a_notebook_shows_the_cell_on_both_sides(place, opened):
    place.chain()
    formats = "#     formats: notebooks///ipynb,scripts///py:percent\n"
    text = HEADED.replace("#     text_repr", f"{formats}#     text_repr")
    place.project.write("scripts/fit.py", text)
    notebook = place.open()
    notebook["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "hi"}]
    place.save(notebook)  # writes the notebook of the pair
    before = place.bytes()
    assert before == text.encode()
    notebook = place.open(opened)
    assert injected(notebook) is not None
    assert notebook["cells"][0]["outputs"]
    place.save(notebook, opened)
    assert place.bytes() == before
    notebook["cells"][0]["source"] += "\n# more"
    place.save(notebook, opened)
    for path in ("scripts/fit.py", "notebooks/fit.ipynb"):
        assert "# more" in place.bytes(path).decode()
        assert "injected" not in place.bytes(path).decode()


@pytest.mark.kernel
@pytest.mark.parametrize("place", ["no-jupytext"], indirect=True)
def test_without_jupytext_notebooks_have_the_cell(place):
    place.chain()
    place.project.tasks.append({"source": "a.ipynb", "product": "out/a.ipynb"})
    place.project.save()
    (place.root / "a.ipynb").write_text(ipynb())
    assert injected(place.open("a.ipynb")) is not None


@pytest.mark.kernel
def test_what_nb_inject_wrote_into_the_file_stays_there(place):
    place.chain()
    text = place.project.read("scripts/fit.py")
    own = '# %% tags=["injected-parameters"]\nproduct = "relative"\n\n'
    place.project.write("scripts/fit.py", text.replace("# %%\nfrom", f"{own}# %%\nfrom"))
    before = place.bytes()
    notebook = place.open()
    assert [tags(c)[:1] for c in notebook["cells"]][1:3] == [["injected-parameters"]] * 2
    assert "task 'fit'" in notebook["cells"][2]["source"]
    notebook["metadata"]["language_info"] = {"name": "python"}
    place.save(notebook)
    assert place.bytes() == before


# -- several tasks, specs that do not load -----------------------------------------------------


def two_tasks(place: Place) -> None:
    place.chain()
    other = {"source": "scripts/fit.py", "name": "again", "product": "out/again.ipynb"}
    place.project.tasks.append({**other, "params": {"seed": 2}})
    place.project.save()


@everywhere
def test_one_source_of_several_tasks_shows_the_first_and_names_the_others(place):
    two_tasks(place)
    text = injected(place.open())["source"]
    assert "task 'fit'" in text
    assert "source of 'again'" in text


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["percent", "ipynb"])
def test_the_notebook_s_metadata_chooses_the_task(place, name):
    place.chain()
    path = "a.ipynb" if name == "ipynb" else "a.py"
    header = "#   jupytext:\n#     notebook_metadata_filter: nbpipe\n#   nbpipe:\n#     task: two\n"
    text = HEADED.replace(
        "#   kernelspec", f"{header.split('filter: nbpipe')[1].lstrip()}#   kernelspec"
    )
    text = text.replace(
        "#   jupytext:\n", "#   jupytext:\n#     notebook_metadata_filter: nbpipe\n"
    )
    if name == "ipynb":
        text = ipynb().replace(
            '"metadata": {},\n   "nbformat"',
            '"metadata": {"nbpipe": {"task": "two"}},\n   "nbformat"',
        )
    place.project.write(path, text)
    for task in ("one", "two"):
        place.project.tasks.append({"source": path, "name": task, "product": f"{task}.ipynb"})
    place.project.save()
    notebook = place.open(path)
    assert "task 'two'" in injected(notebook)["source"]
    before = place.bytes(path)
    place.save(notebook, path)
    assert place.bytes(path) == before


@pytest.mark.kernel
@pytest.mark.parametrize("line", ["%upstream --task again", "%upstream get --task=again -q"])
def test_an_upstream_line_chooses_the_task(place, line):
    two_tasks(place)
    place.project.edit("scripts/fit.py", "# %%\nfrom", f"# %%\n# {line}\n\n# %%\nfrom")
    got = values(place.open())
    assert got["seed"] == 2
    assert got["product"].endswith("/out/again.ipynb")


BROKEN = {
    "yaml": (("pipeline.yaml", "tasks:", "tasks: ["), "pipeline.yaml:"),
    "key": (
        ("pipeline.yaml", "data: out/scripts/fit.txt", "data: out/scripts/fit.txt\n  nam: fit"),
        "unknown key",
    ),
    "upstream": (("scripts/fit.py", "['get']", "['gett']"), "did you mean 'get'?"),
    "literal": (("scripts/fit.py", "['get']", "names()"), "upstream is not a literal"),
    "cycle": (("scripts/get.py", "upstream = None", "upstream = ['fit']"), "→"),
}


@everywhere
@pytest.mark.parametrize("name", BROKEN)
def test_a_pipeline_that_does_not_load_shows_why_and_nothing_else_fails(place, name):
    place.chain()
    place.project.write("notes.py", "# %%\nx = 1\n")
    edit, said = BROKEN[name]
    place.project.edit(*edit)
    notebook = place.open()
    first = notebook["cells"][0]
    assert (first["cell_type"], tags(first)) == ("markdown", [BANNER_TAG])
    assert said in first["source"]
    assert injected(notebook) is None
    assert place.open("notes.py")["cells"][0]["source"] == "x = 1"
    before = place.state()
    place.save(notebook)
    assert place.state() == before
    notebook["cells"][-1]["source"] += "\ny = 2"
    place.save(notebook)
    assert b"y = 2" in place.bytes()
    assert b"nbpipe" not in place.bytes()
    place.project.edit(edit[0], edit[2], edit[1])
    assert injected(place.open()) is not None


# -- functions ---------------------------------------------------------------------------------

MODULE = """\
from pathlib import Path

LIMIT = 3


def load(product):
    Path(product).write_text("x")


def clean(product, upstream, drop, *, other=1):
    text = Path(upstream["load"]).read_text()

    Path(product["data"]).write_text(text[:-drop])
"""


def functions(place: Place, on: bool) -> None:
    place.project.write("steps/io.py", MODULE)
    place.project.meta["jupyter_functions_as_notebooks"] = on
    clean = {"source": "steps.io.clean", "product": {"data": "out/c.txt"}, "params": {"drop": 2}}
    place.project.tasks += [{"source": "steps.io.load", "product": "out/l.txt"}, clean]
    place.project.save()


@everywhere
def test_a_module_of_functions_shows_what_each_is_given_and_is_written_back(place):
    functions(place, True)
    notebook = place.open("steps/io.py")
    ours = [i for i, c in enumerate(notebook["cells"]) if "injected-parameters" in tags(c)]
    assert [notebook["cells"][i - 1]["source"].splitlines()[0] for i in ours] == [
        "def load(product):",
        "def clean(product, upstream, drop, *, other=1):",
    ]
    said = [notebook["cells"][i]["source"] for i in ours]
    assert "in a cell of your own: load(product=product)\n" in said[0]
    assert "clean(product=product, upstream=upstream, drop=drop)\n" in said[1]
    scope: dict[str, Any] = {}
    exec(said[1], scope)
    assert scope["upstream"] == {"load": f"{place.root.resolve()}/out/l.txt"}
    assert len({c["id"] for c in notebook["cells"]}) == len(notebook["cells"])
    notebook["metadata"]["language_info"] = {"name": "python"}
    place.save(notebook, "steps/io.py")
    assert place.project.read("steps/io.py") == MODULE
    cell = notebook["cells"][ours[1] - 1]
    cell["source"] = cell["source"].replace("drop]", "drop - 1]")
    place.save(notebook, "steps/io.py")
    assert place.project.read("steps/io.py") == MODULE.replace("drop]", "drop - 1]")
    assert place.project.pipeline().graph.upstream["clean"] == ("load",)


@pytest.mark.kernel
def test_functions_are_shown_only_where_the_spec_says_so(place):
    functions(place, False)
    assert injected(place.open("steps/io.py")) is None


# -- what is no task ---------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00\u2028\u2029"), max_size=40)
metadatas = st.dictionaries(
    st.sampled_from(["tags", "nbpipe", "name", "trusted", "collapsed"]),
    st.sampled_from([["injected-parameters"], ["parameters"], {"task": "fit"}, True, "x"]),
    max_size=2,
).map(lambda d: {k: v for k, v in d.items() if (k != "tags") or isinstance(v, list)})


@st.composite
def notebooks(draw: Any) -> str:
    """The text of a notebook, of any version 4, in any layout."""
    minor = draw(st.sampled_from([2, 4, 5]))
    cells = []
    for number in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["code", "markdown", "raw"]))
        metadata = {k: v for k, v in draw(metadatas).items() if k != "name" or v == "x"}
        metadata = {k: v for k, v in metadata.items() if k not in ("trusted", "collapsed")}
        cell = {"cell_type": kind, "metadata": metadata, "source": draw(words)}
        if kind == "code":
            outputs = draw(
                st.sampled_from(
                    [[], [{"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]}]]
                )
            )
            cell |= {"execution_count": draw(st.none() | st.integers(0, 9)), "outputs": outputs}
        if minor >= 5:
            cell["id"] = f"id-{number}"
        cells.append(cell)
    whole = {
        "cells": cells,
        "metadata": draw(st.sampled_from([{}, {"nbpipe": {"task": "x"}}])),
        "nbformat": 4,
        "nbformat_minor": minor,
    }
    return json.dumps(whole, indent=draw(st.sampled_from([None, 1, 2])))


@st.composite
def scripts(draw: Any) -> str:
    """A Python script with markers, comments and code."""
    pieces = [
        "# %%", '# %% tags=["injected-parameters"]', '# %% tags=["parameters"]', "# %% [markdown]",
        "upstream = ['get']", "x = 1", "# words", "", "def f():", "    return 1", '"""text"""',
        "# +", "# -", "%time", "!ls", "# ---",
    ]  # fmt: skip
    lines = draw(st.lists(st.sampled_from(pieces), max_size=12))
    return "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n\n"]))


@pytest.mark.kernel
@pytest.mark.parametrize(("made", "name"), [(notebooks(), "n.ipynb"), (scripts(), "n.py")])
def test_files_that_are_no_tasks_are_what_they_are_without_the_extension(servers, made, name):
    """Read and saved, unchanged and edited, beside a pipeline, and compared byte for byte."""
    pair = [servers["async"], servers["without"]]
    places = [Place(server, f"random-{name[2:]}").chain() for server in pair]

    @settings(
        max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(made)
    def check(text: str) -> None:
        for where in places:
            (where.root / name).write_bytes(text.encode())
        first = [attempt(lambda w=where: w.open(name)) for where in places]
        assert without_places(first[0]) == without_places(first[1])
        assert [w.bytes(name) for w in places] == [text.encode()] * 2
        if isinstance(first[0], str):
            return
        for edit in (False, True):
            for notebook, where in zip(first, places, strict=True):
                if edit and notebook["cells"]:
                    notebook["cells"][-1]["source"] = "edited = 1"
                attempt(lambda w=where, n=notebook: w.save(n, name))
            assert places[0].bytes(name) == places[1].bytes(name)
            again = [attempt(lambda w=where: w.open(name)) for where in places]
            assert without_places(again[0]) == without_places(again[1])

    check()


def attempt(action: Any) -> Any:
    """What it gives, or the status and words of the refusal."""
    from urllib.error import HTTPError

    try:
        return action()
    except HTTPError as error:
        return f"{error.code} {error.reason}"


def without_places(notebook: Any) -> Any:
    """jupytext makes up cell ids when it reads a script, and nbformat for old notebooks."""
    if not isinstance(notebook, dict):
        return notebook
    cells = [{k: v for k, v in cell.items() if k != "id"} for cell in notebook["cells"]]
    return {**notebook, "cells": cells}


# -- the pieces --------------------------------------------------------------------------------


def notebook_of(*texts: str) -> dict[str, Any]:
    cells = [nbformat.v4.new_code_cell(text) for text in texts]
    return json.loads(json.dumps(nbformat.v4.new_notebook(cells=cells)))


def test_lines_that_a_front_end_merged_into_the_cell_are_kept():
    for merged in ("{live}\nmine = 1", "mine = 1\n{live}"):
        notebook = notebook_of("before", "after")
        with_live_cells(notebook, [Shown("cell", "a = 1\nb = 2")])
        cell = notebook["cells"][0]
        cell["source"] = merged.format(live=cell["source"])
        assert without_live_cells(notebook)
        assert [c["source"] for c in notebook["cells"]] == ["mine = 1", "before", "after"]
        assert notebook["cells"][0]["metadata"] == {}


def test_the_cell_cannot_be_edited_or_deleted():
    notebook = notebook_of("x = 1")
    with_live_cells(notebook, [Shown("cell", "a = 1")])
    assert notebook["cells"][0]["metadata"]["editable"] is False
    assert notebook["cells"][0]["metadata"]["deletable"] is False


def test_showing_twice_shows_once():
    notebook = notebook_of("x = 1")
    with_live_cells(notebook, [Shown("banner", "no")])
    with_live_cells(notebook, [Shown("cell", "a = 1")])
    assert [c["source"] for c in notebook["cells"]] == ["a = 1", "x = 1"]


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n["cells"][0].update(source="y = 1"),
        lambda n: n["cells"][0]["metadata"].update(tags=["x"]),
        lambda n: n["cells"].reverse(),
        lambda n: n["cells"].pop(),
        lambda n: n["metadata"].update(nbpipe={"task": "other"}),
        lambda n: n["metadata"].update(kernelspec={"name": "ir"}),
        lambda n: n["cells"][0].update(cell_type="raw"),
        lambda n: n["cells"][0].update(execution_count=3),
    ],
)
def test_every_edit_is_seen(change):
    old, new = notebook_of("x = 1", "y = 2"), notebook_of("x = 1", "y = 2")
    new["cells"] = json.loads(json.dumps(old["cells"]))
    assert same_content(new, old, "python3")
    change(new)
    assert not same_content(new, old, "python3")


def manager(root: Path, name: str) -> Any:
    """A contents manager in this process, with the layer."""
    from jupyter_server.services.contents import largefilemanager as module

    made = getattr(module, name)(root_dir=str(root))
    assert contents.extend(made)
    assert not contents.extend(made)
    return made


def test_listing_a_folder_asks_nothing(diamond, monkeypatch):
    """So it costs what it costs without the extension."""
    found = manager(diamond.root, "LargeFileManager")
    layer = type(found)._nbpipe_layer
    monkeypatch.setattr(layer.tasks, "shown", lambda *a: pytest.fail("asked"))
    assert {m["name"] for m in found.get("", content=True)["content"]} >= {"get.py", "fit.py"}
    found = manager(diamond.root, "AsyncLargeFileManager")
    assert asyncio.run(found.get("", content=True))["content"]


def test_an_unchanged_pipeline_of_1000_tasks_costs_under_20_ms(tmp_path):
    from nbpipe.jupyter.contents_tasks import Tasks

    project = Project(tmp_path)
    save, project.save = project.save, lambda: None
    for number in range(1000):
        project.task(f"t{number}", [f"t{number - 1}"] if number else None)
    save()
    old = time.time() - 100
    for path in [*tmp_path.glob("*.py"), tmp_path / "pipeline.yaml"]:
        import os

        os.utime(path, (old, old))
    tasks, notebook = Tasks(), notebook_of("x = 1")
    path = str(tmp_path / "t999.py")
    assert tasks.shown(path, notebook)[0].kind == "cell"
    times = []
    for _ in range(5):
        began = time.perf_counter()
        tasks.shown(path, notebook)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.020


def test_hot_reload_can_be_switched_off(diamond):
    from nbpipe.jupyter.contents_tasks import Tasks

    diamond.meta["jupyter_hot_reload"] = False
    diamond.save()
    tasks, notebook = Tasks(), notebook_of("x = 1")
    path = str(diamond.root / "fit.py")
    before = tasks.shown(path, notebook)
    diamond.edit("fit.py", "['sepal', 'petal']", "['sepal']")
    assert tasks.shown(path, notebook) == before


def test_a_fault_of_ours_keeps_no_file_from_opening(diamond, monkeypatch):
    found = manager(diamond.root, "LargeFileManager")
    (diamond.root / "a.ipynb").write_text(ipynb())
    layer = type(found)._nbpipe_layer
    for name in ("shown", "source"):
        monkeypatch.setattr(layer.tasks, name, lambda *a: 1 / 0)
    model = found.get("a.ipynb", content=True)
    assert len(model["content"]["cells"]) == 2
    found.save({"type": "notebook", "format": "json", "content": model["content"]}, "a.ipynb")


def test_html_in_an_error_is_inert():
    from nbpipe.errors import UsageError
    from nbpipe.jupyter.contents_tasks import banner_text

    text = banner_text(UsageError("```\n<img src=x onerror=alert(1)>"))
    assert "````text\n```\n<img" in text
    assert text.count("````") == 2


def test_opening_runs_no_code_of_the_project(diamond):
    diamond.edit("fit.py", "product = None", "product = None\nopen('ran', 'w')")
    diamond.write("conftest.py", "raise SystemExit")
    (diamond.root / "a.ipynb").write_text(ipynb())
    found = manager(diamond.root, "LargeFileManager")
    found.get("a.ipynb", content=True)
    assert not (diamond.root / "ran").exists()
    assert not (diamond.root / ".nbpipe").exists()


def test_a_source_that_names_no_kernel_has_that_of_its_language(project: Project) -> None:
    project.task("get")
    project.tasks.append({"source": "draw.R", "product": "out/draw.ipynb"})
    project.write("draw.R", "# %%\nupstream <- NULL\nproduct <- NULL\n")
    project.save()
    known = Tasks()
    for name, kernel in (("get.py", "python3"), ("draw.R", "ir")):
        assert known.source(str(project.root / name)).kernel == kernel
    project.write("pipeline.yaml", "tasks: [{source: draw.R, product: 3}]")
    assert known.source(str(project.root / "draw.R")).kernel == "ir"
