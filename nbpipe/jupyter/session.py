"""What the magics of one shell share: the pipeline in use, the cell tasks."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbpipe.jupyter.cells import CellTasks
    from nbpipe.pipeline import Pipeline
    from nbpipe.run.unchanged import Unchanged
    from nbpipe.views.status import Status


class Session:
    """The pipeline that this shell works on, read anew for every magic.

    Making one is cheap: what it needs is imported when a magic first asks for it.

    Args:
        shell: IPython's.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.path: Path | None = None
        self.overrides: dict[str, str] = {}
        self._known: Unchanged | None = None

    @cached_property
    def cells(self) -> CellTasks:
        """The cell tasks of this notebook."""
        from nbpipe.jupyter.cells import CellTasks, notebook_name

        return CellTasks(notebook_name(self.shell.user_ns))

    def load(self, *, call: bool = False) -> Pipeline:
        """The pipeline as its files are now, with this notebook's cell tasks.

        Args:
            call: as of :meth:`nbpipe.Pipeline.load`.

        Raises:
            SpecError: there is none, or it is wrong.
        """
        from nbpipe.pipeline import Pipeline
        from nbpipe.store.specfile import find_spec

        file = find_spec(self.path or Path.cwd())
        cells = self._cells_file(file.parent)
        return Pipeline.load(file, cells=cells, env=self.overrides or None, call=call)

    def status(self) -> Status:
        """The state of every task; nothing is read but signatures when nothing has changed.

        Raises:
            SpecError: there is no pipeline, or it is wrong.
        """
        from nbpipe.run.unchanged import unchanged
        from nbpipe.store.signatures import locate_spec

        file = locate_spec(os.fspath(self.path or os.getcwd()))
        if file is None or self.overrides or self._cells_file(Path(file).parent) is not None:
            return self._look()
        self._known = unchanged(file, self._known)
        return self._known.status() if self._known is not None else self._look()

    def _look(self) -> Status:
        """The status of a pipeline that is loaded for it, with what a build would find stored."""
        from nbpipe.run.stored import with_store

        pipeline = self.load()
        return with_store(lambda url: pipeline.status(store=url), None, print)

    def use(self, path: str, overrides: dict[str, str] | None = None) -> Pipeline:
        """Work on another pipeline from now on; the old one stays when the new one is wrong.

        Args:
            path: of the spec file, or of a folder.
            overrides: values in the place of those in env.yaml.

        Raises:
            SpecError: there is none, or it is wrong.
            UsageError: there is no such key to override.
        """
        before = self.path, self.overrides
        self.path, self.overrides = Path(path).expanduser().absolute(), overrides or {}
        try:
            return self.load()
        except Exception:
            self.path, self.overrides = before
            raise

    def _cells_file(self, root: Path) -> Path | None:
        """The file that lists the cell tasks; None: no cell was made a task."""
        return self.cells.file(root) if "cells" in self.__dict__ else None
