"""Rows 1 to 17: a spec or a source that is wrong is told with its place, and nothing runs."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nbpipe
from nbpipe.store.specfile import parse_spec
from tests.cli import ENV
from tests.cli import nbpipe as shell
from tests.faults.rig import files
from tests.test_specfile import FULL

A = "tasks:\n- source: a.py\n"
B = A + "- source: b.py\n"

ONE = [
    ("", "pipeline.yaml: the file is empty\n  hint: list the steps under 'tasks:'"),
    ("# nothing but a comment\n", "pipeline.yaml: the file is empty"),
    ("---\n", "pipeline.yaml: the file is empty"),
    ("hello", "pipeline.yaml:1:1: must be a mapping, not the text 'hello'"),
    ("meta: [a]\ntasks: []", "1:7: meta: must be a mapping, not a list"),
    ("meta: {}\n", "pipeline.yaml:1:1: key 'tasks' is missing"),
    ("tasks: {source: a.py}", "1:8: tasks: must be a list, not a mapping"),
    ("tasks: [a.py]", "1:9: tasks[0]: must be a mapping, not the text 'a.py'"),
    (A + "  product: [a]", "3:12: tasks[0].product: is a list, but the product is a File"),
]

TWO = [
    ("tasks: [", "pipeline.yaml:1:9: YAML syntax"),
    ("tasks:\n- source: a: b", "2:12: YAML syntax: mapping values are not allowed"),
    ("tasks: @a", "1:8: YAML syntax"),
    ("tasks:\n\t- source: a.py", "2:1: a tab in the indentation\n  hint: indent with spaces"),
    ("tasks: []\n---\ntasks: []", "2:1: a second document"),
]

THREE = [
    ("tasks: []\n\ntasks: []", "3:1: tasks: duplicate key 'tasks': it is already on line 1"),
    (A + "  source: b.py", "3:3: tasks[0].source: duplicate key 'source': it is already on line 2"),
]

FOUR = [
    ("tasks: !!python/object/apply:os.getcwd []", "1:8: tasks: the tag '!!python/object/apply"),
    (A + "  name: !mine x", "3:9: tasks[0].name: the tag '!mine' is not allowed"),
    (A + "  params: {a: !!set {b}}", "3:15: tasks[0].params.a: the tag '!!set' is not allowed"),
]

SIX = [
    (A + "  name: no", 'must be text, but no is read as false\n  hint: quote it: "no"'),
    (A + "  name: on", 'but on is read as true\n  hint: quote it: "on"'),
    (A + "  name: 1.10", 'but 1.10 is read as the number 1.1\n  hint: quote it: "1.10"'),
    (A + "  name: 12:30", 'a number in base 60\n  hint: quote it: "12:30"'),
    (A + "  name: 2024-01-01", 'is read as a date\n  hint: quote it: "2024-01-01"'),
    (A + "  name: ~", 'is read as nothing\n  hint: quote it: "~"'),
    (A + "  name:", "tasks[0].name: is empty"),
    (A + "  params: {start: 2024-01-01}", "tasks[0].params.start: must be a JSON-like value"),
    (A + "  params: {at: 12:30}", 'hint: quote it: "12:30"'),
    (A + "  params: {a: .nan}", 'hint: quote it: ".nan"'),
    (A + "  params: {a: .inf}", 'hint: quote it: ".inf"'),
    (A + "  params: {a: 0b_}", "a malformed int"),
    (A + "  params: {1: x}", "3:12: tasks[0].params: the key '1' is read as a number"),
    (A + "  params: {yes: x}", 'hint: quote it: "yes"'),
    (A + "  params: {[1]: x}", "a list or a mapping as a key"),
    (A + "  retries: '2'", "must be a whole number, not the text '2'\n  hint: remove the quotes"),
    (A + "  retries: true", "must be a whole number, but true is read as true"),
    (A + "  retries: 1.5", "must be a whole number"),
]

SEVEN = [
    ("task: []", "1:1: task: unknown key 'task'\n  hint: did you mean 'tasks'?"),
    (
        A + "  produt: x",
        "3:3: tasks[0].produt: unknown key 'produt'\n  hint: did you mean 'product'?",
    ),
    (A + "  extract_upstream: false", "does not belong here\n  hint: it belongs in 'meta'"),
    (
        A + "  resources: {gpus: 1}",
        "tasks[0].resources.gpus: unknown key 'gpus'\n  hint: did you mean",
    ),
]

TEN = [
    (A + "- source: x/a.py", "3:11: tasks[1].source: the name 'a' is taken by the task on line 2"),
    (B + "  name: a", "4:9: tasks[1].name: the name 'a' is taken by the task on line 2"),
]

ELEVEN = [
    (
        A + "  product: out/a.csv\n- source: b.py\n  product: {x: ./out//a.csv}",
        "5:16: tasks[1].product.x: 'out/a.csv' is already the product on line 3",
    ),
    (A + "  product: {x: a, y: a}", "tasks[0].product.y: 'a' is already the product on line 3"),
    (B + "  product: ./a.py", "4:12: tasks[1].product: 'a.py' is the source of a task"),
    (A + "  product: pipeline.yaml", "tasks[0].product: is this file itself"),
    (A + "  product: ''", "tasks[0].product: is empty"),
    (A + "  product: {}", "tasks[0].product: is empty"),
    (A + "  product: {'': x}", "a product needs a printable name"),
    (A + "  product: .", "'.' is a folder that holds the pipeline itself"),
    (A + "  product: ../..", "'../..' is a folder that holds the pipeline itself"),
]

FIFTEEN = [
    (A + "  name: -x", "the name '-x' looks like an option"),
    (A + "  name: ' x'", "the name ' x' begins or ends with a space"),
    (A + "  name: a/b", "contains '/', a path separator"),
    (A + "  name: a\\\\b", "a path separator"),
    (A + "  name: a*", "contains '*', a wildcard"),
    (A + '  name: "a\\nb"', "has a line end or a control character"),
    (A + '  name: "a\\0b"', "has a line end or a control character"),
    (A + f"  name: {'é' * 101}", "is longer than 200 bytes"),
]


def cases(table: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """A test for each text, named by its end."""
    return pytest.mark.parametrize(("text", "says"), table, ids=[text[-40:] for text, _ in table])


def told(text: str, says: str, parser: str, refusal) -> None:
    """The text is refused in these words; the two parsers place a syntax error differently."""
    if parser == "python" and "YAML syntax" in says:
        says = "YAML syntax"
    said = refusal(text)
    assert says in said
    assert said.startswith("pipeline.yaml:")


def test_01_without_a_pipeline_the_folders_that_were_searched_are_told(project, refusal):
    said = refusal()
    searched = ", ".join(str(folder) for folder in (project.root, *project.root.parents))
    assert said == (
        f"pipeline.yaml: not found; searched {searched}\n"
        "  hint: 'nbpipe scaffold NAME' makes a new project, 'nbpipe demo' shows one\n"
    )


def test_01_a_file_that_is_asked_for_and_not_there_is_told(cli):
    assert "nothing.yaml: no such file or folder\n  hint: " in cli(
        "build", "-e", "nothing.yaml", code=2
    )


@cases(ONE)
def test_01_an_empty_spec_or_one_of_another_shape_is_refused(text, says, parser, refusal):
    told(text, says, parser, refusal)


@cases(TWO)
def test_02_a_syntax_error_has_line_and_column(text, says, parser, refusal):
    told(text, says, parser, refusal)
    assert re.match(r"pipeline\.yaml:\d+:\d+: ", refusal(text))


@cases(THREE)
def test_03_a_duplicate_key_names_both_lines(text, says, parser, refusal):
    told(text, says, parser, refusal)


@cases(FOUR)
def test_04_a_tag_is_refused(text, says, parser, refusal):
    told(text, says, parser, refusal)


@pytest.mark.parametrize("call", ["os.mkdir ['{}']", "builtins.open ['{}', w]"])
def test_04_a_tag_of_a_stranger_runs_nothing(call, parser, refusal, tmp_path_factory):
    trap = tmp_path_factory.mktemp("trap") / "sprung"
    refusal(f"tasks: !!python/object/apply:{call.format(trap)}")
    refusal(f"{A}  params: {{a: !!python/object/apply:{call.format(trap)}}}")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tasks: &a [*a]", "1:12: tasks[0]: '*a' contains itself"),
        ("tasks: *a", "1:8: tasks: '*a' names no anchor"),
    ],
)
def test_05_an_alias_that_leads_nowhere_is_refused(text, says, parser, refusal):
    told(text, says, parser, refusal)


LINKS = range(1, 30)

BOMBS = {
    "brackets": "tasks: " + "[" * 5000,
    "braces": "{a: " * 5000,
    "dashes": "- " * 5000,
    "keys": "? " * 5000,
    "aliases": "a0: &a0 [x, x]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in LINKS),
    "merges": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in LINKS),
    "chain": "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 3000)),
    "recursive": "tasks: &a\n- source: x.py\n  params: {a: *a}",
}

FLOODS = {
    "one task many times": "tasks: [&a {source: x.py}" + ", *a" * 60_000 + "]",
    "many missing sources": "tasks:\n" + "".join(f"- {{source: m{i}.py}}\n" for i in range(20_000)),
    "many values": "tasks: [" + "a, " * 1_000_000 + "]",
    "many keys": "".join(f"k{i}: 1\n" for i in range(100_000)),
    "one key many times": "a: 1\n" * 100_000,
    "one long key": "? " + "b" * 4_000_000 + "\n: 1",
    "many lines": ",\n" * 2_000_000,
}

DETONATE = r"""
import re, sys, time
from pathlib import Path
from nbpipe.cli.process import settle
settle()  # as every command does
from nbpipe.cli.app import run
code = run(["build"])
# Not ru_maxrss, which begins with what the parent had at its peak.
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]
print(code, time.process_time(), peak)
"""


@pytest.mark.process
@pytest.mark.parametrize("bomb", [*BOMBS, *FLOODS])
def test_05_a_bomb_is_refused_within_1_s_and_200_mb_and_in_few_words(bomb, tmp_path):
    """The time is the processor's, of the whole process, so that a busy machine counts little.

    A flood is as large as a spec may be, and takes 0.9 s at most where nothing else runs.
    """
    (tmp_path / "pipeline.yaml").write_text((BOMBS | FLOODS)[bomb])
    done = subprocess.run(
        [sys.executable, "-c", DETONATE],
        cwd=tmp_path,
        env=ENV,
        capture_output=True,
        check=True,
        timeout=60,
    )
    code, seconds, kilobytes = (float(word) for word in done.stdout.split())
    assert code == 2
    assert seconds < (1 if bomb in BOMBS else 2)
    assert kilobytes < 200_000
    assert len(done.stderr) < 30_000
    assert done.stderr.startswith((b"pipeline.yaml:", b": "))
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.yaml"]


@cases(SIX)
def test_06_what_yaml_takes_for_something_else_is_to_be_quoted(text, says, parser, refusal):
    told(text, says, parser, refusal)


@cases(SEVEN)
def test_07_an_unknown_key_is_refused_with_the_nearest(text, says, parser, refusal):
    told(text, says, parser, refusal)


def test_08_a_cycle_is_told_as_a_whole_path(project, refusal):
    for name, upstream in (("a", "c"), ("b", "a"), ("c", "b")):
        project.task(name, [upstream])
    said = refusal()
    place, path = re.fullmatch(
        r"pipeline\.yaml:(\d+):3: cycle: (.+)\n  hint: a task cannot wait for itself: "
        r"remove one of these upstreams\n",
        said,
    ).groups()
    names = path.split(" → ")
    assert (names[0], sorted(names[1:])) == (names[-1], ["a", "b", "c"])
    entry = project.read("pipeline.yaml").splitlines()[int(place) - 1]
    assert entry == f"- source: {names[0]}.py"


def test_08_a_task_upstream_of_itself_is_a_cycle(project, refusal):
    project.task("a", ["a"])
    assert "cycle: a → a\n  hint: " in refusal()


def test_09_an_unknown_upstream_names_script_line_and_the_nearest(project, refusal):
    project.task("get")
    project.task("fit", ["gett"])
    assert refusal() == (
        "fit.py:2:13: upstream 'gett' of task 'fit': no such task\n  hint: did you mean 'get'?\n"
    )


def test_09_all_unknown_upstreams_are_told_at_once(project, refusal):
    project.task("get", ["x"])
    project.task("fit", ["y", "z*"])
    lines = refusal().splitlines()[::2]
    assert [line.split(":")[0] for line in lines] == ["get.py", "fit.py", "fit.py"]
    assert "pattern matches no task" in lines[2]


@cases(TEN)
def test_10_two_tasks_of_one_name_are_told_with_both_lines(text, says, parser, refusal):
    told(text, says, parser, refusal)


@cases(ELEVEN)
def test_11_two_tasks_with_one_product_path_are_told_with_both_lines(text, says, parser, refusal):
    told(text, says, parser, refusal)


TWELVE = [
    ("scripts/fti.py", "no file 'scripts/fti.py'\n  hint: did you mean 'scripts/fit.py'?"),
    ("gone.py", "no file 'gone.py'\n  hint: check the path; 'nbpipe scaffold' creates"),
    ("folder.py", "'folder.py' is a folder, not a file\n  hint: name a script in it"),
    ("tasks.gone.run", "no module 'tasks.gone'\n  hint: create 'tasks/gone.py'"),
    ("tasks.clean.rum", "'tasks/clean.py' has no function 'rum'\n  hint: did you mean 'run'?"),
]


@cases(TWELVE)
def test_12_a_source_that_is_missing_or_a_folder_is_refused(text, says, project, refusal):
    for name in ("scripts/fit.py", "folder.py/x"):
        project.write(name, "")
    project.write("tasks/clean.py", "raise SystemExit('imported!')\ndef run():\n    pass\n")
    said = refusal(f"tasks:\n  - source: {text}\n")
    assert said.startswith(f"pipeline.yaml:2:13: tasks[0].source: {says}")


def test_12_missing_sources_and_other_problems_come_together(refusal):
    said = refusal("tasks:\n- source: gone.py\n- sorce: b.py\n")
    assert re.search(r"(?s)no file 'gone.py'.*unknown key 'sorce'", said)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.py", "# %%\nx\n# %% tags=parameters\nupstream = None\n", 3),
        ("a.py", '# %%\nx\n# %% tags="parameters"\nupstream = None\n', 3),
        ("a.py", '# %%\nx\n# %% tags=["parameters"\nupstream = None\n', 3),
        ("a.py", "x = 1\n\n# + tags=parameters\nupstream = None\n# -\n", 3),
        ("a.md", "# x\n\n```python tags=parameters\nupstream = None\n```\n", 3),
        ("a.md", '# x\n\n```python tags="parameters"\nupstream = None\n```\n', 3),
        ("a.md", "# x\n\n```{code-cell}\n:tags: parameters\nupstream = None\n```\n", 4),
        ("a.Rmd", '# x\n\n```{r tags="parameters"}\nupstream = NULL\n```\n', 3),
    ],
)
def test_13_tags_that_are_no_list_are_told_with_file_and_line(name, text, line, project, refusal):
    project.write(name, text)
    said = refusal(f"tasks: [{{source: {name}}}]")
    assert said.startswith(f"{name}:{line}: ")
    assert 'tags=["parameters"]' in said


def test_13_tags_of_a_notebook_that_are_no_list_are_told_with_their_cell(project, refusal):
    cell = {"cell_type": "code", "metadata": {"tags": "parameters"}, "source": "x", "id": "one"}
    cell |= {"outputs": [], "execution_count": None}
    text = json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    project.write("a.ipynb", text)
    said = refusal("tasks: [{source: a.ipynb}]")
    assert said.startswith('a.ipynb: cell 1: its tags are "parameters"')
    assert "hint: " in said


@pytest.mark.process
@pytest.mark.parametrize("where", ["the spec", "the script"])
def test_14_an_unknown_kernel_is_refused_before_anything_starts_or_is_written(diamond, where):
    if where == "the spec":
        diamond.tasks[3]["kernel"] = "pyhton3"
        diamond.save()
    else:
        head = "# ---\n# jupyter:\n#   kernelspec:\n#     name: pyhton3\n# ---\n\n"
        diamond.write("fit.py", head + diamond.read("fit.py"))
    before = files(diamond.root)
    said = shell("build", cwd=diamond.root, code=2)
    assert re.match(r"pipeline\.yaml:\d+:\d+: task 'fit': there is no Jupyter kernel 'pyh", said)
    assert "hint: did you mean 'python3'?" in said
    assert files(diamond.root) == before


def test_14_a_kernelspec_without_a_display_name_is_repaired_silently(project, cli):
    head = "# ---\n# jupyter:\n#   kernelspec:\n#     name: python3\n# ---\n\n"
    project.task("get")
    project.write("get.py", head + project.read("get.py"))
    made = project.read("get.py")
    assert "warning" not in cli("build")
    (job,) = project.executor.jobs
    assert job.notebook["metadata"]["kernelspec"]["display_name"] == "python3"
    assert project.read("get.py") == made, "the source is left as its author wrote it"


@cases(FIFTEEN)
def test_15_a_name_that_cannot_work_is_refused(text, says, parser, refusal):
    told(text, says, parser, refusal)


NAMES = ["two words", "🚀", "it's", 'say "hi"', "a;touch evil", "$(touch evil)", "`touch evil`"]
NAMES += ["a&b", "<b>", "ünïcode", "|touch evil", ">evil", "a' ; touch evil ; '", "%PATH%", "~"]

FUNCTION = "from pathlib import Path\ndef run(product):\n    Path(product).write_text('made')\n"


def odd_tasks(project) -> None:
    """A function under each of the names; its product and its params have them too."""
    project.write("work.py", FUNCTION)
    project.tasks = [
        {"source": "work.run", "name": name, "product": f"out/{name}.txt", "group": name}
        for name in NAMES
    ]
    project.save()


def test_15_odd_names_work_in_every_command(project, cli):
    odd_tasks(project)
    before = set(files(project.root))
    for args in (["plan"], ["status"], ["plot", "-o", "p.svg"], ["build", "--dry-run"]):
        cli(*args)
    for name in NAMES:
        assert cli("why", name).startswith(f"{name} would run")
        assert cli("task", name, "--source") == FUNCTION
    assert set(files(project.root)) - before == {"p.svg"}
    assert "evil" not in [path.name for path in project.root.rglob("*")]


@pytest.mark.process
def test_15_odd_names_are_built_in_processes_and_reach_no_shell(project):
    odd_tasks(project)
    shell("build", cwd=project.root)
    made = {path.name: path.read_text() for path in (project.root / "out").iterdir()}
    assert made == {f"{name}.txt": "made" for name in NAMES}
    assert "nothing to do" in shell("build", *NAMES, cwd=project.root)
    shell("clean", "--products", "--yes", cwd=project.root)
    assert list((project.root / "out").iterdir()) == []
    assert "evil" not in [path.name for path in project.root.rglob("*")]


@pytest.mark.kernel
def test_15_odd_names_are_built_in_kernels_and_reach_no_shell(project):
    names = ("$(touch evil)", "it's `touch evil` 🚀")
    for name in names:
        project.task(name)
    shell("build", cwd=project.root)
    assert [project.read(f"out/{name}.txt") for name in names] == ["one", "one"]
    assert "evil" not in [path.name for path in project.root.rglob("*")]


def test_15_nothing_in_the_package_starts_a_shell():
    forbidden = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}
    for path in Path(nbpipe.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                assert getattr(node.func, "attr", "") not in forbidden, f"{path}:{node.lineno}"
                named = {keyword.arg for keyword in node.keywords}
                assert "shell" not in named, f"{path}:{node.lineno}"


@pytest.mark.kernel
def test_16_a_syntax_error_fails_its_task_alone_with_script_and_line(diamond):
    diamond.write("sepal.py", diamond.text(["get"], "def broken(:"))
    line = diamond.read("sepal.py").splitlines().index("def broken(:") + 1
    said = shell("build", "-k", "-j", "1", cwd=diamond.root, code=1)
    assert f"✗ sepal: sepal.py:{line} (cell 3)" in said
    assert f"SyntaxError: invalid syntax (sepal.py, line {line})" in said
    for row in (r"^petal +yes", r"^sepal +yes .*✗ SyntaxError", r"^fit +no +⊘ blocked"):
        assert re.search(row, said, re.M), row
    assert sorted(path.name for path in (diamond.root / "out").glob("*.txt")) == [
        "get.txt",
        "petal.txt",
    ]


def test_16_status_and_plot_work_with_a_syntax_error(diamond, cli):
    diamond.write("sepal.py", diamond.text(["get"], "def broken(:"))
    line = diamond.read("sepal.py").splitlines().index("def broken(:") + 1
    said = cli("status")
    assert f"warning: sepal.py:{line}: invalid syntax" in said
    assert re.search(r"^petal +○ new", said, re.M)
    cli("plot", "-o", "p.svg")
    assert (diamond.root / "p.svg").exists()


def test_16_a_module_of_functions_with_a_syntax_error_is_no_fault_of_the_spec(project, cli):
    project.write("broken.py", "def run(:")
    project.tasks = [{"source": "broken.run", "product": "out.txt"}]
    project.save()
    assert "run" in cli("status")


@pytest.mark.process
def test_16_a_function_in_a_broken_module_fails_alone(project):
    project.write("broken.py", "x = 1\ndef run(:")
    project.write("work.py", FUNCTION)
    project.tasks = [
        {"source": "broken.run", "name": "bad", "product": "bad.txt"},
        {"source": "work.run", "name": "good", "product": "good.txt"},
    ]
    project.save()
    said = shell("build", "-k", cwd=project.root, code=1)
    assert "SyntaxError" in said
    assert "broken.py:2" in said
    assert project.read("good.txt") == "made"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text, id="BOM"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"), id="both"),
        pytest.param(lambda text: text.rstrip(), id="no last line end"),
    ],
)
class TestRow17:
    def test_17_the_spec_means_the_same(self, change, parser):
        spec = parse_spec(change(FULL.encode()), "pipeline.yaml")
        assert spec == parse_spec(FULL.encode(), "pipeline.yaml")
        assert len(spec.tasks) == 3

    def test_17_a_built_project_stays_fresh_when_its_files_are_changed_so(
        self, change, diamond, cli
    ):
        cli("build")
        for name in ("pipeline.yaml", "get.py", "fit.py"):
            path = diamond.root / name
            path.write_bytes(change(path.read_bytes()))
        assert "✓ nothing to do: 4 tasks up to date" in cli("build")

    def test_17_files_that_are_so_from_the_start_are_built(self, change, diamond, cli):
        for path in diamond.root.iterdir():
            path.write_bytes(change(path.read_bytes()))
        assert "4 executed, 0 skipped" in cli("build")
        assert diamond.read("out/fit.txt") == "onesepalonepetalone"


@pytest.mark.process
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(table[0][0], id=name)
        for name, table in {
            "01": ONE,
            "02": TWO,
            "03": THREE,
            "04": FOUR,
            "06": SIX,
            "07": SEVEN,
            "10": TEN,
            "11": ELEVEN,
            "12": [("tasks: [{source: gone.py}]", "")],
            "15": FIFTEEN,
        }.items()
    ],
)
def test_a_shell_gets_the_same_words_and_the_same_code(text, project, refusal):
    here = refusal(text)
    assert shell("build", cwd=project.root, code=2) == here
    assert shell("status", cwd=project.root, code=2) == here
