"""``DAGSpec`` and ``DAG`` as projects written for Ploomber use them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbpipe.errors import UsageError
from nbpipe.pipeline import Pipeline
from nbpipe.run.report import BuildReport


class DAG(Pipeline):
    """A pipeline with the arguments that a Ploomber DAG takes; made by :class:`DAGSpec`."""

    def build(
        self, *names: str, force: bool = False, show_progress: bool = True, **options: Any
    ) -> BuildReport:
        """Build, and raise when a task fails.

        Args:
            names: as of :meth:`Pipeline.build`.
            force: True: run also what is fresh.
            show_progress: means nothing here.
            options: of :meth:`Pipeline.build`; ``debug`` must be None.

        Raises:
            BuildError: a task failed.
        """
        _require_no_debugger(options.pop("debug", None))
        options.pop("close_clients", None)
        return super().build(*names, force=force, **options).raise_for_failure()

    def build_partially(
        self, target: str, force: bool = False, skip_upstream: bool = False, **options: Any
    ) -> BuildReport:
        """Build a task, or tasks by wildcard, with what they need.

        Raises:
            BuildError: a task failed.
        """
        return self.build(target, force=force, upstream=not skip_upstream, **options)

    def plot(  # type: ignore[override]
        self, output: str = "embed", **options: Any
    ) -> Any:
        """Draw the pipeline into a file; ``embed``: return what a notebook shows.

        Args:
            output: a path with a suffix that :meth:`Pipeline.plot` knows, or ``embed``.
            options: mean nothing here.
        """
        if output.startswith("."):
            return super().plot(output, **options)
        if output != "embed":
            Path(output).write_bytes(super().plot(Path(output).suffix))
            return output
        show: Any = importlib.import_module("IPython.display").SVG
        return show(super().plot(".svg").decode())


def _require_no_debugger(debug: Any) -> None:
    if debug is not None:
        raise UsageError(f"debug={debug!r} is not supported", "dag['task'].debug()")


class DAGSpec:
    """What describes a pipeline: a file, or values in the terms of one.

    Args:
        data: path of a pipeline.yaml, or what it would hold.
        env: values in the place of those in env.yaml; a path: not supported.
        lazy_import: means nothing here: nothing is imported to load a pipeline.
        reload: means nothing here either.
        parent_path: folder to which paths are relative, where ``data`` is no file.
    """

    def __init__(
        self,
        data: str | os.PathLike[str] | Mapping[str, Any] | list[Any],
        env: Mapping[str, Any] | None = None,
        lazy_import: bool = False,
        reload: bool = False,
        parent_path: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(env, (str, os.PathLike)):
            raise UsageError("env must be a mapping", "name the file by PLOOMBER_ENV_FILENAME")
        self.data = data
        self._env = env
        self._root = parent_path

    @classmethod
    def find(
        cls,
        env: Mapping[str, Any] | None = None,
        reload: bool = False,
        lazy_import: bool = False,
        starting_dir: str | os.PathLike[str] | None = None,
        name: str | None = None,
    ) -> DAGSpec:
        """That of the pipeline.yaml in a folder, or above it.

        Args:
            env: as of the class.
            reload: means nothing here.
            lazy_import: means nothing here either.
            starting_dir: the folder; None: the current one.
            name: of ``pipeline.NAME.yaml`` in that folder; None: ``pipeline.yaml``.

        Raises:
            SpecError: there is none.
        """
        from nbpipe.store.specfile import find_spec

        start = Path(starting_dir) if starting_dir is not None else Path.cwd()
        return cls(find_spec(start / f"pipeline.{name}.yaml" if name else start), env=env)

    def to_dag(self) -> DAG:
        """The pipeline, loaded.

        Raises:
            SpecError: something in it is wrong.
        """
        if isinstance(self.data, (str, os.PathLike)):
            return DAG.load(self.data, env=self._env, call=True)
        return DAG.from_dict(self.data, self._root, env=self._env)
