"""What changes the files of a project and runs no task: a task written, leftovers removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nbpipe.errors import UsageError
from nbpipe.tasks import TaskPipeline


class EditablePipeline(TaskPipeline):
    """A pipeline whose project can be added to and cleaned."""

    def write_task(
        self,
        name: str,
        path: str,
        body: str,
        *,
        upstream: Sequence[str] = (),
        product: Mapping[str, str] | None = None,
        force: bool = False,
    ) -> str:
        """Write a script and add it to pipeline.yaml, whose comments are kept.

        Args:
            name: of the new task.
            path: of the script, relative to the root.
            body: Python code, which becomes the script's last cell.
            upstream: tasks that it reads.
            product: what it makes, beside the executed notebook ``output/NAME.ipynb``.
            force: True: overwrite a script and replace a task that are there.

        Returns:
            The script's path, relative to the root.

        Raises:
            UsageError: the script or the task is there, or the path leads elsewhere.
            SpecError: the entry does not fit into the file.
            StoreError: the disk is full or read-only.
        """
        from nbpipe.store.specfactory import read_factory
        from nbpipe.store.specfile import read_spec
        from nbpipe.store.writing import write_task

        if self.file.exists() and read_factory(self.file.read_bytes(), self.file.name):
            what = f"{self.file.name} leaves it to a function which tasks there are"
            raise UsageError(what, "add the task to what that function returns")
        spec = read_spec(self.file)
        return write_task(
            self.file,
            spec,
            name,
            path,
            body,
            upstream=upstream,
            product=product or {},
            force=force,
        )

    def removable(self, *, products: bool = False) -> list[str]:
        """What :meth:`remove` may take, relative to the root and POSIX.

        Args:
            products: True: also the products whose bytes are still those that a build wrote,
                with their records; what was changed by hand is kept.
        """
        from nbpipe.store.leftovers import leftovers, own_products

        found = leftovers(self.store, self.graph.tasks)
        if products:
            found += own_products(self.root, self.store, self._records())
        return found

    def remove(self, paths: Iterable[str]) -> int:
        """Remove what :meth:`removable` named, while no build runs; returns how many went.

        Raises:
            LockedError: a build is running.
        """
        from nbpipe.run.lock import build_lock
        from nbpipe.store.leftovers import remove_paths

        listed = list(paths)
        if not self.store.home.exists():
            return 0
        with build_lock(self.store.home, "clean"):
            return remove_paths(self.root, listed)
