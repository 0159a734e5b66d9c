"""The shape of pipeline.yaml: its keys, their types and what they mean.

Said once, here. The reader takes allowed keys and types from these structs, the JSON Schema for
editors is made of them, and a test compares the documentation with them.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from nbpipe.core.model import KERNEL_STARTS
from nbpipe.errors import did_you_mean
from nbpipe.store.spectaskkeys import Function, SerializerKeys, Text, says
from nbpipe.store.specworkkeys import WorkKeys
from nbpipe.store.yamlnodes import show

SCRIPT_SUFFIXES = (".py", ".ipynb", ".md", ".r", ".R", ".Rmd", ".qmd")
"""Of sources that run as notebooks."""

TEMPLATE_SUFFIXES = (".sql", ".sh")
"""Of sources that are texts with placeholders, for a database or for bash."""


class ResourcesEntry(msgspec.Struct, forbid_unknown_fields=True):
    """What a task asks of the machine."""

    cpu: Annotated[
        Annotated[float, msgspec.Meta(gt=0)] | UnsetType, says("Number of cores.", 2)
    ] = UNSET
    gpu: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | UnsetType, says("Number of devices.", 1)
    ] = UNSET
    memory: Annotated[
        Annotated[int, msgspec.Meta(gt=0)] | Text | UnsetType,
        says("Bytes, or text such as 2G (powers of 1000) or 512Mi (of 1024).", "2G", "512Mi"),
    ] = UNSET


class TaskEntry(WorkKeys, kw_only=True, forbid_unknown_fields=True):
    """One step: a source and the products that it promises."""

    source: Annotated[
        Text | UnsetType,
        says(
            "A script or notebook, relative to this file; a Python function as module.function; of"
            " a download its address, of an upload its file. Only Link and Input have none.",
            "scripts/fit.py",
            "tasks.clean.run",
            "sql/clean.sql",
        ),
    ] = UNSET
    name: Annotated[
        Text | UnsetType,
        says("Unique in the pipeline. Default: the source's file name without suffix.", "fit"),
    ] = UNSET
    product: Annotated[
        Text | dict[str, Text | list[Text | None]] | list[Text | None] | UnsetType | None,
        says(
            "A path, or paths by name; 'nb' is the executed notebook. Of a table or view: its"
            " schema, name and kind, or its name and kind.",
            "output/fit.ipynb",
            {"nb": "output/fit.ipynb", "data": "output/fit.csv"},
            ["public", "sales", "table"],
        ),
    ] = UNSET
    params: Annotated[
        dict[str, Any] | UnsetType | None,
        says(
            "Values given to the source, by variable name. A text such as module::function is"
            " what that function returns; 'resources_' names files that count as inputs.",
            {"seed": 1},
            {"columns": "features::columns", "resources_": {"schema": "schema.json"}},
        ),
    ] = UNSET
    grid: Annotated[
        dict[str, Any] | list[dict[str, Any]] | UnsetType,
        says(
            "Params of many tasks at once: every combination of the listed values, or of several"
            " such mappings. '[[key]]' in 'name' and 'product' stands for a value.",
            {"depth": [2, 4], "kind": ["tree", "forest"]},
        ),
    ] = UNSET
    upstream: Annotated[
        Text | list[Text] | UnsetType | None,
        says(
            "Tasks that this one waits for, wildcards allowed; only where meta has"
            " 'extract_upstream: false'.",
            ["load", "clean-*"],
        ),
    ] = UNSET
    timeout: Annotated[
        Annotated[float, msgspec.Meta(gt=0)] | Text | UnsetType,
        says("For the whole task: seconds, or text with a unit.", 90, "90s", "10 min", "2h"),
    ] = UNSET
    retries: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | UnsetType,
        says("How often the task is tried again after a failure. Default: 0.", 2),
    ] = UNSET
    resources: Annotated[
        ResourcesEntry | UnsetType | None, says("What the task asks of the machine.")
    ] = UNSET
    group: Annotated[Text | UnsetType, says("A label for views.", "features")] = UNSET
    kernel: Annotated[
        Text | UnsetType,
        says("Name of the Jupyter kernel. Default: what the source says.", "python3", "ir"),
    ] = UNSET
    kernelspec_name: Annotated[
        Text | UnsetType, says("The same as 'kernel', as Ploomber calls it.", "python3")
    ] = UNSET
    class_: Annotated[
        Text | UnsetType,
        says(
            "How the task runs, where the source does not say it: NotebookRunner, ScriptRunner (a"
            " notebook that is not kept), PythonCallable, ShellScript, SQLScript, SQLDump,"
            " SQLUpload, SQLTransfer, PostgresCopyFrom, DownloadFromURL, Link or Input.",
            "SQLUpload",
        ),
    ] = msgspec.field(name="class", default=UNSET)
    product_class: Annotated[
        Text | UnsetType,
        says(
            "The kind of the products: File, SQLRelation (or SQLiteRelation, PostgresRelation,"
            " GenericSQLRelation, which mean the same), or GenericProduct. Default: what"
            " 'product_default_class' or the task's class says.",
            "SQLRelation",
        ),
    ] = UNSET


class SourceLoaderEntry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where sources are that are not relative to the root."""

    path: Annotated[
        Text | UnsetType,
        says("A folder, relative to this file or to the folder of 'module'.", "scripts"),
    ] = UNSET
    module: Annotated[
        Text | UnsetType, says("A package of the project, which is found and not run.", "tasks")
    ] = UNSET


class KernelsEntry(msgspec.Struct, forbid_unknown_fields=True):
    """How the kernels of notebooks start."""

    start: Annotated[
        Annotated[Text, msgspec.Meta(extra_json_schema={"enum": list(KERNEL_STARTS)})] | UnsetType,
        says(
            "fork (default): from a process that has imported what they need; pool: started ahead;"
            " cold: each anew.",
            "cold",
        ),
    ] = UNSET
    preload: Annotated[
        list[Text] | UnsetType,
        says(
            "Modules that every kernel finds imported. Default: those that several notebooks"
            " import first of all.",
            ["pandas", "sklearn.linear_model"],
        ),
    ] = UNSET


class ConfigEntry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings that Ploomber calls the DAG's configuration."""

    outdated_by_code: Annotated[
        bool | UnsetType,
        says("True (default): a change of code makes a task stale; false: only other inputs do."),
    ] = UNSET
    cache_rendered_status: Annotated[
        bool | UnsetType, says("Changes nothing: what is known is always kept.")
    ] = UNSET
    hot_reload: Annotated[
        bool | UnsetType, says("Changes nothing: sources are always read anew.")
    ] = UNSET


class MetaEntry(msgspec.Struct, forbid_unknown_fields=True):
    """Settings of the whole pipeline."""

    extract_upstream: Annotated[
        bool | UnsetType,
        says("True (default): sources declare 'upstream'; false: the tasks here do."),
    ] = UNSET
    product_relative_to_source: Annotated[
        bool | UnsetType,
        says(
            "True: product paths are relative to the folder of their source; false (default):"
            " to the folder of this file."
        ),
    ] = UNSET
    extract_product: Annotated[
        bool | UnsetType,
        says("True: sources declare 'product'; false (default): the tasks here do."),
    ] = UNSET
    import_tasks_from: Annotated[
        Text | UnsetType | None,
        says(
            "A file with a list of further tasks; sources in it are relative to that file.",
            "features.yaml",
        ),
    ] = UNSET
    source_loader: Annotated[
        SourceLoaderEntry | UnsetType | None, says("Where relative sources are looked for.")
    ] = UNSET
    kernels: Annotated[
        KernelsEntry | UnsetType | None, says("How the kernels of notebooks start.")
    ] = UNSET
    product_default_class: Annotated[
        dict[str, Text] | UnsetType | None,
        says(
            "The kind of products by the class of the task, as in 'product_class'.",
            {"SQLScript": "SQLiteRelation"},
        ),
    ] = UNSET
    jupyter_hot_reload: Annotated[
        bool | UnsetType,
        says("True (default): an open notebook follows edits of this file."),
    ] = UNSET
    jupyter_functions_as_notebooks: Annotated[
        bool | UnsetType,
        says(
            "True: a module with functions of tasks, opened as a notebook, shows each function"
            " with what its task gives to it; false (default): as any other module."
        ),
    ] = UNSET
    store: Annotated[
        Text | UnsetType,
        says(
            "Where results are shared: a folder, or an address such as s3://bucket/folder.",
            "s3://team-bucket/iris",
        ),
    ] = UNSET
    compat: Annotated[
        Annotated[Text, msgspec.Meta(extra_json_schema={"enum": ["ploomber"]})] | UnsetType | None,
        says(
            "ploomber: where that package is not installed, nbpipe answers its imports in the"
            " processes of tasks; null (default): nothing does.",
            "ploomber",
        ),
    ] = UNSET


class SpecFile(SerializerKeys, kw_only=True, forbid_unknown_fields=True):
    """A pipeline: its tasks, and settings of the whole."""

    tasks: Annotated[list[TaskEntry] | None, says("The steps, in any order.")]
    meta: Annotated[MetaEntry | UnsetType | None, says("Settings of the whole pipeline.")] = UNSET
    config: Annotated[ConfigEntry | UnsetType | None, says("Further settings.")] = UNSET
    location: Annotated[
        Text | UnsetType,
        says(
            "In the place of all other keys but meta: a function that returns what this file would"
            " hold, or a DAG.",
            "factory.make",
        ),
    ] = UNSET
    clients: Annotated[
        dict[str, Function] | UnsetType | None,
        says(
            "Functions that give clients of databases, by the class of a task or of a product.",
            {"SQLScript": "db.get_client", "SQLRelation": "db.get_client"},
        ),
    ] = UNSET
    executor: Annotated[
        Function,
        says(
            "serial: one task at a time; parallel: as many as there are cores; a mapping with"
            " Ploomber's executor and 'processes': so many. Default: parallel.",
            "serial",
            {"dotted_path": "ploomber.executors.Parallel", "processes": 2},
        ),
    ] = UNSET


NOT_YET: dict[type[msgspec.Struct], frozenset[str]] = {
    MetaEntry: frozenset({"timeout", "retries", "resources", "group", "kernel"}),
    TaskEntry: frozenset({"columns"}),
    ConfigEntry: frozenset({"differ", "logging_factory"}),
}
"""Keys that Ploomber has, or that are planned, and that are told apart from typing errors."""

HINTS = {
    "columns": "remove it: all columns of the file are copied",
}
"""What to do without a key of `NOT_YET`, where there is more to say than to remove it."""

_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "": SpecFile,
    "meta": MetaEntry,
    "meta.source_loader": SourceLoaderEntry,
    "meta.kernels": KernelsEntry,
    "config": ConfigEntry,
    "tasks[]": TaskEntry,
    "tasks[].resources": ResourcesEntry,
}


def spec_keys() -> dict[str, tuple[str, ...]]:
    """The supported keys of every section, such as "", ``meta``, ``tasks[]``."""
    return {section: _own_first(entry) for section, entry in _SECTIONS.items()}


def _own_first(entry: type[msgspec.Struct]) -> tuple[str, ...]:
    """A section's keys, those that it shares with others at the end."""
    names = dict(zip(entry.__struct_fields__, entry.__struct_encode_fields__, strict=True))
    own = [names[name] for name in names if name in entry.__annotations__]
    return tuple(dict.fromkeys([*own, *names.values()]))


def key_fault(entry: type[msgspec.Struct], key: str) -> tuple[str, str | None]:
    """Message and hint for a key that the section ``entry`` does not have."""
    if key in NOT_YET.get(entry, ()):
        return f"key '{key}' is not supported yet", _not_yet_hint(entry, key)
    for section, other in _SECTIONS.items():
        if entry is not other and key in other.__struct_encode_fields__:
            place = f"in '{section}'" if section else "at the top level"
            return f"key '{key}' does not belong here", f"it belongs {place}"
    return f"unknown key {show(key)}", did_you_mean(key[:40], entry.__struct_encode_fields__)


def _not_yet_hint(entry: type[msgspec.Struct], key: str) -> str:
    if entry is MetaEntry and key in TaskEntry.__struct_encode_fields__:
        return f"write '{key}' in each task"
    known = ", ".join(entry.__struct_encode_fields__)
    return HINTS.get(key) or f"remove it; supported here: {known}"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of pipeline.yaml, for editors."""
    schema: dict[str, Any] = msgspec.json.schema(SpecFile | list[TaskEntry])
    schema["$defs"]["SpecFile"]["required"] = []
    schema["$defs"]["SpecFile"]["anyOf"] = [{"required": ["tasks"]}, {"required": ["location"]}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nbpipe pipeline",
        "description": "The tasks of a notebook pipeline.",
        **schema,
    }
