"""Notebook pipelines that feel like a single notebook.

The public API is loaded when it is first touched: ``import nbpipe`` itself loads no library.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own, without the price of importing typing
if TYPE_CHECKING:
    from typing import Any

    from nbpipe.core.graph import Graph as Graph
    from nbpipe.core.model import Spec as Spec
    from nbpipe.core.model import Task as Task
    from nbpipe.core.plan import Plan as Plan
    from nbpipe.errors import BuildError as BuildError
    from nbpipe.errors import InterruptedBuildError as InterruptedBuildError
    from nbpipe.errors import LockedError as LockedError
    from nbpipe.errors import NbpipeError as NbpipeError
    from nbpipe.errors import SpecError as SpecError
    from nbpipe.errors import StoreError as StoreError
    from nbpipe.errors import UsageError as UsageError
    from nbpipe.executors.inline import InlineExecutor as InlineExecutor
    from nbpipe.inmemory import InMemoryPipeline as InMemoryPipeline
    from nbpipe.pipeline import Pipeline as Pipeline
    from nbpipe.run.background import Run as Run
    from nbpipe.run.report import BuildReport as BuildReport
    from nbpipe.tasks import TaskHandle as TaskHandle
    from nbpipe.views.status import Status as Status

__version__ = "0.1.0"

_EXPORTS = {
    "BuildError": "nbpipe.errors",
    "BuildReport": "nbpipe.run.report",
    "Graph": "nbpipe.core.graph",
    "InMemoryPipeline": "nbpipe.inmemory",
    "InlineExecutor": "nbpipe.executors.inline",
    "InterruptedBuildError": "nbpipe.errors",
    "LockedError": "nbpipe.errors",
    "NbpipeError": "nbpipe.errors",
    "Pipeline": "nbpipe.pipeline",
    "Plan": "nbpipe.core.plan",
    "Run": "nbpipe.run.background",
    "Spec": "nbpipe.core.model",
    "SpecError": "nbpipe.errors",
    "Status": "nbpipe.views.status",
    "StoreError": "nbpipe.errors",
    "Task": "nbpipe.core.model",
    "TaskHandle": "nbpipe.tasks",
    "UsageError": "nbpipe.errors",
}

__all__ = ["__version__", *sorted(_EXPORTS)]


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives."""
    try:
        module = _EXPORTS[name]
    except KeyError:
        raise AttributeError(f"module 'nbpipe' has no attribute '{name}'") from None
    from importlib import import_module

    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *_EXPORTS})


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext nbpipe``: ``%pipeline``, ``%upstream`` and ``%%task``."""
    _magics().load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """``%unload_ext nbpipe``."""
    _magics().unload(ipython)


def _magics() -> Any:
    from importlib import import_module

    return import_module("nbpipe.jupyter.magics")


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter Server finds the extension that shows scripts with their injected cell."""
    return [{"module": "nbpipe.jupyter.contents"}]
