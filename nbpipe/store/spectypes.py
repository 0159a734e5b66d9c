"""The shape of pipeline.yaml: its keys, their types and what they mean.

Said once, here. The reader takes allowed keys and types from these structs, the JSON Schema for
editors is made of them, and a test compares the documentation with them.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from nbpipe.errors import did_you_mean
from nbpipe.store.yamlnodes import show

SCRIPT_SUFFIXES = (".py", ".ipynb", ".md", ".r", ".R", ".Rmd", ".qmd")
"""Of sources that run as notebooks."""

LATER_SUFFIXES = (".sql", ".sh")
"""Of sources that Ploomber knows, and nbpipe not yet."""

# The reader also wants it on one line. A pattern would say so, but msgspec 0.22 frees memory twice
# when a text with a pattern and a list or a mapping are alternatives (see msgspec#717).
Text = Annotated[str, msgspec.Meta(min_length=1)]


def _says(description: str, *examples: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, examples=list(examples) or None)


class ResourcesEntry(msgspec.Struct, forbid_unknown_fields=True):
    """What a task asks of the machine."""

    cpu: Annotated[
        Annotated[float, msgspec.Meta(gt=0)] | UnsetType, _says("Number of cores.", 2)
    ] = UNSET
    gpu: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | UnsetType, _says("Number of devices.", 1)
    ] = UNSET
    memory: Annotated[
        Annotated[int, msgspec.Meta(gt=0)] | Text | UnsetType,
        _says("Bytes, or text such as 2G (powers of 1000) or 512Mi (of 1024).", "2G", "512Mi"),
    ] = UNSET


class TaskEntry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One step: a source and the products that it promises."""

    source: Annotated[
        Text,
        _says(
            "A script or notebook, relative to this file, or a Python function as module.function.",
            "scripts/fit.py",
            "tasks.clean.run",
        ),
    ]
    name: Annotated[
        Text | UnsetType,
        _says("Unique in the pipeline. Default: the source's file name without suffix.", "fit"),
    ] = UNSET
    product: Annotated[
        Text | dict[str, Text] | UnsetType | None,
        _says(
            "A path, or paths by name; 'nb' is the executed notebook.",
            "output/fit.ipynb",
            {"nb": "output/fit.ipynb", "data": "output/fit.csv"},
        ),
    ] = UNSET
    params: Annotated[
        dict[str, Any] | UnsetType | None,
        _says("Values given to the source, by variable name.", {"seed": 1}),
    ] = UNSET
    upstream: Annotated[
        Text | list[Text] | UnsetType | None,
        _says(
            "Tasks that this one waits for, wildcards allowed; only where meta has"
            " 'extract_upstream: false'.",
            ["load", "clean-*"],
        ),
    ] = UNSET
    timeout: Annotated[
        Annotated[float, msgspec.Meta(gt=0)] | Text | UnsetType,
        _says("For the whole task: seconds, or text with a unit.", 90, "90s", "10 min", "2h"),
    ] = UNSET
    retries: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | UnsetType,
        _says("How often the task is tried again after a failure. Default: 0.", 2),
    ] = UNSET
    resources: Annotated[
        ResourcesEntry | UnsetType | None, _says("What the task asks of the machine.")
    ] = UNSET
    group: Annotated[Text | UnsetType, _says("A label for views.", "features")] = UNSET
    kernel: Annotated[
        Text | UnsetType,
        _says("Name of the Jupyter kernel. Default: what the source says.", "python3", "ir"),
    ] = UNSET
    kernelspec_name: Annotated[
        Text | UnsetType, _says("The same as 'kernel', as Ploomber calls it.", "python3")
    ] = UNSET


class MetaEntry(msgspec.Struct, forbid_unknown_fields=True):
    """Settings of the whole pipeline."""

    extract_upstream: Annotated[
        bool | UnsetType,
        _says("True (default): sources declare 'upstream'; false: the tasks here do."),
    ] = UNSET
    product_relative_to_source: Annotated[
        bool | UnsetType,
        _says(
            "True: product paths are relative to the folder of their source; false (default):"
            " to the folder of this file."
        ),
    ] = UNSET
    jupyter_hot_reload: Annotated[
        bool | UnsetType,
        _says("True (default): an open notebook follows edits of this file."),
    ] = UNSET
    jupyter_functions_as_notebooks: Annotated[
        bool | UnsetType,
        _says(
            "True: a module with functions of tasks, opened as a notebook, shows each function"
            " with what its task gives to it; false (default): as any other module."
        ),
    ] = UNSET


class SpecFile(msgspec.Struct, forbid_unknown_fields=True):
    """A pipeline: its tasks, and settings of the whole."""

    tasks: Annotated[list[TaskEntry] | None, _says("The steps, in any order.")]
    meta: Annotated[MetaEntry | UnsetType | None, _says("Settings of the whole pipeline.")] = UNSET


NOT_YET: dict[type[msgspec.Struct], frozenset[str]] = {
    SpecFile: frozenset(
        {"config", "clients", "serializer", "unserializer", "executor", "location"}
        | {"on_render", "on_finish", "on_failure"}
    ),
    MetaEntry: frozenset(
        {"extract_product", "product_default_class", "import_tasks_from", "source_loader"}
        | {"timeout", "retries", "resources", "group", "kernel"}
    ),
    TaskEntry: frozenset(
        {"product_class", "product_client", "class", "client", "grid", "serializer"}
        | {"unserializer", "on_render", "on_finish", "on_failure", "executor", "executor_params"}
        | {"papermill_params", "nbconvert_exporter_name", "nbconvert_export_kwargs"}
        | {"nb_product_key", "static_analysis", "local_execution", "debug_mode", "ext_in"}
        | {"check_if_kernel_installed", "chunksize", "to_sql_kwargs", "io_handler"}
    ),
}
"""Keys that Ploomber has, or that are planned, and that are told apart from typing errors."""

_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "": SpecFile,
    "meta": MetaEntry,
    "tasks[]": TaskEntry,
    "tasks[].resources": ResourcesEntry,
}


def spec_keys() -> dict[str, tuple[str, ...]]:
    """The supported keys of every section: "", ``meta``, ``tasks[]``, ``tasks[].resources``."""
    return {section: entry.__struct_fields__ for section, entry in _SECTIONS.items()}


def key_fault(entry: type[msgspec.Struct], key: str) -> tuple[str, str | None]:
    """Message and hint for a key that the section ``entry`` does not have."""
    if key in NOT_YET.get(entry, ()):
        return f"key '{key}' is not supported yet", _not_yet_hint(entry, key)
    for section, other in _SECTIONS.items():
        if entry is not other and key in other.__struct_fields__:
            place = f"in '{section}'" if section else "at the top level"
            return f"key '{key}' does not belong here", f"it belongs {place}"
    return f"unknown key {show(key)}", did_you_mean(key[:40], entry.__struct_fields__)


def _not_yet_hint(entry: type[msgspec.Struct], key: str) -> str:
    if entry is MetaEntry and key in TaskEntry.__struct_fields__:
        return f"write '{key}' in each task"
    return f"remove it; supported here: {', '.join(entry.__struct_fields__)}"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of pipeline.yaml, for editors."""
    schema: dict[str, Any] = msgspec.json.schema(SpecFile | list[TaskEntry])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nbpipe pipeline",
        "description": "The tasks of a notebook pipeline.",
        **schema,
    }
