"""``pipeline["fit"]``: one task of a pipeline, and what can be done with it from Python."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from nbpipe.core.options import HookName
from nbpipe.errors import UsageError, did_you_mean
from nbpipe.loaded import LoadedPipeline
from nbpipe.run.callbacks import Callbacks, Hook, importing
from nbpipe.store.specfile import Entry

if TYPE_CHECKING:
    import os

    from nbpipe.core.model import Task
    from nbpipe.debugging import PostMortem
    from nbpipe.inmemory import InMemoryPipeline
    from nbpipe.pipeline import Pipeline
    from nbpipe.run.report import BuildReport
    from nbpipe.views.status import StatusRow


class _HookSlot:
    """An attribute that holds a function: None, or what is called around a task or a build."""

    def __set_name__(self, owner: type, name: HookName) -> None:
        self._name = name

    def __get__(self, holder: Hooked | None, owner: type | None = None) -> Hook | None:
        return None if holder is None else holder._callbacks.get(holder._whose, self._name)

    def __set__(self, holder: Hooked, function: Hook | None) -> None:
        if function is not None and not callable(function):
            raise UsageError(f"{self._name} must be a function, not {type(function).__name__}")
        holder._callbacks.set(holder._whose, self._name, function)


class Hooked:
    """What functions of this process can be hung on.

    Attributes:
        on_render: called before anything runs, if the task may run; an error ends the build.
        on_finish: called after a good run; an error fails the task, or the build.
        on_failure: called after a failure.
    """

    on_render = _HookSlot()
    on_finish = _HookSlot()
    on_failure = _HookSlot()
    _callbacks: Callbacks
    _whose: str = ""


class TaskHandle(Hooked):
    """One task of a loaded pipeline.

    ``on_render``, ``on_finish`` and ``on_failure`` may be set to a function, which the next builds
    of this pipeline object call in this process, after what pipeline.yaml says. It gets, of
    ``task``, ``product``, ``upstream``, ``params`` and ``client``, what its signature names; paths
    are absolute.

    Args:
        pipeline: that has it.
        name: of the task.

    Attributes:
        name: of the task.
    """

    def __init__(self, pipeline: Pipeline, name: str) -> None:
        self._pipeline = pipeline
        self._callbacks = pipeline._callbacks
        self._whose = self.name = name

    @property
    def task(self) -> Task:
        """What the spec says of it."""
        return self._pipeline.graph.task(self.name)

    @property
    def source(self) -> str:
        """The text of its source; of a function, of its module."""
        return self._pipeline.source(self.name)

    @property
    def product(self) -> Any:
        """What it makes, with absolute paths: text, a mapping or None."""
        return self._pipeline.product(self.name)

    @property
    def params(self) -> dict[str, Any]:
        """Values given to the source."""
        return dict(self.task.params)

    @property
    def upstream(self) -> dict[str, TaskHandle]:
        """The tasks that it reads, by their names."""
        names = self._pipeline.graph.upstream[self.name]
        return {name: TaskHandle(self._pipeline, name) for name in names}

    @property
    def status(self) -> StatusRow:
        """Its state now, and why."""
        return self._pipeline.status()[self.name]

    def load(self, key: str | None = None) -> Any:
        """The value of a product: what its unserializer gives, or by its suffix.

        A ``.csv`` is a data frame, a ``.json`` plain values.

        Args:
            key: name of the product; None: the only one beside the executed notebook.

        Raises:
            UsageError: there is no such product or more than one, or no way to load it.
            StoreError: it is not there, or cannot be read.
        """
        from nbpipe.store.loading import load_product

        found = self._pipeline.product(self.name)
        named = found if isinstance(found, dict) else {} if found is None else {"": found}
        data = self.task.data
        if key is None:
            wanted = [one for one in named if one in data] or list(named)
            if len(wanted) != 1:
                raise UsageError(
                    f"task '{self.name}' has {len(wanted)} products", "name one: load('data')"
                )
            key = wanted[0]
        if key not in named:
            raise UsageError(f"task '{self.name}' has no product '{key}'", did_you_mean(key, named))
        read = self.task.serializing.read
        if read is not None:
            return self._pipeline.function(read.function)(named[key], **read.arguments)
        path = self.task.products[key]
        if path in self.task.relations:
            what = f"the product of task '{self.name}' is no file"
            raise UsageError(what, "read it with a client of its database")
        return load_product(Path(named[key]), path, self._pipeline.record(self.name))

    def build(self, *, force: bool = False, **options: Any) -> BuildReport:
        """Run it after what it needs, if that is stale.

        Args:
            force: True: run it even if it is fresh; what it needs only if stale.
            options: of :meth:`Pipeline.build`.
        """
        if not force:
            return self._pipeline.build(self.name, **options)
        report = self._pipeline.build(upstream_of=self.name, **options)
        if not report.ok:
            return report
        return self._pipeline.build(self.name, force=True, upstream=False, **options)

    def debug(self, post_mortem: PostMortem | None = None) -> BaseException | None:
        """Run it in this process, and open a debugger on its error.

        Nothing is recorded. In a terminal this is IPython's debugger.

        Args:
            post_mortem: what looks into the frames of the error; None: the debugger.

        Returns:
            Its error, or None when it went well.

        Raises:
            UsageError: it is no Python, or an upstream has not been built.
        """
        from nbpipe.debugging import debug_task

        return debug_task(self._pipeline, self.name, post_mortem)

    def __repr__(self) -> str:
        """One line: name, source, state of nothing, which would take a look at the disk."""
        return f"<task {self.name}: {self.task.source}>"


class TaskPipeline(LoadedPipeline, Hooked):
    """A pipeline whose tasks can be had by their names, and on which functions can be hung."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._callbacks = Callbacks()

    @classmethod
    def from_dict(
        cls,
        spec: Mapping[str, Any] | list[Any],
        root: str | os.PathLike[str] | None = None,
        *,
        name: str = "python",
        env: Mapping[str, Any] | None = None,
    ) -> Self:
        """A pipeline that Python describes, in the terms of pipeline.yaml.

        It is built as any other, with records of its own in ``.nbpipe``. What needs another process
        that loads it (a build in the background, a cluster, an export) wants a file.

        Args:
            spec: what pipeline.yaml would hold: a mapping with ``tasks``, or a list of tasks.
            root: folder to which its paths are relative; None: the current one.
            name: under which its records are kept, apart from those of others in the same folder.
            env: values in the place of those in ``env.yaml`` in the root.

        Raises:
            SpecError: something in it is wrong; carries every problem.
        """
        folder = Path.cwd() if root is None else Path(root).resolve()
        data = msgspec.json.encode(spec, enc_hook=_path_text)
        return cls.load(Entry(folder / name, folder, data=data), env=env, call=True)

    def as_dict(self) -> dict[str, Any] | list[Any]:
        """What :meth:`from_dict` was given, as plain values.

        Raises:
            UsageError: a file describes the pipeline.
        """
        if not self.entry.data:
            what = f"{self.file} describes this pipeline, not Python"
            raise UsageError(what, "name that file in the place of the function")
        spec: dict[str, Any] | list[Any] = msgspec.json.decode(self.entry.data)
        return spec

    def render(self) -> Self:
        """The pipeline as its files are now, checked: what hangs on this one hangs on it too.

        Raises:
            SpecError: something is wrong; carries every problem.
        """
        return self.reload()

    def _again(self, *, call: bool = False) -> Self:
        made = super()._again(call=call)
        made._callbacks = self._callbacks
        return made

    def report(self, suffix: str = ".html", *, last: int = 10) -> str:
        """The pipeline on one page: its picture, the state of every task, its last runs.

        Args:
            suffix: ``.html``, a page that stands alone, or ``.md``, whose picture is Mermaid.
            last: how many runs.

        Raises:
            UsageError: there is no such format.
        """
        from nbpipe.views.report import Page

        if suffix not in (".html", ".md"):
            raise UsageError(f"a report cannot be made in the format '{suffix}'", ".html or .md")
        picture = self.plot(".svg" if suffix == ".html" else ".mmd").decode()
        page = Page(self.status(), picture, self.history(last), self.warnings)
        return page.html() if suffix == ".html" else page.markdown()

    def function(self, dotted: str) -> Callable[..., Any]:
        """A function of the project, imported into this process.

        Raises:
            ImportError, AttributeError: it is not there.
        """
        module, _, name = dotted.rpartition(".")
        with importing(self.root):
            found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return found

    def in_memory(self, *names: str) -> InMemoryPipeline:
        """The functions of the pipeline, to be called in this process with values, not files.

        Args:
            names: task names or wildcards, with what they need; none: all functions.

        Raises:
            UsageError: a task that is named is no function.
            ImportError: a module of the project cannot be imported.
        """
        from nbpipe.inmemory import of_pipeline

        return of_pipeline(self, self.select(names), named=bool(names))

    def dumps(self, run: str = "last") -> dict[str, str]:
        """Files with the frames of tasks that failed in a run, by task; see ``debug_later``.

        Raises:
            UsageError: there is no such run.
        """
        from os.path import relpath

        from nbpipe.run.prepare import dump_name

        folder = self._run_folder(run)
        found = {name: folder / dump_name(name) for name in self.graph.tasks}
        return {name: relpath(path) for name, path in found.items() if path.exists()}

    def __getitem__(self, name: str) -> TaskHandle:
        """The task called ``name``.

        Raises:
            UsageError: there is none.
        """
        return TaskHandle(self, self.graph.task(name).name)  # type: ignore[arg-type]

    def _ipython_key_completions_(self) -> list[str]:
        """What IPython offers after ``pipeline["``."""
        return list(self)

    def __contains__(self, name: object) -> bool:
        """Whether there is a task of this name."""
        return name in self.graph.tasks

    def __iter__(self) -> Iterator[str]:
        """The names, in an order in which the tasks can run."""
        return iter(self.graph.tasks)

    def __len__(self) -> int:
        """Number of tasks."""
        return len(self.graph.tasks)


def _path_text(value: Any) -> Any:
    """Paths in a spec are text."""
    if isinstance(value, Path):
        return value.as_posix()
    raise UsageError(f"a spec cannot hold a value of type {type(value).__name__}", "use plain ones")
