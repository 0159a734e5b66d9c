"""A source is read without running it; what is wrong with it is said with file and line."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nbpipe.core.fingerprint import code_digest
from nbpipe.core.model import Declared
from nbpipe.errors import SpecError, UsageError
from nbpipe.store.byjupytext import read_jupytext
from nbpipe.store.declared import read_declared
from nbpipe.store.percent import read_light, read_percent
from nbpipe.store.sources import (
    declared,
    function_template,
    injected_cell_text,
    parse_source,
    read_text,
    template,
    to_notebook,
)

PARAMETERS = '# %% tags=["parameters"]\n'


def problem(text: str, path: str = "scripts/fit.py") -> str:
    with pytest.raises(SpecError) as caught:
        parse_source(text, path)
    with pytest.raises(SpecError) as also:
        declared(text, path)
    assert str(also.value) == str(caught.value)
    return str(caught.value)


def said(text: str, path: str = "scripts/fit.py") -> Declared:
    one = declared(text, path)
    assert one == parse_source(text, path).declared
    return one


def ipynb(*cells: tuple[str, list[str]], **metadata: object) -> str:
    found = [
        {
            "cell_type": "code",
            "execution_count": 3,
            "metadata": {"tags": tags, "collapsed": True},
            "outputs": [{"output_type": "stream", "name": "stdout", "text": "old"}],
            "source": text.splitlines(keepends=True),
        }
        for text, tags in cells
    ]
    return json.dumps({"cells": found, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("None", ()),
        ("[]", ()),
        ("'get'", ("get",)),
        ("['get', 'fit']", ("get", "fit")),
        ("('get',)", ("get",)),
        ("{'get', 'fit'}", ("fit", "get")),
        ("['get', 'get']", ("get",)),
        ("[\n    'get',\n    # why\n    'feature-*',\n]", ("get", "feature-*")),
        ("['é ✓']", ("é ✓",)),
    ],
)
@pytest.mark.parametrize("line", ["upstream = {}", "upstream: list = {}", "upstream = other = {}"])
def test_upstream_is_read_as_a_literal(line: str, value: str, expected: tuple[str, ...]) -> None:
    assert said(PARAMETERS + line.format(value)).upstream == expected


@pytest.mark.parametrize(
    ("value", "place", "what"),
    [
        ("[f(x)]", "2:12", "not a literal"),
        ("names", "2:12", "not a literal"),
        ("[x for x in 'ab']", "2:12", "not a literal"),
        ("__import__('os').system('boom')", "2:12", "not a literal"),
        ("{3: None}", "2:13", "not 3"),
        ("3", "2:12", "is a int"),
        ("['get', 3]", "2:20", "not 3"),
        ("['é', None]", "2:18", "not None"),
    ],
)
def test_an_upstream_that_is_no_literal_is_a_problem(value: str, place: str, what: str) -> None:
    text = problem(f"{PARAMETERS}upstream = {value}\n")
    assert text.startswith(f"scripts/fit.py:{place}: ")
    assert what in text
    assert "hint: " in text


def test_every_name_has_its_place() -> None:
    places = said(PARAMETERS + "# a\nupstream = ['é', 'get',\n  'fit']\n").at
    assert [(p.file, p.line, p.column) for p in places] == [
        ("scripts/fit.py", 3, 13),
        ("scripts/fit.py", 3, 18),
        ("scripts/fit.py", 4, 3),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n# %%\nupstream = ['a']\n# %%\nupstream = ['b']", ("a",)),
        ("upstream = ['a']\nprint(upstream['a'])", ("a",)),
        ("# %%\nx = upstream['b']\n# %%\ndef f():\n    return upstream['a']['data']", ("b", "a")),
        ("# %%\nupstream[name]", ()),
        ("# %%\n%upstream a 'b c' --task q --load\n", ("a", "b c")),
        ("# %%\n# %upstream a b\n", ("a", "b")),
        ("# %%\nx = %upstream a\n", ("a",)),
        ("# %%\nif x:\n    %upstream a\n", ("a",)),
        ("# %%\ns = '''\n%upstream a\n'''\n", ()),
        ("# %%\n# upstream['a'] and upstream = ['b']\n", ()),
        (PARAMETERS + "upstream = None\n# %%\n%upstream a\n", ("a",)),
        (PARAMETERS + "product = None\n# %%\nupstream = ['a']\n", ("a",)),
        (PARAMETERS + "upstream = ['a']\n# %%\nupstream = {k: 1 for k in upstream}\n", ("a",)),
        ('# %% tags=["injected-parameters"]\nupstream = {"a": {}}\n', ()),
        ("# %%\n%%time\nupstream['a']\n", ("a",)),
        ("# %%\n%%bash\nupstream['a']\n", ()),
        ("", ()),
    ],
)
def test_a_source_may_declare_in_other_ways(text: str, expected: tuple[str, ...]) -> None:
    assert said(text).upstream == expected


def test_disagreement_is_a_warning_with_file_and_line() -> None:
    text = PARAMETERS + "upstream = ['get', 'feature-*']\n# %%\nupstream['get']\n"
    assert said(text + "upstream['feature-*']['feature-a']\nupstream['feature-a']").warnings == ()
    warnings = said(text + "upstream['fti']\n# %%\n%upstream other\n").warnings
    assert [w.partition(": ")[0] for w in warnings] == ["scripts/fit.py:7", "scripts/fit.py:5"]
    assert "upstream['fti'] is used" in warnings[1]


def test_a_syntax_error_is_told_with_its_line_and_the_rest_is_still_read() -> None:
    text = PARAMETERS + "upstream = ['get']\n\n# %%\nx = 1\nprnt 'x'\n"
    assert said(text) == Declared(
        upstream=("get",), at=said(text).at, problem="scripts/fit.py:6: invalid syntax"
    )


def test_a_second_parameters_cell_is_a_problem() -> None:
    text = PARAMETERS + "upstream = None\n" + PARAMETERS + "product = None\n"
    assert problem(text).startswith("scripts/fit.py:4: a second cell is tagged 'parameters'")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not JSON"),
        ("{\n  'a'}", "a.ipynb:2:3: not JSON"),
        ("[]", "no nbformat"),
        ("{}", "no nbformat"),
        ('{"nbformat": 4}', "no list of cells"),
        ('{"nbformat": 9, "cells": []}', "nbformat 9"),
        ('{"nbformat": 3}', "cannot be upgraded"),
        ('{"nbformat": 4, "cells": [3]}', "cell 1"),
        ('{"nbformat": 4, "cells": [{"cell_type": "code", "source": 3}]}', "cell 1"),
        ('{"nbformat": 4, "cells": [], "metadata": {"kernelspec": 3}}', "kernelspec"),
        ("[" * 100_000, "a.ipynb"),
    ],
)
def test_a_malformed_notebook_is_a_problem_with_a_hint(text: str, what: str) -> None:
    shown = problem(text, "a.ipynb")
    assert what in shown
    assert "hint: " in shown


def test_an_old_notebook_is_upgraded() -> None:
    cell = {"cell_type": "code", "input": ["upstream = ['a']"], "language": "python"}
    cell |= {"outputs": [], "collapsed": False, "metadata": {}}
    sheet = {"cells": [cell], "metadata": {}}
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [sheet]}
    assert said(json.dumps(old), "a.ipynb").upstream == ("a",)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a.ipynb", ipynb(("upstream = ['get']", ["parameters"])), ("get",)),
        ("a.md", '```python tags=["parameters"]\nupstream = ["get"]\n```\n', ("get",)),
        ("a.md", '```{code-cell}\n:tags: [parameters]\nupstream = ["get"]\n```\n', ("get",)),
        ("a.R", PARAMETERS + "upstream <- list('a', \"b\") # c\n", ("a", "b")),
        ("a.r", PARAMETERS + "upstream = c('a')\nproduct = NULL\n", ("a",)),
        ("a.R", PARAMETERS + "upstream = NULL\n", ()),
        ("a.R", "# %%\nx <- 1\n# %%\nupstream = 'get'\n", ("get",)),
        ("a.Rmd", '```{r tags=c("parameters")}\nupstream = list("a")\n```\n', ("a",)),
        ("a.jl", "# %%\nusing X\n", ()),
        ("a b ✓;$(x).py", PARAMETERS + "upstream = ['get']\n", ("get",)),
    ],
)
def test_every_format_declares(path: str, text: str, expected: tuple[str, ...]) -> None:
    assert said(text, path).upstream == expected


def test_a_language_without_literals_of_ours_declares_in_the_spec() -> None:
    assert problem(PARAMETERS + "upstream = f(x)\n", "a.R").startswith("a.R:2:12: ")


@pytest.mark.parametrize("path", ["a.txt", "a", "a.sql", ".py.bak"])
def test_a_format_that_nobody_knows_is_a_problem(path: str) -> None:
    assert problem("x = 1", path).startswith(f"{path}: ")


def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    text = PARAMETERS + "upstream = ['get']\n\n# %%\nx = 1\n"
    script = tmp_path / "a.py"
    script.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_text(script) == text
    assert parse_source(read_text(script), "a.py") == parse_source(text, "a.py")


def test_a_file_that_cannot_be_read_is_a_problem_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"x = 1\ny = '\xe9'\n")
    for name, what in [
        ("latin.py", "latin.py:2: not UTF-8"),
        ("none.py", "none.py: no such file"),
        ("", "is a folder"),
        ("\0", "cannot be read"),
    ]:
        with pytest.raises(SpecError, match=what):
            read_text(tmp_path / name, name or "dir")


@pytest.mark.parametrize(
    ("path", "text", "lines"),
    [
        ("a.py", "# %% [md]\n# # T\n# t\n\n# %%\nx\n\n\n# %%\n\n# %%\n\ny", [2, 6, 0, 12]),
        ("a.py", "# ---\n# title: x\n# ---\n\n# %%\n# %cd x\n# !ls\ny\n", [1, 6]),
        ("a.py", 'import x\n\n# + tags=["a"]\ny\n# -\n\n# text\n# more\n\ny\n', [1, 4, 7, 10]),
        (
            "a.md",
            "# T\n\nt\n\n```python\nx\n```\n\n```python\n\n```\n\n```python\nx\n```",
            [1, 6, 0, 14],
        ),
        ("a.md", "# T\n\n```{code-cell}\n:tags: [a]\nx\n```\ntext\n", [1, 5, 7]),
        ("a.R", "#' # T\n\nx <- 1\n\ny <- 2\n", [1, 3, 5]),
        ("a.ipynb", ipynb(("x", []), ("y", [])), [0, 0]),
    ],
)
def test_cells_know_their_lines(path: str, text: str, lines: list[int]) -> None:
    assert [cell.line for cell in parse_source(text, path).cells] == lines


def test_a_comment_that_begins_like_a_command_stays_a_comment() -> None:
    text = "# %%\n# copy the raw data\nx = 1\n\n# %%\n# ls -l\n"
    assert [c.text for c in parse_source(text, "a.py").cells] == [
        "# copy the raw data\nx = 1",
        "ls -l",
    ]
    assert said(text).problem is None


HEADER = """# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

"""

SCRIPTS = [
    "# %%\nx = 1\n",
    "# %% title here\nx = 1\n\n\n# %%\ndef f():\n    return 1\n\n\n# %% [md] t\n# text\n",
    'import x\n\n# %% a title tags=["parameters", "b"]\nupstream = None\n\n# %%\n',
    HEADER + '# %% tags=["parameters"]\nupstream = ["get"]\n\n# %% [markdown]\n# # T\n#\n# x\n',
    HEADER + "\n\nx = 1\n# %%\n",
    "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n# %%\nx = 1\n",
    "# %%\n# %matplotlib inline\nx = 1\n",
    "# %%\n%matplotlib inline\n# %cd x\n",
    '# %%\n"""doc\n\nmore"""\nx = 1\n# %% [raw]\n# raw\n',
    "#%%\nx\n#%% [markdown]\n#text\n",
    template("get", upstream=["a"]),
]


@pytest.mark.parametrize("text", SCRIPTS)
def test_plain_scripts_are_read_as_jupytext_reads_them(text: str) -> None:
    mine, theirs = read_percent(text), read_jupytext(text, "a.py")
    assert mine is not None
    assert mine == theirs


PIECES = [
    *"\n\n\n",
    " ",
    "# %%",
    "#%%",
    "# %% [markdown]",
    "# %% t",
    "# %% [raw]",
    "# %% {}",
    "  # %%",
]
PIECES += [
    '# %% tags=["parameters"]',
    '# %% t u tags=["a", "b"]',
    "# %% [md] t",
    "# %%bash",
    "#",
    "]",
]
PIECES += [
    "x = 1",
    "def f():",
    "    return 2",
    "# a comment",
    "# # Title",
    "# - item",
    "# what?",
    "# +",
]
PIECES += [
    "%matplotlib inline",
    "# %load_ext nbpipe",
    "    # %x foo",
    "# !ls",
    '"""',
    "s = '''a'''",
    "[x",
]
PIECES += [
    "# ---",
    "# jupyter:",
    "#   kernelspec:",
    "# -*- coding: utf-8 -*-",
    "# copy this",
    "x = %who",
]


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("\n".join))
def test_what_is_read_without_jupytext_is_what_jupytext_reads(text: str) -> None:
    mine = read_percent(text)
    if mine is not None:
        theirs = read_jupytext(text, "a.py")
        assert [(c.kind, c.text, c.tags) for c in mine.cells] == [
            (c.kind, c.text, c.tags) for c in theirs.cells
        ]
        assert (mine.options, mine.metadata, mine.format) == (
            theirs.options,
            theirs.metadata,
            theirs.format,
        )


LIGHT = [
    "x = 1\n",
    "upstream = ['a']\n\nx = upstream['a']\n",
    '"""doc"""\nimport x\n\n# + tags=["parameters"]\nupstream = ["a", "b"]\nproduct = None\n# -\n\n'
    "# text\n# more\n\ny = upstream['b']\n\n\ndef f():\n    return upstream['c']\n",
    '# + tags=["parameters"]\nupstream = None\n\n# +\n# %upstream q\nx = 1\n',
    "# ---\n# jupyter:\n#   kernelspec:\n#     display_name: P\n#     name: python3\n# ---\n\n"
    "upstream = 'a'\n",
    "x = upstream['a']\nprnt 'x'\n",
]


@pytest.mark.parametrize("text", LIGHT)
def test_light_scripts_declare_as_jupytext_reads_them(text: str) -> None:
    quick = read_light(text)
    assert quick is not None
    slow = read_declared(read_jupytext(text, "a.py").cells, "a.py")
    assert read_declared(quick.cells, "a.py") == slow


def test_plain_scripts_and_notebooks_need_no_jupytext(tmp_path: Path) -> None:
    program = (
        "import sys, json; from nbpipe.store.sources import *\n"
        "for path, text in json.load(sys.stdin):\n    declared(text, path)\n"
        "for suffix in ('.py', '.ipynb'):\n"
        "    s = parse_source(template('a', suffix=suffix), 'a' + suffix)\n"
        "    to_notebook(s, upstream=None, product=None, params={}, kernel='python3')\n"
        "heavy = {'jupytext', 'nbformat', 'IPython', 'networkx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    texts = [("a.py", text) for text in SCRIPTS + LIGHT] + [("a.ipynb", ipynb(("x", [])))]
    subprocess.run([sys.executable, "-c", program], input=json.dumps(texts), text=True, check=True)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*PIECES, "```python", "```", "---"])).map("\n".join),
    st.sampled_from([".py", ".md", ".ipynb", ".R", ".Rmd", ".jl", ".sh", ".txt", ""]),
)
def test_reading_raises_nothing_but_spec_errors(text: str, suffix: str) -> None:
    try:
        source = parse_source(text, "a" + suffix)
    except SpecError:
        return
    assert len(source.cells) == len(source.options)
    code_digest(source.cells, source.language)


def test_the_notebook_has_the_values_after_the_parameters_cell() -> None:
    source = parse_source(template("fit"), "scripts/fit.py")
    notebook, lines = to_notebook(
        source,
        upstream={"get": {"data": "out/get.csv"}},
        product={"nb": "out/fit.ipynb"},
        params={"depth": 3},
        kernel="other",
        provenance={"task": "fit"},
    )
    cells = notebook["cells"]
    assert [c["metadata"].get("tags") for c in cells] == [
        None,
        ["parameters"],
        ["injected-parameters"],
        None,
    ]
    space: dict[str, object] = {}
    exec("\n".join(c["source"] for c in cells if c["cell_type"] == "code"), space)
    assert space["upstream"] == {"get": {"data": "out/get.csv"}}
    assert space["product"] == {"nb": "out/fit.ipynb"}
    assert space["depth"] == 3
    assert notebook["metadata"]["kernelspec"]["name"] == "other"
    assert notebook["metadata"]["nbpipe"] == {"task": "fit"}
    assert "jupytext" not in notebook["metadata"]
    assert lines == (14, 19, 0, 27)


def test_the_notebook_is_valid_and_without_old_outputs() -> None:
    import nbformat

    text = ipynb(
        ("upstream = None", ["parameters"]),
        ("upstream = {'old': 1}", ["injected-parameters"]),
        ("x = 1", ["keep"]),
        kernelspec={"name": "python3"},
        jupytext={"formats": "ipynb"},
        custom=1,
    )
    made = [
        to_notebook(
            parse_source(text, "a.ipynb"), upstream=None, product="o", params={}, kernel="python3"
        )
        for _ in range(2)
    ]
    assert made[0] == made[1]
    notebook, lines = made[0]
    nbformat.validate(notebook)
    assert lines == (0, 0, 0)
    assert "'old'" not in json.dumps(notebook)
    assert all(cell["outputs"] == [] for cell in notebook["cells"])
    assert notebook["cells"][2]["metadata"] == {"tags": ["keep"], "collapsed": True}
    assert notebook["metadata"]["custom"] == 1
    assert notebook["metadata"]["kernelspec"]["display_name"] == "python3"
    assert notebook["metadata"]["kernelspec"]["language"] == "python"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)


def test_without_a_parameters_cell_the_values_stand_first() -> None:
    source = parse_source("# %%\nx = 1\n", "a.py")
    notebook, lines = to_notebook(source, upstream=None, product=None, params={}, kernel="k")
    assert notebook["cells"][0]["metadata"]["tags"] == ["injected-parameters"]
    assert "upstream = None\nproduct = None" in notebook["cells"][0]["source"]
    assert lines == (0, 2)


@pytest.mark.parametrize(
    "head", ["# ---\n# jupyter:\n#   kernelspec:\n#     name: python3\n# ---\n"]
)
@pytest.mark.parametrize("body", ["\n# %%\nx = 1\n", "\nx = 1\n"])
def test_a_kernelspec_without_a_display_name_is_repaired(head: str, body: str) -> None:
    source = parse_source(head + body, "a.py")
    assert source.kernel == "python3"
    notebook, _ = to_notebook(source, upstream=None, product=None, params={}, kernel="python3")
    assert notebook["metadata"]["kernelspec"]["display_name"] == "python3"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values)
@example({"a key as long as a line of the injected cell " * 2: [], "b": {}})
@example([["x" * 86, [], {}]])
def test_params_arrive_as_they_are(value: object) -> None:
    space: dict[str, object] = {}
    exec(injected_cell_text("python", None, None, {"p": value}), space)
    assert space["p"] == value
    assert space["upstream"] is space["product"] is None


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("python", "p = [1, None, True, float('inf'), {'a': \"x'y\"}]"),
        ("r", 'p <- list(1L, NULL, TRUE, Inf, list("a" = "x\'y"))'),
        ("julia", 'p = Any[1, nothing, true, Inf, Dict("a" => "x\'y")]'),
        ("bash", """export p='[1, null, true, Infinity, {"a": "x'"'"'y"}]'"""),
    ],
)
def test_values_are_written_in_the_kernel_s_language(language: str, line: str) -> None:
    params = {"p": [1, None, True, float("inf"), {"a": "x'y"}]}
    assert line in injected_cell_text(language, None, None, params).split("\n")


def test_long_values_are_laid_out_one_item_a_line() -> None:
    text = injected_cell_text("python", {"get": {"data": "x" * 50, "nb": "y" * 50}}, None, {})
    assert max(map(len, text.split("\n"))) <= 88
    assert ast.literal_eval(text.split("upstream = ")[1].split("\nproduct")[0])["get"]["nb"]


@pytest.mark.parametrize(
    ("language", "params", "what"),
    [
        ("python", {"a-b": 1}, "'a-b' is no name"),
        ("python", {"class": 1}, "'class' is no name"),
        ("python", {"upstream": 1}, "'upstream' is a name that nbpipe sets"),
        ("python", {"p": object()}, "type object"),
        ("bash", {"p": object()}, "type object"),
        ("cobol", {}, "cobol"),
    ],
)
def test_what_cannot_be_injected_is_a_problem(language: str, params: dict, what: str) -> None:
    with pytest.raises(SpecError, match=what):
        injected_cell_text(language, None, None, params, "scripts/fit.py")


@pytest.mark.parametrize("suffix", [".py", ".ipynb", ".md", ".Rmd", ".R"])
@pytest.mark.parametrize("upstream", [None, ["get", "feature-*"]])
def test_a_template_is_a_source(suffix: str, upstream: list[str] | None) -> None:
    source = parse_source(template("a task", suffix=suffix, upstream=upstream), f"a{suffix}")
    assert [cell.kind for cell in source.cells] == ["markdown", "code", "code"]
    assert source.cells[1].tags == ("parameters",)
    assert source.cells[0].text == "# a task\n\nAdd description here."
    assert source.declared.upstream == tuple(upstream or ())
    assert source.declared.problem is None
    assert source.kernel == ("ir" if suffix in (".R", ".Rmd") else "python3")


def test_the_reader_of_the_tutorial_sees_the_line_to_edit() -> None:
    text = template("get")
    assert "\nupstream = None\n" in text
    assert said(text.replace("upstream = None", "upstream = ['get']")).upstream == ("get",)
    exec(text, {})


def test_a_function_template_defines_the_function() -> None:
    space: dict[str, object] = {}
    exec(function_template("tasks.raw.get"), space)
    assert callable(space["get"])


def test_what_has_no_template_is_refused() -> None:
    with pytest.raises(UsageError, match="\\.sql"):
        template("a", suffix=".sql")
    with pytest.raises(UsageError, match="a-b"):
        function_template("m.a-b")
