"""Errors are quoted with their line in the script, and say what to do next."""

from __future__ import annotations

import pytest

from nbpipe.executors.failures import Script, cell_failure, cut_middle, excerpt
from nbpipe.executors.hints import Scene, hint_for
from nbpipe.executors.output import Clip
from nbpipe.executors.processes import describe_exit

CELLS = (
    'upstream = {"load": "a.csv"}',
    "def half(x):\n    return x / 0",
    "\n\ny = 1\nhalf(y)",
    "a = = 1",
    "%%time\nx = 1\n1/0",
    "import sys\n\nsys.exit(2)",
)
SCRIPT = Script(
    source="scripts/fit.py",
    texts=CELLS,
    first=(0, 10, 14, 20, 23, 30),
    counts={1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5},
)
SCENE = Scene(root="/home/me/project", python="/env/bin/python", upstream=("load", "clean"))

IN_FUNCTION = """\
\x1b[31m---------------------------------------------------------------------------\x1b[39m
\x1b[31mZeroDivisionError\x1b[39m                         Traceback (most recent call last)
\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[3]\x1b[39m\x1b[32m, line 2\x1b[39m
\x1b[32m      1\x1b[39m y = 1
\x1b[32m----> \x1b[39m\x1b[32m2\x1b[39m half(y)

\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[2]\x1b[39m\x1b[32m, line 2\x1b[39m, in half(x)
      1 def half(x):
----> 2     return x / 0

File /lib/python3.11/numbers.py:7, in div()
      6 # not a cell
----> 7 return a / b

ZeroDivisionError: division by zero"""

CHAINED = """\
ValueError                                Traceback (most recent call last)
Cell In[3], line 1
----> 1 y = 1

ValueError: first

During handling of the above exception, another exception occurred:

KeyError                                  Traceback (most recent call last)
Cell In[3], line 2
----> 2 half(y)

KeyError: 'q'"""

SYNTAX = "  Cell In[4], line 1\n    a = = 1\n        ^\nSyntaxError: invalid syntax\n"
TOKENS = "  File <tokenize>:2\n    y=2\n    ^\nIndentationError: unindent"
TIMED = """\
Cell In[5], line 1
----> 1 get_ipython().run_cell_magic('time', '', 'x = 1\\n1/0\\n')

File <timed exec>:2

ZeroDivisionError: division by zero"""
EXITED = "An exception has occurred, use %tb to see the full traceback.\n\nSystemExit: 2"
CRASHED = """\
Fatal Python error: Segmentation fault

Stack (most recent call first):
  File "/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/tmp/ipykernel_22/11.py", line 9 in half
  File "/tmp/ipykernel_22/33.py", line 2 in <module>
  File "/lib/IPython/core/interactiveshell.py", line 3823 in run_code

Extension modules: zmq (total: 1)"""


@pytest.mark.parametrize(
    ("cell", "error", "trace", "line"),
    [
        (2, "ZeroDivisionError", IN_FUNCTION, 17),
        (2, "KeyError", CHAINED, 17),
        (3, "SyntaxError", SYNTAX, 20),
        (4, "ZeroDivisionError", TIMED, 25),
        (1, "IndentationError", TOKENS, 11),
        (5, "SystemExit", EXITED, 32),
        (2, "KernelDied", CRASHED, 17),
        (2, "ValueError", "ValueError: no place named", 16),
        (0, "ValueError", "Cell In[1], line 1\n----> 1 x", None),
    ],
    ids=[
        "function of an earlier cell",
        "chained",
        "syntax",
        "cell magic",
        "tokenizer",
        "sys.exit",
        "crash report",
        "unknown: the cell",
        "injected cell",
    ],
)
def test_the_line_is_that_of_the_script(cell: int, error: str, trace: str, line: int | None):
    """The failing line is the outermost frame in the failing cell, counted in the script."""
    failure = cell_failure(SCRIPT, cell, error, "m", trace, SCENE)
    assert (failure.line, failure.cell, failure.file) == (line, cell + 1, "scripts/fit.py")


def test_a_traceback_speaks_of_the_script_alone():
    """Places and the numbers beside the code are the script's, colours are gone, files stay."""
    failure = cell_failure(SCRIPT, 2, "ZeroDivisionError", "m", IN_FUNCTION, SCENE)
    assert failure.traceback.splitlines()[2:] == [
        "scripts/fit.py, line 17",
        "     16 y = 1",
        "---> 17 half(y)",
        "",
        "scripts/fit.py, line 11, in half(x)",
        "     10 def half(x):",
        "---> 11     return x / 0",
        "",
        "File /lib/python3.11/numbers.py:7, in div()",
        "      6 # not a cell",
        "----> 7 return a / b",
        "",
        "ZeroDivisionError: division by zero",
    ]


def test_code_that_looks_like_a_line_number_is_left_alone():
    """Below the place of a syntax error stands code, not numbered code."""
    trace = "  Cell In[4], line 1\n    12 + = 3\nSyntaxError: invalid syntax"
    failure = cell_failure(SCRIPT, 3, "SyntaxError", "m", trace, SCENE)
    assert failure.traceback.splitlines() == [
        "  scripts/fit.py, line 20",
        "    12 + = 3",
        "SyntaxError: invalid syntax",
    ]


def test_the_name_of_a_temporary_file_in_a_message_becomes_the_script():
    """IPython puts the cell's invented file name into the text of a syntax error."""
    message = "invalid syntax (1496715767.py, line 1)"
    failure = cell_failure(SCRIPT, 3, "SyntaxError", message, SYNTAX, SCENE)
    assert failure.message == "invalid syntax (scripts/fit.py, line 20)"


def test_an_error_in_the_injected_cell_says_so():
    """It has no line in the script."""
    trace = "Cell In[1], line 1\n----> 1 x"
    failure = cell_failure(SCRIPT, 0, "NameError", "name 'x' is not defined", trace, SCENE)
    assert "injected cell" in (failure.hint or "")
    assert failure.traceback.startswith("injected cell, line 1")


def test_an_excerpt_marks_the_failing_line():
    """With the script's numbers."""
    failure = cell_failure(SCRIPT, 2, "ZeroDivisionError", "m", IN_FUNCTION, SCENE)
    assert failure.excerpt == "  14 |\n  15 |\n  16 | y = 1\n> 17 | half(y)"
    assert excerpt([f"l{n}" for n in range(9)], 98, 5) == "\n".join(
        f"{'>' if n == 102 else ' '} {n:>3} | l{n - 98}" for n in range(99, 106)
    )


def test_a_long_traceback_is_cut_in_the_middle():
    """Its beginning and its end tell the most."""
    lines = cut_middle([f"line {n}" for n in range(1_000)]).splitlines()
    assert len(lines) == 200
    assert (lines[0], lines[-1]) == ("line 0", "line 999")
    assert "801 lines cut" in lines[100]


@pytest.mark.parametrize(
    ("error", "message", "line", "words"),
    [
        ("ModuleNotFoundError", "No module named 'sklearn'", "", "install scikit-learn"),
        ("ModuleNotFoundError", "No module named 'polars'", "", "/env/bin/python -m pip install"),
        ("ModuleNotFoundError", "No module named 'pandas.x'", "", "'pandas' is there"),
        ("ModuleNotFoundError", "No module named 'os.x'; 'os' is not a package", "", "may hide"),
        ("FileNotFoundError", "[Errno 2] No such file: 'a/b.csv'", "", "/home/me/project"),
        ("FileNotFoundError", "[Errno 2] No such file: '/a/b.csv'", "", None),
        ("NameError", "name 'upstream' is not defined", "", "upstream = None"),
        ("NameError", "name 'other' is not defined", "", None),
        ("KeyError", "'lod'", "x = upstream['lod']", "did you mean 'load'?"),
        ("KeyError", "'zzz'", "x = upstream['zzz']", "'load', 'clean'"),
        ("KeyError", "'lod'", "x = other['lod']", None),
        ("StdinNotImplementedError", "raw_input was called", "", "params:"),
        ("SystemExit", "3", "", "raise an exception to fail"),
        ("ValueError", "x", "", None),
    ],
)
def test_usual_errors_have_a_hint(error: str, message: str, line: str, words: str | None):
    """The next step, where one is sure; else nothing."""
    scene = Scene(SCENE.root, SCENE.python, SCENE.upstream, line)
    hint = hint_for(error, message, scene)
    assert (hint is None) if words is None else (words in (hint or ""))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (-9, "signal 9, SIGKILL: possibly out of memory"),
        (-11, "signal 11, SIGSEGV: a crash in compiled code"),
        (-15, "signal 15, SIGTERM"),
        (7, "exited with status 7"),
    ],
)
def test_an_exit_is_described(code: int, text: str):
    """A signal by its number, its name and its usual cause."""
    assert describe_exit(code) == text


def test_too_much_text_keeps_its_beginning_and_its_end():
    """What is dropped between them is counted in bytes."""
    clip = Clip(head=10, tail=5)
    head = "".join(clip.add(c) for c in ["0123456", "789äöüß", "x" * 20, "the ", "end"])
    assert head == "0123456789"
    assert clip.rest() == "\n[nbpipe: output cut, 30 bytes dropped]\ne end"


def test_text_that_fits_is_kept_whole():
    """Without a mark."""
    clip = Clip(head=3, tail=5)
    assert clip.add("abcdef") + clip.rest() == "abcdef"
