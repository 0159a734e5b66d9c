"""pipeline.yaml: what is read, what is refused and in which words."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpipe.core.model import Kernels, Location, Meta, Resources, Spec, Task
from nbpipe.errors import SpecError, UsageError
from nbpipe.store.specfile import (
    check_sources,
    find_spec,
    json_schema,
    kind_of,
    parse_spec,
    read_spec,
    spec_keys,
    spec_text_with_task,
)

FULL = """\
# everything that a spec may say
meta:
  extract_upstream: false
  product_relative_to_source: no

tasks:
  - source: scripts/load.py
    product: {nb: output/load.ipynb, data: output/load.csv}
    params:
      seed: 1
      rate: 0.5
      names: [a, b]
      deep: {"on": [true, null]}
  - source: tasks.clean.run
    name: clean it
    product: output/../output/clean.csv
    upstream: [load, load]
    timeout: 10 min
    retries: 2
    resources: {cpu: 2, gpu: 1, memory: 2G}
    group: features
  - source: report.Rmd
    upstream: clean*
    kernelspec_name: ir
    timeout: 90
"""


def parse(text: str | bytes) -> Spec:
    return parse_spec(text if isinstance(text, bytes) else text.encode(), "pipeline.yaml")


def refusal(text: str | bytes) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert caught.value.exit_code == 2
    return str(caught.value)


def one(entry: str, meta: str = "") -> Task:
    lines = "".join(f"    {line}\n" for line in entry.splitlines())
    return parse(f"{meta}tasks:\n  -\n{lines}").tasks[0]


@pytest.fixture(params=["C", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With libyaml and without."""
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    return str(request.param)


# --- what is read ---------------------------------------------------------------------------


def test_every_key_arrives(parser: str) -> None:
    """Values are converted, defaults filled in, and each task knows where it stands."""
    spec = parse(FULL)
    assert spec.meta == Meta(extract_upstream=False)
    assert spec.tasks == (
        Task(
            name="load",
            source="scripts/load.py",
            product={"nb": "output/load.ipynb", "data": "output/load.csv"},
            params={"seed": 1, "rate": 0.5, "names": ["a", "b"], "deep": {"on": [True, None]}},
            upstream=(),
            at=Location("pipeline.yaml", 7, 5),
        ),
        Task(
            name="clean it",
            source="tasks.clean.run",
            kind="function",
            product="output/clean.csv",
            upstream=("load",),
            timeout=600.0,
            retries=2,
            resources=Resources(cpu=2, gpu=1, memory=2_000_000_000),
            group="features",
            at=Location("pipeline.yaml", 14, 5),
        ),
        Task(
            name="report",
            source="report.Rmd",
            upstream=("clean*",),
            timeout=90.0,
            kernel="ir",
            at=Location("pipeline.yaml", 22, 5),
        ),
    )


def test_a_bare_list_of_tasks_is_a_spec() -> None:
    """Ploomber allows it."""
    assert [task.name for task in parse("- source: a.py\n- source: b.py\n").tasks] == ["a", "b"]


def test_a_pipeline_may_have_no_task_yet() -> None:
    """So that the first can be added from a notebook."""
    assert parse("tasks: []").tasks == ()
    assert parse("tasks:\n").tasks == ()


def test_anchors_aliases_and_merges_work(parser: str) -> None:
    """An explicit key wins over a merged one, an earlier merge over a later one."""
    task = one("source: a.py\nparams:\n  a: &a {x: 1, y: 2}\n  b: {x: 3, <<: *a}\n  c: *a")
    assert task.params == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 1, "y": 2}}
    lists = one("source: a.py\nparams: {a: &a {x: 1}, b: &b {x: 2, z: 3}, c: {<<: [*a, *b]}}")
    assert lists.params["c"] == {"x": 1, "z": 3}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("fit.py", "notebook"),
        ("tasks.md", "notebook"),
        ("a.b.ipynb", "notebook"),
        ("../up/fit.R", "notebook"),
        ("fit.r", "notebook"),
        ("fit.Rmd", "notebook"),
        ("fit.qmd", "notebook"),
        ("tasks.clean.run", "function"),
        ("module.function", "function"),
        ("modül.fünktion", "function"),
        ("my-module.run", None),
        ("tasks/clean.run", None),
        ("query.sql", "script"),
        ("run.sh", "script"),
        ("function", None),
        (".py", None),
        ("a..b", None),
    ],
)
def test_the_looks_of_a_source_tell_how_it_runs(source: str, kind: str | None) -> None:
    """A known suffix is a script; a dotted name of identifiers is a function."""
    assert kind_of(source) == kind


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("90s", 90),
        ("10 min", 600),
        ("2h", 7200),
        ("1h 30m", 5400),
        ("2 hours", 7200),
        ("1 day", 86400),
        ("0.5 h", 1800),
    ],
)
def test_a_timeout_is_seconds_or_has_a_unit(text: str, seconds: float) -> None:
    """Units s, min, h and day, in the usual spellings."""
    assert one(f"source: a.py\ntimeout: {text}").timeout == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024", 1024),
        ("2G", 2 * 10**9),
        ("2GB", 2 * 10**9),
        ("512Mi", 512 * 2**20),
        ("1.5 KiB", 1536),
        ("'100'", 100),
    ],
)
def test_memory_is_bytes_or_has_a_unit(text: str, size: int) -> None:
    """G is a power of 1000, Gi of 1024."""
    assert one(f"source: a.py\nresources: {{memory: {text}}}").resources.memory == size


@pytest.mark.parametrize(
    ("source", "product", "path"),
    [
        ("scripts/a.py", "out/a.ipynb", "scripts/out/a.ipynb"),
        ("scripts/a.py", "../out/a.ipynb", "out/a.ipynb"),
        ("a.py", "out//./a.ipynb", "out/a.ipynb"),
        ("scripts/a.py", "/abs/a.ipynb", "/abs/a.ipynb"),
        ("steps.clean.run", "a.csv", "steps/a.csv"),
    ],
)
def test_products_can_be_relative_to_their_source(source: str, product: str, path: str) -> None:
    """They are rewritten relative to the root and normalised."""
    meta = "meta: {product_relative_to_source: true}\n"
    assert one(f"source: {source}\nproduct: {product}", meta).product == path
    assert one(f"source: {source}\nproduct: {{x: {product}}}", meta).product == {"x": path}


def test_huge_numbers_survive() -> None:
    """Integers beyond 64 bits are read exactly."""
    assert one(f"source: a.py\nparams: {{n: {10**40}}}").params == {"n": 10**40}


# --- what is refused ------------------------------------------------------------------------


def test_all_problems_are_reported_at_once_each_with_its_place() -> None:
    """A problem is a place, a key path and a sentence, and its hint is a second line."""
    text = "tasks:\n  - sorce: a.py\n  - source: b.py\n    product: 1.10\n    retries: -1\n"
    assert refusal(text).splitlines() == [
        "pipeline.yaml:2:5: tasks[0].sorce: unknown key 'sorce'",
        "  hint: did you mean 'source'?",
        "pipeline.yaml:2:5: tasks[0]: key 'source' is missing",
        "  hint: add 'source:'",
        "pipeline.yaml:4:14: tasks[1].product: must be text or a mapping or a list,"
        " but 1.10 is read as the number 1.1",
        '  hint: quote it: "1.10"',
        "pipeline.yaml:5:14: tasks[1].retries: must be 0 or more, not -1",
    ]


A = "tasks:\n- source: a.py\n"
B = A + "- source: b.py\n"

REFUSED = [
    (A + "  client: {}", "3:11: tasks[0].client: key 'client' means nothing for this task"),
    (A + "clients: {SQL: a.b}", "3:16: clients.SQL: there is no class 'SQL'"),
    (
        A + "meta: {kernel: python3}",
        "meta.kernel: key 'kernel' is not supported yet\n  hint: write 'kernel' in each task",
    ),
    ("tasks:\n- source: q.sql", "2:11: tasks[0].source: has no client"),
    ("tasks:\n- source: a b", "'a b' is neither a script nor a function"),
    (A + "  timeout: soon", "3:12: tasks[0].timeout: 'soon' is no duration"),
    (A + "  timeout: 0", "must be more than 0, not 0"),
    (A + "  timeout: 0s", "'0s' is no duration"),
    (A + f"  timeout: {'9' * 400}", "is too large"),
    (A + "  resources: {memory: 2 X}", "tasks[0].resources.memory: '2 X' is no size"),
    (A + "  resources: {cpu: -1}", "tasks[0].resources.cpu: must be more than 0, not -1"),
    (A + "  upstream: b", "3:13: tasks[0].upstream: the source itself declares its upstream"),
    (A + "  kernel: a\n  kernelspec_name: b", "kernelspec_name: means the same as 'kernel'"),
    (A + "  params: {upstream: 1}", "tasks[0].params.upstream: 'upstream' is a variable that"),
    (b"tasks: []\n# caf\xe9", "2:6: byte 0xe9 is not UTF-8"),
    (b"tasks: []\na\0b: 1", "2:2: the character U+0000 is not allowed"),
    ("x" * 5_000_001, "larger than 5,000,000 bytes"),
]


@pytest.mark.parametrize(("text", "says"), REFUSED, ids=lambda value: str(value)[-50:])
def test_what_is_wrong_is_said_with_its_place(text: str | bytes, says: str, parser: str) -> None:
    """One sentence each; what the fault tables name is tested in ``faults/test_spec.py``."""
    if parser == "python" and "YAML syntax" in says:
        says = "YAML syntax"  # libyaml and PyYAML place it a little differently
    assert says in refusal(text)


def test_a_flood_of_problems_is_cut() -> None:
    """A hundred are listed and the rest counted."""
    error = refusal("tasks: [" + "a, " * 1000 + "]")
    assert len(error.splitlines()) == 101
    assert error.endswith("pipeline.yaml: and 900 more problems")


def test_a_thousand_tasks_are_read_quickly() -> None:
    """About 25 ms; the bound leaves room for a busy machine."""
    rows = (f"  - source: scripts/t{i}.py\n    product: out/t{i}.ipynb\n" for i in range(1000))
    text = "tasks:\n" + "".join(rows)
    start = time.process_time()
    assert len(parse(text).tasks) == 1000
    assert time.process_time() - start < 0.5


WORDS = ["tasks", "meta", "source", "name", "product", "params", "<<", "x.py", "a.b", "no", "1:30"]
SCALARS = st.sampled_from(WORDS) | st.text(max_size=5) | st.integers() | st.none() | st.floats()
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCALARS, inner, max_size=4),
    max_leaves=15,
)
SNIPPETS = [
    "tasks:",
    "\n",
    "  ",
    "- ",
    "source: a.py",
    "&a ",
    "*a",
    "<<: ",
    "[",
    "]",
    "{",
    "}",
    ",",
]
SNIPPETS += [
    "!!int ",
    "! ",
    "? ",
    ": ",
    "|\n",
    ">",
    "'",
    '"',
    "#",
    "---",
    "...",
    "%YAML 1.1",
    "\t",
    "~",
]


def survives(data: bytes) -> None:
    problems = None
    try:
        parse_spec(data, "pipeline.yaml")
    except SpecError as error:
        problems = error.problems
    assert problems != ()
    assert all(len(f"{p.key}{p.message}{p.hint}".splitlines()) == 1 for p in problems or ())


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
def test_arbitrary_bytes_raise_nothing_but_spec_errors(data: bytes) -> None:
    """Whatever is in the file, the answer is a spec or a SpecError."""
    survives(data)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(SNIPPETS), max_size=25).map("".join))
def test_arbitrary_yaml_raises_nothing_but_spec_errors(text: str) -> None:
    """The same of text that YAML's own marks are strewn over."""
    survives(text.encode())


@given(TREES | st.lists(TREES).map(lambda rows: {"tasks": rows}))
def test_arbitrary_structures_raise_nothing_but_spec_errors(tree: Any) -> None:
    """The same of well-formed YAML of any shape."""
    survives(yaml.safe_dump(tree, allow_unicode=True).encode())


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(-1e9, 1e9),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
        max_size=3,
    ).filter(lambda params: not params.keys() & {"upstream", "product"})
)
def test_json_like_params_come_back_as_they_were(params: dict[str, Any]) -> None:
    """Every JSON-like value survives being written and read."""
    text = spec_text_with_task("", {"source": "a.py", "params": params})
    assert parse(text).tasks[0].params == params


# --- files ----------------------------------------------------------------------------------


def test_a_spec_is_found_from_a_folder_below(tmp_path: Path) -> None:
    """Upward from where one stands; a file is taken as it is."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    file = tmp_path / "pipeline.yaml"
    file.write_text("tasks: []")
    (tmp_path / "a" / "pipeline.yaml").mkdir()  # a folder of that name is not the spec
    assert find_spec(below) == find_spec(file) == file


@pytest.mark.parametrize("path", ["", "nothing.yaml", "a\0b"])
def test_a_file_that_cannot_be_read_is_a_spec_error(tmp_path: Path, path: str) -> None:
    """A folder, a missing file, an impossible name."""
    with pytest.raises(SpecError):
        read_spec(tmp_path / path)


def project(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "pipeline.yaml"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("scripts/fit.py", None),
        ("tasks.clean.run", None),
        ("tasks.clean.chosen", None),
        ("tasks.clean.imported", None),
        ("tasks.clean.assigned", None),
        ("package.run", None),
        ("star.anything", None),
        ("broken.run", None),  # that task alone will fail
        ("tasks.clean.method", "'tasks/clean.py' has no function 'method'"),
        ("tasks.clean.inner", "'tasks/clean.py' has no function 'inner'"),
    ],
)
def test_sources_must_exist(tmp_path: Path, source: str, says: str | None) -> None:
    """Functions are looked for without importing their module."""
    clean = (
        "raise SystemExit('imported!')\nfrom os import sep as imported\nassigned = print\n"
        "def run():\n    def inner(): '\\d'\nclass A:\n    def method(self): ...\n"
        "try:\n    import x\nexcept ImportError:\n    def chosen(): ...\n"
    )
    files = {"scripts/fit.py": "", "folder.py/x": "", "tasks/clean.py": clean}
    files |= {"package/__init__.py": "def run(): ...", "star.py": "from os import *"}
    files |= {"broken.py": "def run(:", "pipeline.yaml": f"tasks:\n  - source: {source}\n"}
    path = project(tmp_path, files)
    spec = read_spec(path, sources=False)
    if says is None:
        assert read_spec(path) == spec
        assert check_sources(spec, tmp_path) == []
        return
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert f"pipeline.yaml:2:13: tasks[0].source: {says}" in str(caught.value).replace("\\", "/")
    (problem,) = check_sources(spec, tmp_path)
    assert says in f"{problem.message}\n  hint: {problem.hint}"
    assert (problem.line, problem.key) == (2, "tasks[0].source")


# --- writing --------------------------------------------------------------------------------

NEW = {"source": "new.py", "product": {"nb": "out/new.ipynb"}, "params": {"a": ["no", 1, None]}}
ROWS = """- source: new.py
  product:
    nb: out/new.ipynb
  params:
    a:
    - 'no'
    - 1
    - null
"""


def indented(by: int) -> str:
    return "".join(" " * by + line + "\n" for line in ROWS.splitlines())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("", "tasks:\n" + indented(2), id="empty"),
        pytest.param("# c\n", "# c\ntasks:\n" + indented(2), id="comment only"),
        pytest.param("tasks: []  # c\n", "tasks:  # c\n" + indented(2), id="empty list"),
        pytest.param("tasks:\nmeta: {}", "tasks:\n" + indented(2) + "meta: {}", id="null"),
        pytest.param("meta: {}", "meta: {}\ntasks:\n" + indented(2), id="no tasks key"),
        pytest.param(A, A + ROWS, id="not indented"),
        pytest.param("- source: a.py", "- source: a.py\n" + ROWS, id="bare list, no line end"),
        pytest.param(
            "# top\ntasks:\n   # one\n   - source: a.py  # x\n     # still a\n\n# end\nmeta: {}\n",
            "# top\ntasks:\n   # one\n   - source: a.py  # x\n     # still a\n"
            + indented(3)
            + "\n# end\nmeta: {}\n",
            id="comments",
        ),
        pytest.param(
            "tasks:\n  - {source: a.py,\n     name: b}\n",
            "tasks:\n  - {source: a.py,\n     name: b}\n" + indented(2),
            id="flow item",
        ),
        pytest.param(
            "tasks:\n  - source: a.py\n\n  - source: b.py\n",
            "tasks:\n  - source: a.py\n\n  - source: b.py\n\n" + indented(2),
            id="tasks apart",
        ),
        pytest.param(
            "tasks:\r\n- source: a.py\r\n",
            "tasks:\r\n- source: a.py\r\n" + ROWS.replace("\n", "\r\n"),
            id="CRLF",
        ),
        pytest.param(
            "\ufefftasks:\n- source: a.py\n", "\ufefftasks:\n- source: a.py\n" + ROWS, id="BOM"
        ),
    ],
)
def test_a_task_is_appended_and_the_rest_stays(before: str, after: str) -> None:
    """Comments, indentation and line ends are those of the file."""
    assert spec_text_with_task(before, NEW) == after
    assert parse(after).tasks[-1].params == NEW["params"]


@pytest.mark.parametrize("replace", ["a", "b", "c"])
def test_a_task_is_replaced_and_the_rest_stays(replace: str) -> None:
    """Only the lines of that task change: not the comments around it, not the empty lines."""
    items = {
        "a": "  - source: a.py\n    group: |-\n      g\n",
        "b": "  -\n    source: b.py\n",
        "c": "  - source: c.py\n",
    }
    layout = "tasks:\n{a}  # about b\n{b}\n{c}# end\nmeta:\n"
    before, after = layout.format(**items), layout.format(**items | {replace: indented(2)})
    assert spec_text_with_task(before, NEW, replace=replace) == after


@pytest.mark.parametrize(
    ("text", "entry", "says"),
    [
        ("tasks: [{source: a.py}]", NEW, "1:8: tasks: this list of tasks cannot be extended"),
        (
            "tasks: [\n]",
            NEW,
            "cannot be extended without rewriting it\n  hint: write it as a block",
        ),
        ("{tasks: }", NEW, "cannot be extended"),
        ("hello", NEW, "must be a mapping"),
        ("&a ", NEW, "the file is empty"),
        ("[]", NEW, "cannot be extended"),
        ("tasks: x", NEW, "tasks: must be a list"),
        (A, {"source": "x/a.py"}, "the name 'a' is taken by the task on line 2"),
        (A, {"source": "b.py", "nmae": "x"}, "unknown key 'nmae'"),
        (A, {"source": "b.py", "params": {"x": object()}}, "cannot be written as YAML"),
        ("tasks: [", NEW, "YAML syntax"),
        ("tasks: []\n...\n", {"source": "b.py"}, ""),
    ],
)
def test_an_edit_that_would_go_wrong_is_refused(text: str, entry: Any, says: str) -> None:
    """The new text is read again before it is handed out."""
    if not says:
        assert parse(spec_text_with_task(text, entry)).tasks[0].name == "b"
        return
    with pytest.raises(SpecError) as caught:
        spec_text_with_task(text, entry)
    assert says in str(caught.value)


def test_replacing_a_task_that_is_not_there_names_the_nearest() -> None:
    """A usage error, as everywhere a task is asked for by name."""
    with pytest.raises(UsageError, match="did you mean 'a'"):
        spec_text_with_task(A, NEW, replace="aa")


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=2))
def test_any_name_and_params_can_be_written_or_are_refused(name: str, params: Any) -> None:
    """Quoting is never the caller's business."""
    entry = {"source": "b.py", "name": name, "params": params}
    try:
        text = spec_text_with_task(A + "# end\n", entry)
    except SpecError:
        return
    first, second = parse(text).tasks
    assert (first.name, second.name, second.params) == ("a", name, params)


# --- the shape ------------------------------------------------------------------------------


SHAPES = (
    *("SpecFile", "MetaEntry", "SourceLoaderEntry", "KernelsEntry", "ConfigEntry"),
    *("TaskEntry", "ResourcesEntry"),
)


def test_the_schema_describes_every_key() -> None:
    """What an editor shows is made of the types that the reader checks with."""
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for key, names in zip(spec_keys(), SHAPES, strict=True):
        properties = schema["$defs"][names]["properties"]
        assert set(properties) == set(spec_keys()[key])
        assert all(one["description"].endswith(".") for one in properties.values())


def test_the_schema_accepts_what_the_reader_accepts() -> None:
    """A full spec and a bare list are valid; a typing error is not."""
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.check_schema(json_schema())
    assert validator.is_valid(yaml.safe_load(FULL))
    assert validator.is_valid([{"source": "a.py"}])
    assert not validator.is_valid({"tasks": [{"sorce": "a.py"}]})
    assert not validator.is_valid({"tasks": [{"source": "a.py", "retries": -1}]})


def test_the_sections_and_their_keys() -> None:
    """The documentation is compared with these."""
    keys = spec_keys()
    sections = ["", "meta", "meta.source_loader", "meta.kernels", "config", "tasks[]"]
    sections.append("tasks[].resources")
    assert list(keys) == sections
    assert keys[""][:2] == ("tasks", "meta")
    assert keys["tasks[]"][:3] == ("source", "name", "product")
    assert keys["tasks[].resources"] == ("cpu", "gpu", "memory")
    assert {"source", "name", "product", "kernel"} <= set(keys["tasks[]"])


def test_kernels_start_as_the_spec_says() -> None:
    """Nothing said, nothing decided; an empty list preloads nothing."""
    assert parse(A).meta.kernels == Kernels()
    said = parse("meta: {kernels: {start: cold, preload: []}}\n" + A)
    assert said.meta.kernels == Kernels(start="cold", preload=())


@pytest.mark.parametrize(
    ("kernels", "key", "hint"),
    [
        ("{start: forkk}", "meta.kernels.start", "did you mean 'fork'?"),
        ("{strat: cold}", "meta.kernels.strat", "did you mean 'start'?"),
        ("{preload: ['a b']}", "meta.kernels.preload[0]", "such as sklearn.svm"),
    ],
)
def test_a_wrong_way_to_start_kernels_is_told(kernels: str, key: str, hint: str) -> None:
    """With its place and the nearest right word."""
    with pytest.raises(SpecError) as caught:
        parse(f"meta: {{kernels: {kernels}}}\n{A}")
    (problem,) = caught.value.problems
    assert (problem.key, problem.hint) == (key, hint)


def test_looking_for_a_spec_imports_no_yaml() -> None:
    """A command that only needs to find it does not pay for the parser."""
    code = "import sys, nbpipe.store.specfile; assert 'yaml' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
