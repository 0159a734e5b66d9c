"""New sources, new projects and the demo. Nothing is ever overwritten."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import nbpipe
from nbpipe.core.model import Task
from nbpipe.core.syntax import parse_python
from nbpipe.errors import NbpipeError, SpecError, StoreError, UsageError
from nbpipe.store.functions import module_file
from nbpipe.store.sources import function_template, template
from nbpipe.store.specfile import read_spec

_SPEC = """\
# Each task is a script that Jupyter opens as a notebook, with what it makes.
# A script says `upstream = ['get']`, and is given the paths.
tasks:
  - source: scripts/get.py
    product:
      nb: output/get.ipynb
      data: output/get.csv

  - source: scripts/plot.py
    product:
      nb: output/plot.ipynb
"""

_CODE = {
    "get": (
        (),
        "import csv\n\n"
        'rows = [{"x": x, "y": x**2} for x in range(10)]\n'
        'with open(product["data"], "w", newline="") as file:\n'
        '    writer = csv.DictWriter(file, ["x", "y"])\n'
        "    writer.writeheader()\n"
        "    writer.writerows(rows)\n",
    ),
    "plot": (
        ("get",),
        "import csv\n\n"
        'with open(upstream["get"]["data"], newline="") as file:\n'
        "    rows = list(csv.DictReader(file))\n"
        "for row in rows:\n"
        '    print(row["x"].rjust(2), "█" * int(row["y"]))\n',
    ),
}

_IGNORE = "output/\n.nbpipe/\n.ipynb_checkpoints/\n"


def new_sources(spec_file: Path) -> tuple[list[str], list[str]]:
    """Create the sources of a spec that are missing.

    Returns:
        Paths of the sources that were created, and of those that were there, relative to the
        folder of the spec.

    Raises:
        SpecError: the spec is wrong.
        StoreError: a file cannot be written.
    """
    spec = read_spec(spec_file, sources=False)
    created: list[str] = []
    kept: list[str] = []
    for task in spec.tasks:
        path = _source_path(spec_file.parent, task)
        target = spec_file.parent / path
        if not target.exists():
            _write_new(target, _text(task))
            created.append(path)
        elif task.kind == "function" and not _defines(target, task):
            _append_function(target, task)
            if path not in created:
                created.append(f"{task.source.rpartition('.')[2]} in {path}")
        elif path not in created:
            kept.append(path)
    return created, kept


def new_project(folder: Path) -> list[str]:
    """Make a small project that builds, in a new or empty folder.

    Raises:
        UsageError: the folder holds something.
        StoreError: a file cannot be written.
    """
    _require_empty(folder)
    _write_new(folder / "pipeline.yaml", _SPEC)
    _write_new(folder / ".gitignore", _IGNORE)
    made = ["pipeline.yaml", ".gitignore"]
    for name, (upstream, code) in _CODE.items():
        text = template(name, upstream=upstream)
        _write_new(folder / "scripts" / f"{name}.py", f"{text.rstrip()}\n\n# %%\n{code}")
        made.append(f"scripts/{name}.py")
    return made


def write_demo(folder: Path) -> list[str]:
    """Copy the iris project into a new or empty folder; returns the files, relative.

    Raises:
        UsageError: the folder holds something.
        StoreError: a file cannot be written.
    """
    _require_empty(folder)
    origin = demo_folder()
    made = []
    for path in sorted(origin.rglob("*")):
        name = path.relative_to(origin)
        if path.is_file() and not {"output", ".nbpipe", "__pycache__"} & set(name.parts):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
            made.append(name.as_posix())
    return made


def demo_folder() -> Path:
    """Where the iris project lies: inside the package, or beside it in a checkout.

    Raises:
        NbpipeError: the installation lacks it.
    """
    package = Path(nbpipe.__file__).parent
    for folder in (package / "_demo", package.parent / "demo"):
        if (folder / "pipeline.yaml").is_file():
            return folder
    raise NbpipeError(
        "the demo project is not part of this installation", "install nbpipe-kit anew"
    )


def _source_path(root: Path, task: Task) -> str:
    if task.kind == "notebook":
        return task.source
    try:
        return module_file(root, task.source)
    except SpecError:
        return task.source.rpartition(".")[0].replace(".", "/") + ".py"


def _defines(module: Path, task: Task) -> bool:
    """Whether a module defines a task's function; in doubt yes, so that nothing is spoilt."""
    try:
        tree = parse_python(module.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return True
    name = task.source.rpartition(".")[2]
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    bound = {node.name for node in tree.body if isinstance(node, defined)}
    bound |= {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    bound |= {
        alias.asname or alias.name
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom)
        for alias in n.names
    }
    return name in bound


def _text(task: Task) -> str:
    if task.kind == "function":
        return function_template(task.source)
    return template(task.name, suffix=Path(task.source).suffix, kernel=task.kernel)


def _append_function(target: Path, task: Task) -> None:
    """A further function at the end of a module; what stands there is kept."""
    try:
        with target.open("a", encoding="utf-8") as file:
            file.write("\n\n" + function_template(task.source))
    except OSError as error:
        raise StoreError(f"{target}: cannot be written: {error.strerror or error}") from error


def _write_new(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is not empty", "name a new folder; nothing is overwritten")
