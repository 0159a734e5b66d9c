"""What ``import ploomber`` means where that package is not installed: names, and where they are.

Read by :mod:`nbpipe.executors.aliases`, in the process of a task.
"""

from __future__ import annotations

from nbpipe.errors import did_you_mean

_DAG = "nbpipe.compat.dag"
_BUILDING = "nbpipe.compat.building"
_CLIENTS = "nbpipe.clients"

_STORES = {
    name: f"{_CLIENTS}:{name}" for name in ("LocalStorageClient", "S3Client", "GCloudStorageClient")
}
_DATABASES = {name: f"{_CLIENTS}:{name}" for name in ("SQLAlchemyClient", "DBAPIClient")}
_WRITERS = {name: f"nbpipe.io:{name}" for name in ("serializer", "serializer_pickle")}
_READERS = {name: f"nbpipe.io:{name}" for name in ("unserializer", "unserializer_pickle")}

MODULES: dict[str, dict[str, str]] = {
    "ploomber": {
        "DAG": f"{_BUILDING}:DAG",
        "InMemoryDAG": "nbpipe.compat.online:InMemoryDAG",
        "with_env": "nbpipe.compat.environment:with_env",
        "load_env": "nbpipe.compat.environment:load_env",
    },
    "ploomber.tasks": {
        name: f"{_BUILDING}:{name}"
        for name in ("NotebookRunner", "ScriptRunner", "ShellScript", "PythonCallable")
    },
    "ploomber.products": {"File": f"{_BUILDING}:File"},
    "ploomber.spec": {"DAGSpec": f"{_DAG}:DAGSpec"},
    "ploomber.io": {**_WRITERS, **_READERS},
    "ploomber.io.serialize": _WRITERS,
    "ploomber.io.unserialize": _READERS,
    "ploomber.clients": {**_DATABASES, **_STORES},
    "ploomber.clients.db": _DATABASES,
    "ploomber.clients.storage": _STORES,
    "ploomber.testing": {},
    "ploomber.testing.sql": {
        name: f"nbpipe.testing:{name}"
        for name in (
            "assert_no_duplicates_in_column",
            "distinct_values_in_column",
            "duplicates_in_column",
            "exists_row_where",
            "nulls_in_columns",
            "range_in_column",
        )
    },
    "ploomber.exceptions": {
        "DAGBuildEarlyStop": "nbpipe.errors:DAGBuildEarlyStop",
        "DAGBuildError": "nbpipe.errors:BuildError",
        "DAGSpecInvalidError": "nbpipe.errors:SpecError",
        "BaseException": "nbpipe.errors:NbpipeError",
    },
}
"""Of each module its names, with the module and the attribute that they stand for."""

HINTS = {
    "executors": "'executor: serial' or 'executor: parallel' in pipeline.yaml",
    "OnlineDAG": "nbpipe.Pipeline.load().in_memory(…).then(predict)",
    "OnlineModel": "nbpipe.Pipeline.load().in_memory(…).then(predict)",
    "SourceLoader": "'meta: {source_loader: …}' in pipeline.yaml",
    "DAGConfigurator": "'config:' in pipeline.yaml",
    "Env": "nbpipe.Pipeline.load(env={…})",
    "ShellClient": "a .sh source runs on this machine",
    "micro": "nbpipe.InMemoryPipeline.from_functions",
}
"""What there is instead of what is not answered."""


def refusal(module: str, name: str = "") -> str:
    """Why an import fails.

    Args:
        module: that is imported.
        name: what is wanted of it; "": the module itself.
    """
    asked = f"{module}.{name}" if name else module
    last = asked.rpartition(".")[2]
    said = f"'{asked}' is not among what nbpipe answers in the place of ploomber"
    if name and module in ("ploomber.tasks", "ploomber.products"):
        return f"{said}; list tasks of this kind in pipeline.yaml"
    if last in HINTS:
        return f"{said}; instead: {HINTS[last]}"
    return f"{said}; {did_you_mean(name or module, MODULES[module] if name else MODULES)}"
