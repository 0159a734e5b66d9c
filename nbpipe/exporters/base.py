"""The port of exporters: from a pipeline as a document to the files of another engine.

An exporter only translates. It reads no file, writes none and calls nothing: what it gives depends
on its arguments alone, so golden files test it. In the engine every task is the command of
:func:`task_command`, which skips what is fresh, fetches what is missing and records what it made.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol, get_origin

import msgspec

from nbpipe.core.graph import Graph
from nbpipe.core.model import Kind, Resources, Spec, Task
from nbpipe.errors import UsageError, did_you_mean

VERSION = 1
"""Of the document. Keys are only ever added; it rises when one changes its meaning."""

REQUIREMENTS = ("requirements.lock", "requirements.lock.txt", "requirements.txt", "pyproject.toml")
"""Files that say which packages a project needs: the more exact, the earlier."""

Mode = Literal["incremental", "force"]
"""``incremental``: the engine skips what is fresh; ``force``: it runs everything."""


class TaskDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One task, with all that an engine may want to know of it.

    Attributes:
        name: unique in the pipeline.
        source: path of the script relative to the root, or ``module.function``.
        kind: ``notebook``, ``function`` or ``script``.
        upstream: names of the tasks that must have ended before; wildcards are resolved.
        products: paths relative to the root by name; an unnamed product has the name "".
        notebook: path of the executed notebook among the products; None: it is no product.
        params: values given to the source, JSON-like.
        kernel: name of the Jupyter kernel; "" for a function.
        resources: cores, devices and bytes that it asks for; None: no wish.
        timeout: seconds for one try; None: no limit.
        retries: how often it is tried again after a failure.
        group: a label; None: none.
    """

    name: str
    source: str
    kind: Kind
    upstream: tuple[str, ...]
    products: dict[str, str]
    notebook: str | None
    params: dict[str, Any]
    kernel: str
    resources: dict[str, float | None]
    timeout: float | None
    retries: int
    group: str | None


class GraphDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline, as ``nbpipe graph --json`` prints it.

    Attributes:
        version: of the form; 1.
        name: of the pipeline: its root folder's.
        spec: name of the spec file in the root folder.
        arguments: words that name the pipeline to ``nbpipe`` in its root folder.
        store: address of the store that the spec names; None: it names none.
        tasks: in topological order.
        requirements: names of the files in the root folder that say which packages the project
            needs, the most exact first.
    """

    version: int
    name: str
    spec: str
    arguments: tuple[str, ...]
    store: str | None
    tasks: tuple[TaskDocument, ...]
    requirements: tuple[str, ...] = ()

    def only(self, patterns: tuple[str, ...]) -> GraphDocument:
        """Those of the tasks that a name or wildcard means; without patterns all.

        An upstream that is left out is waited for through those above it.

        Raises:
            UsageError: a pattern means no task.
        """
        names = [task.name for task in self.tasks]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise UsageError(f"no task '{pattern}'", did_you_mean(pattern, names))
        if not patterns:
            return self
        chosen = {name for name in names if any(fnmatchcase(name, p) for p in patterns)}
        return msgspec.structs.replace(self, tasks=tuple(_thinned(self.tasks, chosen)))


class ExportSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every exporter can be told; one with more of its own extends this.

    Attributes:
        image: container image that has the project and its environment; None: none is used.
        store: address of the store; None: the one that the document names.
        environ: variables for every task; no secrets, since they end up in files.
        mode: whether fresh tasks are skipped.
        program: how nbpipe is called.
    """

    image: str | None = None
    store: str | None = None
    environ: dict[str, str] = {}
    mode: Mode = "incremental"
    program: tuple[str, ...] = ("nbpipe",)


def read_volumes(said: Sequence[str]) -> list[tuple[str, str]]:
    """What is mounted, and the path at which, of each volume.

    Args:
        said: as ``NAME:PATH``.

    Raises:
        UsageError: one is not of that form.
    """
    found = []
    for volume in said:
        name, _, path = volume.rpartition(":")
        if not (name and path.startswith("/")):
            raise UsageError(f"volume '{volume}' is not NAME:PATH", "such as data:/srv/data")
        found.append((name, path))
    return found


class Exporter(Protocol):
    """Turns a pipeline into the files of another engine."""

    settings: type[ExportSettings]
    """What it can be told."""

    def export(self, document: GraphDocument, settings: Any) -> dict[str, str]:
        """Texts by path, relative to the folder that they are written into and POSIX.

        Args:
            document: the pipeline.
            settings: of the type :attr:`settings`.

        Raises:
            UsageError: the engine cannot do what the pipeline or a setting asks for.
        """
        ...


def graph_document(
    name: str,
    spec: Spec,
    graph: Graph,
    kernels: Mapping[str, str],
    arguments: tuple[str, ...],
    requirements: tuple[str, ...] = (),
) -> GraphDocument:
    """The document of a pipeline.

    Args:
        name: of the pipeline.
        spec: the pipeline.
        graph: its tasks and edges.
        kernels: name of the kernel of each notebook task.
        arguments: words that name the pipeline to ``nbpipe`` in its root folder.
        requirements: those of :data:`REQUIREMENTS` that are there.
    """
    tasks = (
        _task_document(graph.tasks[task], graph.upstream[task], kernels.get(task, ""))
        for task in graph.order()
    )
    return GraphDocument(
        version=VERSION,
        name=name,
        spec=spec.file,
        arguments=arguments,
        store=spec.meta.store,
        tasks=tuple(tasks),
        requirements=requirements,
    )


def task_command(document: GraphDocument, task: str, settings: ExportSettings) -> list[str]:
    """The command that runs one task in a clean process, in the root folder.

    It tries once: the engine tries again.
    """
    command = [*settings.program, "task", task, "--only", "--no-retry", *document.arguments]
    if settings.store is not None and settings.store != document.store:
        command += ["--store", settings.store]
    return [*command, "--force"] if settings.mode == "force" else command


def read_settings(exporter: Exporter, said: Mapping[str, Any]) -> ExportSettings:
    """The settings of an exporter, out of texts and plain values.

    A text in the place of several words, such as those of ``program``, is split as a shell does.

    Raises:
        UsageError: it has no such setting, or the value does not fit.
    """
    known = {field.name: field.type for field in msgspec.structs.fields(exporter.settings)}
    for key in said:
        if key not in known:
            raise UsageError(f"no setting '{key}'", did_you_mean(key, known))
    try:
        plain = {key: _words(value, known[key]) for key, value in said.items()}
        return msgspec.convert(plain, exporter.settings, strict=False)
    except ValueError as error:
        raise UsageError(f"a setting does not fit: {error}") from None


def _words(value: Any, kind: Any) -> Any:
    """A text where several are wanted: its words."""
    several = get_origin(kind) is tuple
    return shlex.split(value) if several and isinstance(value, str) else value


def _task_document(task: Task, upstream: tuple[str, ...], kernel: str) -> TaskDocument:
    wish: Resources = task.resources
    return TaskDocument(
        name=task.name,
        source=task.source,
        kind=task.kind,
        upstream=upstream,
        products=task.products,
        notebook=task.notebook,
        params=task.params,
        kernel=kernel,
        resources={"cpu": wish.cpu, "gpu": wish.gpu, "memory": wish.memory},
        timeout=task.timeout,
        retries=task.retries,
        group=task.group,
    )


def _thinned(tasks: tuple[TaskDocument, ...], chosen: set[str]) -> list[TaskDocument]:
    """The chosen tasks; in the place of an upstream that is left out stand the ones above it."""
    above: dict[str, tuple[str, ...]] = {}
    found = []
    for task in tasks:
        ups = [up for name in task.upstream for up in ((name,) if name in chosen else above[name])]
        above[task.name] = tuple(dict.fromkeys(ups))
        if task.name in chosen:
            found.append(msgspec.structs.replace(task, upstream=above[task.name]))
    return found
