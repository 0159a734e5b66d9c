"""What the magics of one shell share: the pipeline in use, the cell tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbpipe.jupyter.cells import CellTasks, notebook_name
from nbpipe.loaded import unchanged
from nbpipe.pipeline import Pipeline
from nbpipe.store.specfile import find_spec

if TYPE_CHECKING:
    from nbpipe.views.status import Status


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

    def status(self) -> Status:
        """The state of every task; nothing is read but signatures when nothing has changed.

        Raises:
            SpecError: there is no pipeline, or it is wrong.
        """
        file = find_spec(self.path or Path.cwd())
        if self.cells.file(file.parent) is not None:
            return self.load().status()
        return (unchanged(file) or self.load()).status()

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
