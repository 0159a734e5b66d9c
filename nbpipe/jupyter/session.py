"""What the magics of one shell share: the pipeline in use, the cell tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbpipe.jupyter.cells import CellTasks, notebook_name
from nbpipe.pipeline import Pipeline
from nbpipe.store.specfile import find_spec


class Session:
    """The pipeline that this shell works on, read anew for every magic.

    Args:
        shell: IPython's.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.path: Path | None = None
        self.cells = CellTasks(notebook_name(shell.user_ns))

    def load(self) -> Pipeline:
        """The pipeline as its files are now, with this notebook's cell tasks.

        Raises:
            SpecError: there is none, or it is wrong.
        """
        file = find_spec(self.path or Path.cwd())
        return Pipeline.load(file, cells=self.cells.file(file.parent))

    def use(self, path: str) -> Pipeline:
        """Work on another pipeline from now on; the old one stays when the new one is wrong.

        Raises:
            SpecError: there is none, or it is wrong.
        """
        before, self.path = self.path, Path(path).expanduser().absolute()
        try:
            return self.load()
        except Exception:
            self.path = before
            raise
