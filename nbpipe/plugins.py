"""What other packages add: executors, exporters, serializers and sources, found by name, lazily.

A package offers one as an entry point of its group, and nothing is imported before it is asked for:

    [project.entry-points."nbpipe.executors"]
    mycluster = "my_package.cluster:MyExecutor"

| group | what the entry point is |
|---|---|
| ``nbpipe.executors`` | called with the settings as keywords; gives ``executors.base.Executor`` |
| ``nbpipe.exporters`` | called without arguments; gives ``exporters.base.Exporter`` |
| ``nbpipe.serializers`` | named by a suffix: writes and reads products of that suffix |
| ``nbpipe.sources`` | named by a suffix: reads sources of that suffix |
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from nbpipe.errors import UsageError, did_you_mean

EXECUTORS = "nbpipe.executors"
EXPORTERS = "nbpipe.exporters"
SERIALIZERS = "nbpipe.serializers"
SOURCES = "nbpipe.sources"

BUILT_IN: dict[str, dict[str, str]] = {
    EXECUTORS: {
        "dask": "nbpipe.executors.dask:DaskExecutor",
        "slurm": "nbpipe.executors.slurm:SlurmExecutor",
    },
    EXPORTERS: {
        "airflow": "nbpipe.exporters.airflow:AirflowExporter",
        "argo": "nbpipe.exporters.argo:ArgoExporter",
        "aws-batch": "nbpipe.exporters.aws_batch:BatchExporter",
        "image": "nbpipe.exporters.image:ImageExporter",
        "json": "nbpipe.exporters.graph:GraphExporter",
    },
    SERIALIZERS: {},
    SOURCES: {},
}
"""What comes with nbpipe itself, as ``module:attribute``; it goes before any other of its name."""

EXTRAS: dict[tuple[str, str], str] = {(EXECUTORS, "dask"): "dask"}
"""The extra that brings the libraries of a built-in one, by group and name."""


def names(group: str) -> list[str]:
    """What is installed of a group, sorted."""
    return sorted({*BUILT_IN.get(group, {}), *_entry_points(group)})


def load(group: str, name: str) -> Any:
    """Import what a name stands for.

    Args:
        group: one of those above.
        name: as its package offers it.

    Raises:
        UsageError: nothing of that name is installed, or a library that it needs is not.
    """
    what = group.rpartition(".")[2].removesuffix("s")
    target = BUILT_IN.get(group, {}).get(name) or _entry_points(group).get(name)
    if target is None:
        raise UsageError(f"no {what} '{name}'", _hint(name, names(group)))
    module, _, attribute = target.partition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
    except ImportError as error:
        extra = EXTRAS.get((group, name))
        hint = f"install nbpipe-kit[{extra}]" if extra else None
        raise UsageError(f"{what} '{name}' cannot be loaded: {error}", hint) from error
    except AttributeError as error:
        text = f"{what} '{name}' is not what its package says: {error}"
        raise UsageError(text, f"it should be {target}") from error
    return found


def _hint(name: str, known: list[str]) -> str:
    """The nearest name, and all that are installed."""
    near = did_you_mean(name, known) or ""
    listed = f"installed: {', '.join(known)}" if known else "none is installed"
    return f"{near} {listed}" if near.startswith("did") else listed


def make(group: str, name: str, settings: Mapping[str, str]) -> Any:
    """Load what a name stands for, and call it with settings.

    Raises:
        UsageError: as :func:`load`, or it takes no such setting.
    """
    factory = load(group, name)
    what = group.rpartition(".")[2].removesuffix("s")
    known = _keywords(factory)
    for key in settings:
        if known is not None and key not in known:
            near = did_you_mean(key, known) or "it takes none"
            raise UsageError(f"{what} '{name}' has no setting '{key}'", near)
    return factory(**settings)


def _keywords(factory: Any) -> list[str] | None:
    """The keywords that a callable takes; None: any."""
    import inspect

    parameters = inspect.signature(factory).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _entry_points(group: str) -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=group)}
