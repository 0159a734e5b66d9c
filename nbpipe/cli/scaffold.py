"""New projects and the demo. Nothing is ever overwritten."""

from __future__ import annotations

import shutil
from pathlib import Path

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


def new_project(folder: Path) -> list[str]:
    """Make a small project that builds, in a new or empty folder.

    Raises:
        UsageError: the folder holds something.
        StoreError: a file cannot be written.
    """
    _require_empty(folder)
    write_new(folder / "pipeline.yaml", _SPEC)
    write_new(folder / ".gitignore", _IGNORE)
    made = ["pipeline.yaml", ".gitignore"]
    for name, (upstream, code) in _CODE.items():
        text = template(name, upstream=upstream)
        write_new(folder / "scripts" / f"{name}.py", f"{text.rstrip()}\n\n# %%\n{code}")
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


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is not empty", "name a new folder; nothing is overwritten")
