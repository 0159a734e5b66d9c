"""The documentation: complete, true, and built without a warning."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import click
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from nbpipe import errors
from nbpipe.cli.app import COMMANDS, cli
from nbpipe.core import events as ev
from nbpipe.jupyter import parsing
from nbpipe.jupyter.magics import PipelineMagics
from nbpipe.store.specfile import read_spec, spec_keys

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)
BY_HAND = [p for p in PAGES if p.parent.name in ("tutorial", "how-to", "explanation")]
TUTORIAL = ("wire", "build", "change", "notebook")

FORBIDDEN_INSTALL = re.compile(r"pip install\s+(-U\s+)?['\"]?nbpipe(\[|['\"]?\s|['\"]?$)", re.M)


def load(name: str) -> ModuleType:
    """A module of the site's own."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


blocks = load("blocks").blocks


def shown(pages: Iterable[Path]) -> list[str]:
    return [p.relative_to(DOCS).as_posix() for p in pages]


def text_of(pages: Iterable[Path]) -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in pages)


def commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    return {name: cli.get_command(context, name) for name in COMMANDS}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; building it is a test of its own."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def words_of(page: Path) -> str:
    """A built page as text without tags."""
    from html import unescape

    return unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


# -- complete --------------------------------------------------------------------------------


@pytest.mark.process
def test_the_site_builds_without_a_warning(site: Path) -> None:
    """Every link, file and reference resolves."""
    assert {p.with_suffix(".html").relative_to(DOCS) for p in PAGES} <= {
        p.relative_to(site) for p in site.rglob("*.html")
    }


@pytest.mark.process
def test_the_reference_has_every_command_with_every_option(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for name, command in commands().items():
        _, _, part = page.partition(f'id="nbpipe-{name}"')
        part = re.sub(r"<[^>]+>", "", part.partition("</section>")[0])
        assert part, f"no section for nbpipe {name}"
        switches = [s for p in command.params for s in p.opts if isinstance(p, click.Option)]
        missing = [s for s in [*switches, "-h", "--help"] if s not in part]
        assert not missing, f"nbpipe {name} lacks {missing}"


def parsers() -> dict[str, parsing.LineParser]:
    """Every magic, and every subcommand of %pipeline, with what reads its line."""
    subcommands = {f"%pipeline {n}": parsing.pipeline_parser(n) for n in parsing.SUBCOMMANDS}
    return {
        **subcommands,
        "%upstream": parsing.upstream_parser(),
        "%%task": parsing.task_parser(),
    }


def test_the_parsers_are_those_of_the_magics_that_are_registered() -> None:
    """So that a new magic is missed here, and then in the reference."""
    known = {"line": {"pipeline", "upstream"}, "cell": {"task"}}
    assert {kind: set(names) for kind, names in PipelineMagics.magics.items()} == known


@pytest.mark.process
@pytest.mark.parametrize("name", parsers())
def test_the_reference_has_every_magic_with_every_option(site: Path, name: str) -> None:
    page = (site / "reference" / "magics.html").read_text(encoding="utf-8")
    heading = re.search(rf"<h[23]><code[^>]*>{_spans(name)}</code>", page)
    assert heading is not None, f"no section for {name}"
    part = re.split("<h[23]>", page[heading.end() :])[0]
    part = re.sub(r"<[^>]+>", "", part)
    assert name.partition(" ")[0] in part
    parser = parsers()[name]
    arguments = [a.metavar for a in parser._actions if a.metavar and not a.option_strings]
    missing = [word for word in [*parsing.options_of(parser), *arguments] if word not in part]
    missing = [word for word in missing if word != "--help"]  # the page says it once, for all
    assert not missing, f"{name} lacks {missing}"
    if name.startswith("%pipeline"):
        assert "Returns " in part


def _spans(text: str) -> str:
    """Words as Sphinx marks them up, each in an element of its own."""
    return r"\s*".join(rf"<span class=\"pre\">{re.escape(word)}</span>" for word in text.split())


@pytest.mark.parametrize("name", parsers())
def test_every_magic_is_shown_in_use(name: str) -> None:
    written = r"%pipeline(?! [a-z])" if name == "%pipeline show" else re.escape(name)
    assert re.search(rf"(?<!%){written}(?![\w-])", text_of(BY_HAND))


@pytest.mark.parametrize(
    "option",
    sorted({o for p in parsers().values() for o in parsing.options_of(p) if o.startswith("--")}),
)
def test_every_option_of_a_magic_is_written_about(option: str) -> None:
    """By hand; most of them are those of the command line."""
    pages = [*BY_HAND, DOCS / "reference" / "magics.md"]
    short = {"--upstream": r"|`-u\b", "--product": r"|`-p\b", "--help": r"|`-h\b"}.get(option, "")
    assert re.search(rf"{option}\b(?!-){short}", text_of(pages))


@pytest.mark.parametrize("page", PAGES, ids=shown(PAGES))
def test_only_magics_that_exist_are_shown(page: Path) -> None:
    spans = re.findall(r"`(?:\w+ = )?(%[^`\n]+)`", page.read_text(encoding="utf-8"))
    cells = [block.text for block in blocks(page) if block.language == "ipython3"]
    lines = [line for cell in cells for line in cell.splitlines()]
    magics = [m[1] for line in lines if (m := re.match(r"(?:\w+ = )?(%.*)", line))]
    for line in [*spans, *magics]:
        understand(line)


def understand(line: str) -> None:
    """Parse a magic's line as the magic does; others may only be of IPython itself."""
    name, *words = line.split()
    if name == "%pipeline":
        parsing.pipeline_parser(words[0] if words else "show").parse_words(words[1:])
        assert not words or words[0] in parsing.SUBCOMMANDS, line
    elif name == "%upstream":
        parsing.upstream_parser().parse_words(words)
    elif name == "%%task":
        parsing.task_parser().parse_words(words or ["NAME"])
    else:
        assert name in ("%load_ext", "%unload_ext", "%%bash", "%", "%XX"), line


@pytest.mark.process
def test_the_reference_has_every_key_of_the_spec(site: Path) -> None:
    page = (site / "reference" / "pipeline-yaml.html").read_text(encoding="utf-8")
    cells = re.findall(r"<td><p><code[^>]*><span class=\"pre\">(\w+)</span></code></p></td>", page)
    for section, names in spec_keys().items():
        assert set(names) <= set(cells), section


@pytest.mark.process
def test_the_reference_has_every_event(site: Path) -> None:
    words = words_of(site / "reference" / "events.html")
    for kind in ev.Event.__args__:
        assert kind.__struct_config__.tag in words


def test_the_exit_codes_are_those_of_the_errors() -> None:
    text = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    found = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.M)}
    raised = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.NbpipeError)
    }
    assert raised | {0, 129, 143} == found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_shown_in_use(name: str) -> None:
    """The generated reference does not count: somebody has to have written about it."""
    assert re.search(rf"nbpipe {name}\b", text_of(BY_HAND))


@pytest.mark.parametrize("key", sorted({key for keys in spec_keys().values() for key in keys}))
def test_every_key_is_written_about(key: str) -> None:
    assert re.search(rf"`{key}`|^\s*(- |\w+: {{)?{key}:", text_of(BY_HAND), re.M)


def test_only_commands_and_options_that_exist_are_shown() -> None:
    known = commands()
    for page in PAGES:
        for name, rest in re.findall(r"nbpipe ([a-z]+)((?: [^\s`|#]+)*)", _code(page)):
            assert name in known, f"{page.name}: nbpipe {name}"
            options = {s for p in known[name].params for s in p.opts} | {"-h", "--help"}
            for switch in re.findall(r"(?<= )--?[a-zA-Z][\w-]*", rest):
                switch = "--env--KEY" if switch.startswith("--env--") else switch
                assert switch in options, f"{page.name}: nbpipe {name} {switch}"


def _code(page: Path) -> str:
    """What stands in code marks and shell blocks of a page."""
    spans = re.findall(r"`(nbpipe [^`]+)`", page.read_text(encoding="utf-8"))
    shell = [block.text for block in blocks(page) if block.language == "sh"]
    return "\n".join([*spans, *shell])


# -- true ------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=shown(PAGES))
def test_no_page_installs_the_package_of_another_project(page: Path) -> None:
    assert not FORBIDDEN_INSTALL.search(page.read_text(encoding="utf-8"))


def test_the_forbidden_command_is_recognised() -> None:
    for text in ("pip install nbpipe", "pip install -U 'nbpipe[demo]'", "pip install nbpipe \n"):
        assert FORBIDDEN_INSTALL.search(text)
    assert not FORBIDDEN_INSTALL.search("pip install 'nbpipe-kit[convert]'")


@pytest.mark.parametrize("page", PAGES, ids=shown(PAGES))
def test_python_blocks_compile(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, f"{page.name}:{block.line}", "exec")
        elif block.language == "ipython3":
            magic, _, body = block.text.partition("\n")
            text = body if magic.startswith("%%") else block.text
            compile(TransformerManager().transform_cell(text), f"{page.name}:{block.line}", "exec")


@pytest.mark.parametrize("page", PAGES, ids=shown(PAGES))
def test_pipeline_files_are_accepted(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.caption in ("env.yaml", "features.yaml"):
            (tmp_path / block.caption).write_text(block.text, encoding="utf-8")
        if block.caption == "pipeline.yaml":
            file = tmp_path / "pipeline.yaml"
            file.write_text(block.text, encoding="utf-8")
            assert read_spec(file, sources=False).tasks, f"{page.name}:{block.line}"


def unsupported() -> list[str]:
    """The keys that the page about migration says are refused."""
    text = (DOCS / "how-to" / "migrate.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(\w+: .+?)`", text.partition("## What is not supported")[2], re.M)


@pytest.mark.parametrize("line", unsupported())
def test_what_is_said_to_be_unsupported_is_refused_with_a_hint(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1\n", encoding="utf-8")
    whole = line.startswith(("config:", "executor:"))
    spec = f"{line}\ntasks:\n- source: a.py\n" if whole else f"tasks:\n- source: a.py\n  {line}\n"
    (tmp_path / "pipeline.yaml").write_text(spec, encoding="utf-8")
    with pytest.raises(errors.SpecError) as caught:
        read_spec(tmp_path / "pipeline.yaml")
    assert "hint:" in str(caught.value)


def test_the_page_about_migration_names_every_key_that_is_refused() -> None:
    from nbpipe.store.spectypes import NOT_YET, ConfigEntry, TaskEntry

    said = " ".join(unsupported())
    for entry in (TaskEntry, ConfigEntry):
        assert all(re.search(rf"\b{key}\b", said) for key in NOT_YET[entry])


@pytest.mark.kernel
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """Every file is written, every command and cell run, and its output compared, loosely."""
    folder = tmp_path / "iris"
    folder.mkdir()
    printed = ""
    with kernel(folder) as cell:
        for page in TUTORIAL:
            for block in blocks(DOCS / "tutorial" / f"{page}.md"):
                place = f"{page}.md:{block.line}"
                if block.caption:
                    write(folder, block.caption, block.text)
                elif block.language == "sh":
                    printed = run(folder, block.text, place)
                elif block.language == "ipython3":
                    printed = cell(block.text)
                elif block.language == "text":
                    missing = stable(block.text) - stable(printed)
                    assert not missing, f"{place}: {sorted(missing)} not in\n{printed}"
        panel = cell("%pipeline")
    assert "5 tasks: 5 fresh" in panel


@contextmanager
def kernel(folder: Path) -> Iterator[Callable[[str], str]]:
    """A kernel in a folder; called with a cell's text, it gives what the cell shows as text."""
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    notebook = new_notebook()
    client = NotebookClient(
        notebook, timeout=120, iopub_timeout=600, resources={"metadata": {"path": str(folder)}}
    )

    def run_cell(text: str) -> str:
        notebook.cells.append(new_code_cell(text.rstrip("\n")))
        done = client.execute_cell(notebook.cells[-1], len(notebook.cells) - 1)
        texts = (o.get("text") or o.get("data", {}).get("text/plain", "") for o in done.outputs)
        return "\n".join(texts)

    with client.setup_kernel():
        yield run_cell


def test_the_tutorial_shows_the_injected_cell_as_it_is(tmp_path: Path) -> None:
    """The block that quotes it is what nbpipe writes for the tutorial's ``fit``."""
    from nbpipe import Pipeline
    from nbpipe.store.inject import injected_cell_text

    for page in TUTORIAL[:2]:
        for block in blocks(DOCS / "tutorial" / f"{page}.md"):
            if block.caption:
                write(tmp_path, block.caption, block.text)
            elif block.text.startswith("nbpipe scaffold"):
                run(tmp_path, block.text, page)
    pipeline = Pipeline.load(tmp_path)
    task = pipeline.graph.task("fit")
    upstream = {name: pipeline.graph.task(name).product for name in pipeline.graph.upstream["fit"]}
    text = injected_cell_text("python", upstream, task.product, task.params)
    assert text in (DOCS / "tutorial" / "build.md").read_text(encoding="utf-8")


CAPTION = re.compile(r"(?P<file>[\w./-]+)(?: \((?P<how>append|replace upstream)\))?")


def write(folder: Path, caption: str, text: str) -> None:
    """Do with a file what the caption says."""
    match = CAPTION.fullmatch(caption)
    assert match is not None, caption
    path = folder / match["file"]
    if match["how"] == "append":
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}")
    elif match["how"] == "replace upstream":
        old = path.read_text(encoding="utf-8")
        assert old.count("\nupstream = None\n") == 1, caption
        path.write_text(old.replace("upstream = None\n", text), encoding="utf-8")
    else:
        path.write_text(text, encoding="utf-8")


def run(folder: Path, commands: str, place: str) -> str:
    """What shell commands print, as in a terminal that is 80 wide."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = {**os.environ, "PATH": path, "COLUMNS": "80", "PYTHONUTF8": "1"}
    done = subprocess.run(
        ["bash", "-euc", commands],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"{place}: {done.stdout}\n{done.stderr}"
    return done.stdout


CHANGING = [
    (r"\d{8}-\d{6}-[0-9a-f]+", "RUN"),
    (r"\d+ \w+ ago|just now", "AGO"),
    (r"\d+(\.\d+)? s\b", "TIME"),
    (r"\d+\.\d+", "TIME"),
    (r"\d+ %", "SHARE"),
    (r"@@ .* @@", "@@"),
    (r"─+", ""),
    (r"\s+", " "),
]


def stable(text: str) -> set[str]:
    """The lines of an output without what differs from run to run."""
    lines = set()
    for line in text.splitlines():
        for pattern, word in CHANGING:
            line = re.sub(pattern, word, line)
        lines.add(line.strip())
    return lines - {""}
