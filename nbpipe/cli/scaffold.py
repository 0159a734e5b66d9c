"""New projects and the demo. Nothing is ever overwritten."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbpipe
from nbpipe.errors import NbpipeError, UsageError
from nbpipe.store.scaffold import write_new
from nbpipe.store.sources import template

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


_EMPTY = """\
# List the steps here, such as "- source: scripts/get.py"; nbpipe scaffold then creates the scripts.
tasks: []
"""

_CONDA = """\
name: {name}
channels:
  - conda-forge
dependencies:
  - python>=3.11
  - pip
  - pip:
      - nbpipe-kit
"""

_PACKAGE = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["nbpipe-kit"]

[tool.hatch.build.targets.wheel]
packages = ["src/{package}"]
"""


class Layout(NamedTuple):
    """What a new project has: its dependencies in which file, a package around it, no tasks."""

    conda: bool = False
    pip: bool = False
    package: bool = False
    empty: bool = False


PLAIN = Layout()


def new_project(folder: Path, layout: Layout = PLAIN) -> list[str]:
    """Make a small project that builds, in a new or empty folder; returns the files, relative.

    Raises:
        UsageError: the folder holds something, or its name cannot be that of a package.
        StoreError: a file cannot be written.
    """
    _require_empty(folder)
    files = dict(_around(folder.resolve().name, layout))
    package = folder.resolve().name.replace("-", "_").replace(".", "_")
    home = f"src/{package}/" if layout.package else ""
    if layout.package and not package.isidentifier():
        raise UsageError(f"'{folder.name}' cannot be the name of a package", "take another one")
    files[f"{home}pipeline.yaml"] = _EMPTY if layout.empty else _SPEC
    files[".gitignore"] = _IGNORE
    if layout.package:
        files[f"{home}__init__.py"] = ""
        files["pyproject.toml"] = _PACKAGE.format(name=folder.resolve().name, package=package)
    for name, (upstream, code) in () if layout.empty else _CODE.items():
        text = template(name, upstream=upstream)
        files[f"{home}scripts/{name}.py"] = f"{text.rstrip()}\n\n# %%\n{code}"
    for path, text in files.items():
        write_new(folder / path, text)
    return list(files)


def _around(name: str, layout: Layout) -> Iterator[tuple[str, str]]:
    """The files with the dependencies."""
    if layout.conda:
        yield "environment.yml", _CONDA.format(name=name)
    if layout.pip:
        yield "requirements.txt", "nbpipe-kit\n"


def write_demo(folder: Path) -> list[str]:
    """Copy the iris project into a new or empty folder; returns the files, relative.

    Raises:
        UsageError: the folder holds something.
        StoreError: a file cannot be written.
    """
    return copy_project(demo_folder(), folder, "examples")


def copy_project(origin: Path, folder: Path, *without: str) -> list[str]:
    """Copy a project, without what builds have made of it, into a new or empty folder.

    Args:
        origin: the project's folder.
        folder: where the copy goes.
        without: names of further files and folders that stay behind.

    Raises:
        UsageError: the folder holds something.
    """
    _require_empty(folder)
    made = []
    left = {"output", ".nbpipe", "__pycache__", *without}
    for path in sorted(origin.rglob("*")):
        name = path.relative_to(origin)
        if path.is_file() and not left & set(name.parts):
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


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is not empty", "name a new folder; nothing is overwritten")
