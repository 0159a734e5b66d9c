"""Digests count what can change a result, and nothing else."""

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpipe.core.fingerprint import (
    code_digest,
    function_digest,
    module_digest,
    output_digest,
    text_digest,
    value_digest,
)
from nbpipe.core.model import Cell
from nbpipe.core.syntax import escapes, parse_cell, syntax_error, walk


def code(*texts: str, language: str = "python") -> str:
    return code_digest([Cell(kind="code", text=text) for text in texts], language)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x=1"),
        ("x = 1", "x = 1  # a comment"),
        ("x = 1", "\n\nx = 1\n\n"),
        ("x = 1", "x = (1);"),
        ("x = 'a'", 'x = "a"'),
        ("x = 'ab'", "x = u'a' 'b'"),
        ("x = 16", "x = 0x10"),
        ("f(a, b)", "f(\n    a,\n    b,\n)"),
        ("if x:\n    y", "if x:\n  y"),
        ("  x = 1\n  y = 2", "x = 1\ny = 2"),
        ("%matplotlib inline\nx = 1", "%matplotlib inline\n\nx=1 # c"),
        ("x = !ls\ny = 1", "x = !ls\ny=1"),
        ("await f()", "await f( )"),
        ("x = 1\r\ny = 2", "x = 1\ny = 2"),
        ("%%bash\necho a", "%%bash\necho a\n"),
        ("for = = 3", "for = = 3  \n\n"),
    ],
)
def test_formatting_and_comments_do_not_count(one: str, other: str) -> None:
    assert code(one) == code(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "y = 1"),
        ("x.a", "x.b"),
        ("f(a=1)", "f(b=1)"),
        ("f(*a)", "f(a)"),
        ("{**a}", "{a: None}"),
        ("def f(): pass", "async def f(): pass"),
        ("[x for x in y]", "(x for x in y)"),
        ("%matplotlib inline\nx", "%matplotlib qt\nx"),
        ("!ls\nx", "!ls -l\nx"),
        ("!ls # a\nx", "!ls # b\nx"),
        ("!ls \\\n -l\nx", "!ls \\\n -a\nx"),
        ("a = !ls\nx", "b = !ls\nx"),
        ("x?", "x??"),
        ("ls -l", "ls - l"),
        ("ls /tmp", "ls / tmp"),
        ("%%bash\necho a # b", "%%bash\necho a # c"),
        ("%%writefile x\na\n\nb", "%%writefile x\na\nb"),
        ("%foo", "__nbpipe_escape__('%foo')"),
        ("%foo\nx", "'%foo'\nx"),
        ("for = = 3  # a", "for = = 3  # b"),
        ("x = '''a \nb''' oops", "x = '''a\nb''' oops"),
    ],
)
def test_a_change_of_meaning_counts(one: str, other: str) -> None:
    assert code(one) != code(other)


def test_constants_differ_by_type_and_value() -> None:
    texts = ["1", "True", "1.0", "-0.0", "0.0", "0", "'1'", "b'1'", "None", "...", "1j", "'None'"]
    assert len({code(text) for text in texts}) == len(texts)


def test_cell_boundaries_count_but_empty_cells_do_not() -> None:
    assert code("x = 1\ny = 2") != code("x = 1", "y = 2")
    assert code("x = 1", "", "# only a comment", "  \n") == code("x = 1")


def test_only_code_of_the_source_counts() -> None:
    cells = [
        Cell(kind="markdown", text="# text"),
        Cell(kind="raw", text="raw"),
        Cell(kind="code", text="p = 2", tags=("injected-parameters",)),
        Cell(kind="code", text="x = 1"),
    ]
    assert code_digest(cells) == code("x = 1")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + ")" * 5000,
        "-" * 20000 + "1",
        "x = " + "[" * 300 + "]" * 300,
        "+".join("a" * 20000),
        "a" + ".b" * 20000,
        "x = '\0'",
        "x = '\ud800'",
        "x = " + "9" * 5000,
        "x = 0x" + "f" * 5000,
        "'\\d'",
        "?",
        "%",
        "!",
        "=!",
        '"""',
        "\\",
        "%%",
    ],
    ids=range(17),
)
def test_no_cell_is_too_odd(text: str) -> None:
    assert code(text) != code(text + "\nx = 1")


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("x <- 1", "x <- 1  \n\n", True),
        ("x <- 1\n\ny <- 2", "x <- 1\ny <- 2", True),
        ("x <- 1", "x <- 1 # c", False),
        ("x <- 'a\n\nb'", "x <- 'a\nb'", False),
    ],
)
def test_other_languages_count_as_they_stand(one: str, other: str, equal: bool) -> None:
    assert (code(one, language="R") == code(other, language="R")) is equal


numbers = st.integers(0, 999)
names = st.sampled_from(["a", "b", "df", "model"])
expressions = st.recursive(
    st.one_of(numbers.map(str), names, st.text("ab'\" \\\n", max_size=4).map(repr)),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "*", "==", "and"]), inner).map(" ".join),
        st.lists(inner, max_size=3).map(lambda xs: f"[{', '.join(xs)}]"),
        st.tuples(names, inner).map("{0[0]}({0[1]})".format),
    ),
    max_leaves=6,
)
statements = st.one_of(
    st.tuples(names, expressions).map("{0[0]} = {0[1]}".format),
    st.tuples(names, expressions).map("if {0[0]}:\n    {0[0]} = {0[1]}".format),
    st.tuples(names, expressions).map("def {0[0]}(x=1, *, y=2):\n    return {0[1]}".format),
    expressions.map("f'{{{}!r:>3}}'".format).filter(lambda s: "\\" not in s and s.count("'") == 2),
)
programs = st.lists(statements, min_size=2, max_size=5).map("\n".join)


@given(programs)
def test_unparsing_keeps_the_digest(program: str) -> None:
    assert code(ast.unparse(ast.parse(program))) == code(program)


@given(programs, st.data())
def test_comments_and_blank_lines_keep_the_digest(program: str, data: st.DataObject) -> None:
    lines = []
    for line in program.split("\n"):
        lines += data.draw(st.sampled_from([[], [""], ["# a comment?"], ["   "]]))
        lines.append(line + data.draw(st.sampled_from(["", "  ", "  # why"])))
    assert code("\n".join(lines)) == code(program)


@given(programs, numbers, numbers)
def test_another_constant_changes_the_digest(program: str, one: int, other: int) -> None:
    changed = code(f"{program}\nz = {one}") == code(f"{program}\nz = {other}")
    assert changed is (one == other)


@settings(max_examples=300)
@given(st.text("x=%!?'\"#\\\n ([)]ab", max_size=30))
def test_ipython_syntax_never_crashes_and_keeps_its_lines(text: str) -> None:
    code(text)
    syntax_error(text)
    count = text.count("\n") + 1
    assert all(1 <= number <= count for number, _ in escapes(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%matplotlib inline\nx = 1", [(1, "%matplotlib inline")]),
        ("if x:\n    !ls \\\n  -l\ny = %time f()", [(2, "!ls \\\n  -l"), (4, "%time f()")]),
        ("s = '''\n%foo\n'''\n%bar", [(4, "%bar")]),
        ("f(\n  a\n%b)", []),
        ("x = 5  # what?", []),
        ("df.head?", [(1, "df.head?")]),
        ("%%time\n%foo", [(2, "%foo")]),
        ("%%bash\n%foo", []),
    ],
)
def test_ipython_lines_are_found_where_they_are_code(text: str, expected: list) -> None:
    assert list(escapes(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", None),
        ("x = 1\nprnt 'x'", (2, "invalid syntax")),
        ("!ls -l\nx = = 2", (2, "invalid syntax")),
        ("pip install pandas", None),
        ("cd data/raw", None),
        ("%%bash\nif [ 1 ]", None),
        ("%%time\nx = = 1", (2, "invalid syntax")),
        ("await f()", None),
        ("x = '\0'", (1, "source code string cannot contain null bytes")),
    ],
)
def test_a_syntax_error_is_told_from_ipython_syntax(text: str, expected: object) -> None:
    assert syntax_error(text) == expected


def test_a_cell_of_ipython_syntax_has_a_tree() -> None:
    tree = parse_cell("%matplotlib inline\nimport pandas")
    assert tree is not None
    assert isinstance(tree.body[1], ast.Import)
    assert tree.body[1].lineno == 2


def test_line_ends_and_a_byte_order_mark_do_not_count_in_a_text() -> None:
    assert text_digest("\ufeffa\r\nb\r") == text_digest("a\nb\n")
    assert text_digest("a") != text_digest("b")


def test_the_order_of_keys_does_not_count_in_a_value() -> None:
    assert value_digest({"a": 1, "b": [2, None]}) == value_digest({"b": [2, None], "a": 1})
    values = [
        1,
        1.0,
        True,
        "1",
        None,
        [],
        {},
        [1],
        [[1]],
        float("nan"),
        float("inf"),
        {"1": 1},
        {1: 1},
    ]
    assert len({value_digest(value) for value in values}) == len(values)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(json_values, json_values)
def test_values_of_one_digest_are_equal(one: object, other: object) -> None:
    assert value_digest(one) != value_digest(other) or one == other


MODULE = """import os

LIMIT = 3

def helper(x):
    return x + LIMIT

def task(product):
    return helper(1)

def sibling():
    return 2

@register
def decorated():
    return 4
"""


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("helper(1)", "helper(5)", True),
        ("x + LIMIT", "x - LIMIT", True),
        ("LIMIT = 3", "LIMIT = 9", True),
        ("import os", "import sys", True),
        ("return 4", "return 5", True),
        ("return 2", "return 7", False),
        ("def sibling", "# note\ndef renamed", False),
    ],
)
def test_a_function_counts_with_all_that_it_reaches(old: str, new: str, counts: bool) -> None:
    edited = MODULE.replace(old, new)
    assert (function_digest(MODULE, "task") != function_digest(edited, "task")) is counts


def test_a_module_is_read_once_for_all_its_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def parse(text: str) -> ast.Module | None:
        parsed.append(text)
        return parse_cell(text)

    monkeypatch.setattr("nbpipe.core.fingerprint.parse_cell", parse)
    names = [f"f{i}" for i in range(30)]
    plain = "LIMIT = 3\n" + "".join(f"def {name}():\n    return LIMIT\n" for name in names)
    decorated = plain.replace("def", "@LIMIT\ndef")
    for text in (plain, decorated):
        parsed.clear()
        assert len({function_digest(text, name) for name in names}) == (30 if text is plain else 1)
        assert parsed.count(text) in (1, 2)  # for the functions, for the whole


def test_a_function_that_is_no_plain_definition_takes_the_whole_module() -> None:
    edited = MODULE.replace("return 2", "return 7")
    assert function_digest(MODULE, "decorated") != function_digest(edited, "decorated")
    dynamic = MODULE.replace("helper(1)", "globals()['sib' + 'ling']()")
    edited = dynamic.replace("return 2", "return 7")
    assert function_digest(dynamic, "task") != function_digest(edited, "task")


def test_a_module_counts_by_its_code() -> None:
    assert module_digest("\ufeffx = 1  # a") == module_digest("x = 1")
    assert module_digest("x = = 1 # a") != module_digest("x = = 1 # b")


def test_an_output_counts_by_name_path_and_bytes() -> None:
    one = output_digest({"a": ("p", "1"), "b": ("q", "2")})
    assert one == output_digest({"b": ("q", "2"), "a": ("p", "1")})
    assert one != output_digest({"a": ("p", "1"), "b": ("q", "3")})
    assert one != output_digest({"a": ("q", "2"), "b": ("p", "1")})


def test_walking_a_tree_leaves_out_only_whether_names_are_read_or_written():
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    said = [node for node in ast.walk(tree) if not isinstance(node, ast.expr_context)]
    assert [id(node) for node in walk(tree)] == [id(node) for node in said]
