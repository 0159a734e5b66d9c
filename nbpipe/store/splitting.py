"""One notebook, split into the files of a pipeline. Nothing is run, nothing overwritten."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from nbpipe.core.fingerprint import INJECTED_TAG
from nbpipe.core.model import Cell
from nbpipe.core.split import Split, Task, split_notebook
from nbpipe.core.splittrees import paths_in
from nbpipe.core.syntax import parse_cell
from nbpipe.errors import StoreError, UsageError
from nbpipe.store.declared import PARAMETERS_TAG
from nbpipe.store.reading import Source, parse_source, read_text
from nbpipe.store.scaffold import write_new
from nbpipe.store.specread import parse_spec
from nbpipe.store.templates import parameters_text, percent_text

_HEAD = "# Written by 'nbpipe split {name}'. Each section of the notebook is a task.\ntasks:\n"


class SplitFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What splitting a notebook writes.

    Attributes:
        root: folder of the new pipeline.yaml.
        files: texts by their paths, relative to the root, POSIX; pipeline.yaml is the last.
        rows: for each task its name, its upstreams and its products.
        warnings: what a reader should look at.
    """

    root: Path
    files: dict[str, str]
    rows: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]


def plan_split(notebook: Path, into: Path | None = None) -> SplitFiles:
    """Read a notebook and make the texts of its pipeline; nothing is written.

    Args:
        notebook: a ``.ipynb``, or a script or Markdown file that is read as a notebook.
        into: folder of the pipeline; None: that of the notebook, so that its paths stay right.

    Raises:
        SpecError: the notebook cannot be read.
        UsageError: it cannot be split, or a file is there already.
    """
    source = parse_source(read_text(notebook), notebook.as_posix())
    if source.language != "python":
        raise UsageError(f"{notebook}: is in {source.language}", "only Python can be split")
    root = Path(os.path.abspath(into if into is not None else notebook.parent))
    cells = [_plain(cell) for cell in source.cells if INJECTED_TAG not in cell.tags]
    split = split_notebook(cells)
    files = {f"scripts/{task.name}.py": _script(task, source) for task in split.tasks}
    if split.functions:
        files["functions.py"] = split.functions
    files["pipeline.yaml"] = _spec(split, notebook.name)
    _require_new(root, files)
    parse_spec(files["pipeline.yaml"].encode(), "pipeline.yaml")
    rows = [(t.name, ", ".join(t.upstream), ", ".join(_products(t))) for t in split.tasks]
    warnings = [*split.warnings, *_moved_paths(source, notebook, root)]
    warnings += ["a picture is attached to a cell: it is lost"] if _attached(source) else []
    return SplitFiles(root=root, files=files, rows=tuple(rows), warnings=tuple(warnings))


def write_split(planned: SplitFiles) -> list[str]:
    """Write the files; returns their paths, relative to the root.

    Raises:
        StoreError: one cannot be written; those before it are taken back.
    """
    written: list[Path] = []
    for name, text in planned.files.items():
        try:
            write_new(planned.root / name, text)
        except StoreError:
            for path in written:
                path.unlink(missing_ok=True)
            raise
        written.append(planned.root / name)
    return list(planned.files)


def _plain(cell: Cell) -> Cell:
    tags = tuple(tag for tag in cell.tags if tag != PARAMETERS_TAG)
    return Cell(kind=cell.kind, text=cell.text, tags=tags)


def _attached(source: Source) -> bool:
    return any("attachments" in options for options in source.options)


def _require_new(root: Path, files: Mapping[str, str]) -> None:
    for name in reversed(list(files)):
        if (root / name).exists():
            hint = "name a new folder: --into FOLDER; nothing is overwritten"
            raise UsageError(f"{root / name}: is there already", hint)


def _moved_paths(source: Source, notebook: Path, root: Path) -> list[str]:
    folder = Path(os.path.abspath(notebook.parent))
    if folder == root:
        return []
    trees = [parse_cell(cell.text) for cell in source.cells if cell.kind == "code"]
    found = dict.fromkeys(path for tree in trees if tree is not None for path in paths_in(tree))
    here = [path for path in found if not os.path.isabs(path) and (folder / path).exists()]
    return [f"'{path}' lies beside the notebook, but tasks run in {root}" for path in here]


def _products(task: Task) -> dict[str, str]:
    """Paths of the pickles by their keys; they differ also where case does not count."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for name in task.saves:
        base = stem = f"{task.name}-{name}"
        number = 2
        while stem.casefold() in seen:
            stem, number = f"{base}-{number}", number + 1
        seen.add(stem.casefold())
        found[_key(name)] = f"output/{stem}.pickle"
    return found


def _key(name: str) -> str:
    return "nb_" if name == "nb" else name


def _spec(split: Split, notebook: str) -> str:
    from nbpipe.store.specedit import spec_text_with_task

    text = _HEAD.format(name=notebook.replace("\n", " "))
    for task in split.tasks:
        product = {"nb": f"output/{task.name}.ipynb", **_products(task)}
        text = spec_text_with_task(text, {"source": f"scripts/{task.name}.py", "product": product})
    return text


def _script(task: Task, source: Source) -> str:
    """The script of a task, in the percent format.

    Raises:
        UsageError: a cell cannot be written so that it is read again as it is.
    """
    cells = _cells(task)
    text = percent_text(cells, kernel=source.kernel)
    read = parse_source(text, f"scripts/{task.name}.py").cells
    if [(c.kind, c.text.strip(), c.tags) for c in read] != [
        (c.kind, c.text.strip(), c.tags) for c in cells
    ]:
        raise UsageError(
            f"section '{task.name}' has a cell that cannot be kept in a script",
            "look for lines that begin with '# %%' and for unusual magics",
        )
    return text


def _cells(task: Task) -> list[Cell]:
    first = next((i for i, c in enumerate(task.cells) if c.kind == "code"), len(task.cells))
    given = [
        "\n".join(_imports(task)),
        "\n".join(task.repeats),
        "\n".join(_loading(task)),
        "\n\n\n".join(task.late),
    ]
    parameters = Cell(kind="code", text=parameters_text(task.upstream), tags=(PARAMETERS_TAG,))
    head = [Cell(kind="code", text=text) for text in given if text]
    saving = "\n".join(
        f"Path(product[{_key(name)!r}]).write_bytes(pickle.dumps({name}))" for name in task.saves
    )
    tail = [Cell(kind="code", text=f"# For the tasks that read it\n{saving}")] if saving else []
    return [*task.cells[:first], parameters, *head, *task.cells[first:], *tail]


def _imports(task: Task) -> Sequence[str]:
    future = [line for line in task.imports if line.startswith("from __future__")]
    other = [line for line in task.imports if line not in future]
    if task.loads or task.saves:
        extra = ["import pickle", "from pathlib import Path"]
        other = [*extra, *(line for line in other if line not in extra)]
    if task.functions:
        other.append(f"from functions import {', '.join(sorted(set(task.functions)))}")
    return [*future, *other]


def _loading(task: Task) -> list[str]:
    return [
        f"{name} = pickle.loads(Path(upstream[{giver!r}][{_key(name)!r}]).read_bytes())"
        for giver, names in task.loads.items()
        for name in names
    ]
