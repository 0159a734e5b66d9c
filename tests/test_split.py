"""One notebook as a pipeline: the tasks leave the values that the notebook leaves."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

import nbformat
import pytest

from nbpipe import InlineExecutor, Pipeline, UsageError
from nbpipe.core.splitsections import slug
from nbpipe.store.splitting import plan_split, write_split
from tests.cli import nbpipe
from tests.projects import fake_work
from tests.test_magics import Shell

CASES = {
    "linear": ["x = [1, 2]", "y = [v * 2 for v in x]", "print(x, y)"],
    "diamond": ["x = [3, 1]", "a = sorted(x)", "b = max(x)", "print(a, b)"],
    "a change in a later section": ["d = {}", "d['a'] = 1", "print(d)"],
    "a change through a method": ["xs = []", "xs.append(1)", "xs.append(2)", "print(xs)"],
    "an unknown method": [
        "class Box:\n    def fill(self, x):\n        self.x = x\nbox = Box()",
        "box.fill(3)",
        "print(box.x)",
    ],
    "a function in two sections": [
        "K = 10\ndef up(x):\n    return x + K\na = [up(1)]",
        "b = up(a[0])",
        "print(up(b))",
    ],
    "a function that calls another with an import": [
        "import math\ndef root(x):\n    return math.sqrt(x)\ndef both(x):\n    return [root(x)]\n"
        "z = 0",
        "r = both(9)",
        "print(r, both(16), root(4))",
    ],
    "a function that changes its argument": [
        "def add(xs):\n    for x in [1, 2]:\n        xs.append(x)\nxs = []",
        "add(xs)",
        "print(xs)",
    ],
    "a function that changes it through another": [
        "def inner(q):\n    q['k'] = 1\ndef outer(p):\n    inner(p)\nd = {}",
        "outer(d)",
        "print(d)",
    ],
    "a function with state": [
        "seen = []\ndef note(x):\n    seen.append(x)\nnote(1)",
        "note(2)",
        "note(3)",
        "print(seen)",
    ],
    "a global counter": [
        "n = 0\ndef tick():\n    global n\n    n += 1\ntick()",
        "tick()",
        "print(n)",
    ],
    "a lambda": ["f = lambda v: v + 1\nx = f(1)", "y = f(x)", "print(f(y))"],
    "constants": ["SEED = 42\nNAME = 'a'\nx = [SEED]", "y = [SEED, NAME]", "print(SEED, y, x)"],
    "a constant that changes": ["n = 1\nm = [n]", "n = 2", "print(n, m)"],
    "import aliases": [
        "import json as j\nfrom os.path import join as glue\na = j.dumps([1])",
        "b = glue('x', 'y')",
        "print(j.loads(a), glue(b, 'z'))",
    ],
    "two modules of a package": [
        "import os.path\nimport xml.dom\nx = 1 + 1",
        "import xml.sax\ny = x",
        "print(xml.dom.__name__, xml.sax.__name__, y)",
    ],
    "an import that is tried": [
        "try:\n    import numpi as np\nexcept ImportError:\n    import math as np\nx = [1]",
        "print(np.sqrt(4), x)",
    ],
    "shadowing": ["x = [1]", "y = list(x)\nx = [2]", "print(x, y)"],
    "a function defined anew": [
        "def f():\n    return 1\na = [f()]",
        "def f():\n    return 2\nb = [f()]",
        "print(a, b, f())",
    ],
    "loop variables": ["for i in range(3):\n    last = i * 2", "print(i, last)"],
    "a branch": ["x = [1]", "if len(x) > 3:\n    x = [2]", "print(x)"],
    "both branches": ["c = [1]", "if c:\n    x = 1\nelse:\n    x = 2", "print(x)"],
    "augmented": ["t = 0\nt += 1", "t += 2", "print(t)"],
    "an augmented list": ["t = [0]", "t += [2]", "print(t)"],
    "a section that nobody reads": ["x = [1]", "z = [9]", "print(x)"],
    "del": ["x = [1]\ny = [2]", "del y\nz = list(x)", "y = [3]", "print(x, y, z)"],
    "del of an item": ["d = {'a': 1, 'b': 2}", "del d['a']", "print(d)"],
    "with": ["import io\nwith io.StringIO('abc') as f:\n    text = f.read()", "print(text)"],
    "comprehensions have their own names": ["x = [1]", "y = [x for x in range(3)]", "print(x, y)"],
    "names of functions are their own": [
        "x = [1]\ndef f(x):\n    y = x\n    return y\nz = f([2])",
        "print(f(x), z)",
    ],
    "an alias in one section": ["x = [[1]]", "row = x[0]\nrow.append(2)", "print(x)"],
    "a loop that changes its items": [
        "rows = [{}, {}]",
        "for r in rows:\n    r['a'] = 1",
        "print(rows)",
    ],
    "instances of a class": [
        "class A:\n    def __init__(self, v):\n        self.v = v\nitems = [A(1)]",
        "items.append(A(2))",
        "print([a.v for a in items])",
    ],
    "a dataclass": [
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\np = P(1)",
        "print(p.x)",
    ],
    "a function with state that calls one without": [
        "base = [1]\ndef plus(x):\n    return x + 1\ndef use():\n    return plus(base[0])"
        "\na = use()",
        "base[0] = 5\nb = use()",
        "print(a, b, use())",
    ],
    "a function as a value": [
        "def one():\n    return 1\nfs = [one]",
        "print([f() for f in fs])",
    ],
    "a change inside a branch": [
        "d = {}",
        "for k in 'ab':\n    if k == 'a':\n        d[k] = 1",
        "print(d)",
    ],
    "a while loop": ["n = 0\nwhile n < 3:\n    n += 1", "n *= 2", "print(n)"],
    "only output": ["print(1)", "print(2)"],
    "walrus": ["xs = [1, 2]", "if (n := len(xs)) > 1:\n    m = n", "print(n, m)"],
    "names that are taken": ["X = [1]\nx = [2]\nnb = [3]", "print(X, x, nb)"],
    "unpacking": ["a, (b, *c) = 1, (2, 3, 4)", "print(a, b, c)"],
    "a random generator": [
        "import random\nrng = random.Random(1)",
        "a = rng.random()",
        "print(a, rng.random())",
    ],
}


def notebook(folder: Path, sections: list[str], name: str = "mono.ipynb") -> Path:
    cells = [nbformat.v4.new_markdown_cell("# Title")]
    for i, text in enumerate(sections):
        cells.append(nbformat.v4.new_markdown_cell(f"## Step {'abcdefg'[i]}"))
        cells.append(nbformat.v4.new_code_cell(text))
    path = folder / name
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def run_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Build the pipeline in this process; returns what it printed."""
    monkeypatch.syspath_prepend(str(root))
    for module in ("functions",):
        sys.modules.pop(module, None)
    said = io.StringIO()
    with redirect_stdout(said):
        report = Pipeline.load(root).build(executor=InlineExecutor(fake_work), jobs=1)
    sys.modules.pop("functions", None)
    assert report.ok, [t.failure for t in report.tasks.values() if t.failure]
    return said.getvalue()


def monolith(sections: list[str], folder: Path) -> tuple[str, dict[str, object]]:
    scope: dict[str, object] = {"__name__": "__main__"}
    said = io.StringIO()
    before = Path.cwd()
    os.chdir(folder)
    try:
        with redirect_stdout(said):
            for text in sections:
                exec(text, scope)
    finally:
        os.chdir(before)
    return said.getvalue(), scope


@pytest.mark.parametrize("name", CASES)
def test_the_pipeline_computes_what_the_notebook_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = CASES[name]
    planned = plan_split(notebook(tmp_path, sections))
    write_split(planned)
    printed = run_all(tmp_path, monkeypatch)
    expected, _ = monolith(sections, tmp_path)
    assert sorted(printed.split("\n")) == sorted(expected.split("\n")), planned.files


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("1. Load the *data*", "load-the-data"),
        ("`fit` [a model](http://x.y)", "fit-a-model"),
        ("Größe 2.0!", "größe-2-0"),
        ("???", ""),
    ],
)
def test_a_heading_becomes_the_name_of_a_task(title: str, name: str) -> None:
    assert slug(title) == name


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (["a = [1]\nb = a", "a.append(2)", "print(b)"], "a and b may be one object"),
        (["from math import *", "print(pi)"], "cannot be told"),
        (["import random\nrandom.seed(1)", "print(random.random())"], "random.seed(1) in step-"),
        (["open('a.txt', 'w').close()", "open('a.txt')"], "'a.txt' is named in step-a and step-b"),
        (["if len('x') > 3:\n    y = [1]\nz = 1 + 1", "print(y)"], "y: may not be set"),
        (["d = {'f': lambda x: x}", "print(d)"], "d: its value may not be picklable"),
        (["k = [1]\ndef f():\n    return k\nf()", "f()"], "f: uses variables of the notebook"),
        (["exec('x = 1')", "print(1)"], "exec() in step-a"),
    ],
)
def test_what_may_go_wrong_is_told(sections: list[str], said: str, tmp_path: Path) -> None:
    assert said in "\n".join(plan_split(notebook(tmp_path, sections)).warnings)


@pytest.mark.parametrize("name", CASES)
def test_no_two_products_share_a_path(name: str, tmp_path: Path) -> None:
    """Not even where the case of letters does not count."""
    files = plan_split(notebook(tmp_path, CASES[name])).files
    paths = [line.split()[-1] for line in files["pipeline.yaml"].split("\n") if "output/" in line]
    assert len({path.casefold() for path in paths}) == len(paths)


@pytest.mark.parametrize(
    ("sections", "said"),
    [([], "no headings"), (["x = "], "does not parse"), (["product = 1", "x = 2"], "'product'")],
)
def test_what_cannot_be_split_is_refused(sections: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        plan_split(notebook(tmp_path, sections))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = notebook(tmp_path, CASES["linear"])
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "step-b.py").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        plan_split(path)
    assert write_split(plan_split(path, tmp_path / "new"))[-1] == "pipeline.yaml"
    assert not (tmp_path / "pipeline.yaml").exists()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    notebook(tmp_path, CASES["diamond"])
    said = nbpipe("split", "mono.ipynb", "--dry-run", cwd=tmp_path)
    assert "step-d  step-b, step-c" in " ".join(said.split(" ")).replace("    ", "  ")
    assert [p.name for p in tmp_path.iterdir()] == ["mono.ipynb"]


def test_magics_stay_and_name_what_they_read(tmp_path: Path) -> None:
    sections = ["%matplotlib inline\nx = [1]", "!echo {x}\n%timeit -n1 sum(x)", "%%time\ny = x"]
    files = plan_split(notebook(tmp_path, sections)).files
    assert "# %matplotlib inline" in files["scripts/step-a.py"]
    assert "x = pickle.loads" in files["scripts/step-b.py"]
    assert "x = pickle.loads" in files["scripts/step-c.py"]


def test_the_magic_splits_and_uses_the_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook(tmp_path, CASES["linear"])
    monkeypatch.chdir(tmp_path)
    shell = Shell(capsys)
    status = shell.value("%pipeline split mono.ipynb")
    assert [row.task for row in status.rows] == ["step-a", "step-b", "step-c"]
    assert "created pipeline.yaml" in shell.out


IRIS = [
    "from sklearn import datasets\nSEED = 42\ndf = datasets.load_iris(as_frame=True).frame",
    "def ratio(a, b):\n    return df[a] / df[b]\n"
    "df['r'] = ratio('sepal length (cm)', 'sepal width (cm)')",
    "from sklearn.tree import DecisionTreeClassifier\nX = df.drop(columns='target')\n"
    "model = DecisionTreeClassifier(random_state=SEED).fit(X, df['target'])",
    "assert 'r' in X and SEED == 42\nprint(model.score(X, df['target']))",
]


@pytest.mark.kernel
def test_the_iris_notebook_is_split_and_built(tmp_path: Path) -> None:
    notebook(tmp_path, IRIS)
    nbpipe("split", "mono.ipynb", cwd=tmp_path)
    assert "4 executed" in nbpipe("build", cwd=tmp_path)
    assert "1.0" in (tmp_path / "output" / "step-d.ipynb").read_text()
