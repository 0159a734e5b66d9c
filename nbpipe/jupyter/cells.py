"""``%%task``: a cell's body as a task of the pipeline, while the notebook lives."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbpipe.core.model import Location, Task
from nbpipe.core.syntax import parse_body
from nbpipe.errors import SpecError, UsageError
from nbpipe.pipeline import Pipeline
from nbpipe.store.functions import upstream_uses
from nbpipe.store.overlay import CELLS, TASKS, write_overlay
from nbpipe.store.products import write_durably
from nbpipe.store.records import file_stem
from nbpipe.store.specfile import name_fault

HEAD = '# %% tags=["parameters"]\nupstream = {upstream}\nproduct = None\n\n# %%\n'
"""What stands before the body in the script of a cell task."""

HEAD_LINES = HEAD.count("\n")


class CellTasks:
    """The cell tasks of one notebook. Empty in a new kernel; running a cell adds it.

    The folder's name follows from the notebook's, so that a cell that is run again after a restart
    of the kernel finds its record, and is fresh if nothing has changed.

    Args:
        notebook: name of the notebook, as well as it is known.
    """

    def __init__(self, notebook: str) -> None:
        self.key = hashlib.sha256(notebook.encode()).hexdigest()[:10]
        self._tasks: dict[Path, dict[str, Task]] = {}

    def file(self, root: Path) -> Path | None:
        """The file that lists the cell tasks of a pipeline; None: there are none."""
        return root / CELLS / self.key / TASKS if self._tasks.get(root) else None

    def add(
        self,
        pipeline: Pipeline,
        name: str,
        body: str,
        upstream: Sequence[str],
        products: Mapping[str, str],
    ) -> Task:
        """Make a cell a task, or change it, and write its script.

        Raises:
            UsageError: the name cannot be a task's, or pipeline.yaml has it.
            StoreError: the script cannot be written.
        """
        check_name(name)
        mine = self._tasks.setdefault(pipeline.root, {})
        if name in pipeline.graph.tasks and name not in mine:
            raise UsageError(
                f"%%task {name}: pipeline.yaml has a task of that name",
                "choose another name, or replace it: --write PATH --force",
            )
        folder = f"{CELLS}/{self.key}"
        source = f"{folder}/{file_stem(name)}.py"
        task = Task(
            name=name,
            source=source,
            product={"nb": f"{folder}/{file_stem(name)}.ipynb", **products},
            at=Location(f"%%task {name}"),
        )
        before = dict(mine)
        text = HEAD.format(upstream=repr(list(upstream) or None)) + body.rstrip("\n") + "\n"
        write_durably(pipeline.root / source, text.encode())
        mine[name] = task
        self._write(pipeline.root)
        try:
            Pipeline.load(pipeline.file, cells=self.file(pipeline.root))
        except SpecError:
            self._tasks[pipeline.root] = before
            self._write(pipeline.root)
            raise
        return task

    def remove(self, root: Path, name: str) -> None:
        """Forget a cell task."""
        if self._tasks.get(root, {}).pop(name, None) is not None:
            self._write(root)

    def _write(self, root: Path) -> None:
        write_overlay(root / CELLS / self.key / TASKS, self._tasks[root].values())


def check_name(name: str) -> None:
    """See that a name can be a task's.

    Raises:
        UsageError: it cannot.
    """
    fault = name_fault(name)
    if fault is not None:
        raise UsageError(f"%%task {name}: {fault}")


def products_of(pairs: Sequence[str]) -> dict[str, str]:
    """``-p KEY=PATH`` options as a mapping.

    Raises:
        UsageError: one has no ``=``, or an empty side.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, sign, path = pair.partition("=")
        if not (sign and key and path):
            raise UsageError(f"-p {pair}: no KEY=PATH", "such as -p data=output/clean.csv")
        found[key] = path
    return found


def upstream_of(body: str) -> list[str]:
    """The tasks that a body reads as ``upstream['name']``, in their order.

    A body that does not parse reads nothing: running it will tell.
    """
    tree = parse_body(body)
    uses = [] if tree is None else upstream_uses(tree)
    return list(dict.fromkeys(name for name, _ in uses))


def notebook_name(user_ns: Mapping[str, Any]) -> str:
    """A name for this notebook that a restarted kernel finds again."""
    for name in (user_ns.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")):
        if isinstance(name, str) and name:
            return name
    return str(Path.cwd())


def outputs_of(notebook: Path) -> list[dict[str, Any]]:
    """All outputs of an executed notebook, in their order; none when it is not there."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return []
    return [_joined(output) for cell in cells for output in cell.get("outputs", [])]


def _joined(output: dict[str, Any]) -> dict[str, Any]:
    """An output as the protocol has it: a notebook keeps long texts as lists of lines."""
    data = {
        mime: "".join(value) if isinstance(value, list) and "json" not in mime else value
        for mime, value in output.get("data", {}).items()
    }
    return {**output, "data": data} if data else output
