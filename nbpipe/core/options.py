"""What a task may say beside its source and its products: functions to call, notebook options.

Frozen values; a task that says none of it shares the defaults.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

Analysis = Literal["disable", "regular", "strict"]
"""How much of a notebook's code is checked before it runs."""

ANALYSES: tuple[Analysis, ...] = get_args(Analysis)

HookName = Literal["on_render", "on_finish", "on_failure"]
"""When a hook is called: before anything runs, after a good run, after a failure."""

HOOKS: tuple[HookName, ...] = get_args(HookName)

NOTEBOOK_KEY = "nb"
"""The name of the executed notebook among named products."""


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function of the project that the spec names.

    Attributes:
        function: ``module.function``.
        arguments: values that the spec gives it, JSON-like.
    """

    function: str
    arguments: dict[str, Any] = {}


class Hooks(msgspec.Struct, frozen=True, omit_defaults=True):
    """Functions that are called around a task, or around a whole build. None: no such hook.

    Attributes:
        on_render: before anything runs; an error in it ends the build.
        on_finish: after a good run; an error in it fails the task, or the build.
        on_failure: after a failure.
    """

    on_render: Call | None = None
    on_finish: Call | None = None
    on_failure: Call | None = None

    def get(self, name: HookName) -> Call | None:
        """The hook called ``name``."""
        found: Call | None = getattr(self, name)
        return found

    def __bool__(self) -> bool:
        return any(self.get(name) is not None for name in HOOKS)


class NotebookOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a notebook is run, checked and converted.

    Attributes:
        keys: names of the products that are the executed notebook, each in its own format; the
            first that the task has is *the* executed notebook. Empty: it is not a product.
        exporters: nbconvert's exporter by the product's name, "" being an unnamed one; left out:
            the product's suffix tells it.
        exporter_options: given to the exporter, as ``nbconvert.export`` takes them.
        analysis: what is checked before anything runs.
        beside_source: True: it runs in the folder of its source; False: in the root.
        checks_kernel: False: a kernel that is not installed is found only when it should start.
        debug_later: True: the frames of a failed cell are kept for a debugger.
    """

    keys: tuple[str, ...] = (NOTEBOOK_KEY,)
    exporters: dict[str, str] = {}
    exporter_options: dict[str, Any] = {}
    analysis: Analysis = "disable"
    beside_source: bool = False
    checks_kernel: bool = True
    debug_later: bool = False


NO_HOOKS = Hooks()

PLAIN = NotebookOptions()
"""A notebook of which the spec says nothing special."""


class HookTask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task as its hooks see it, as plain data; paths are relative to the root.

    Attributes:
        name: of the task.
        source: path of the script, or the dotted function.
        product: declared products.
        upstream: value of ``upstream``; None: it has none.
        params: values given to the source.
        client: gives the client of its database; None: it has none.
        relations: the names in SQL of those products that are tables or views.
    """

    name: str
    source: str
    product: str | dict[str, str] | None = None
    upstream: dict[str, Any] | None = None
    params: dict[str, Any] = {}
    client: Call | None = None
    relations: tuple[str, ...] = ()


class HookCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A hook that is to be called now.

    Attributes:
        hook: which one.
        call: its function.
        task: whose it is; None: the whole pipeline's.
        tasks: of a hook of the pipeline: all of its tasks.
        report: how each task ended: its name, whether it ran, and seconds.
        traceback: of what failed, as text.
    """

    hook: HookName
    call: Call
    task: HookTask | None = None
    tasks: tuple[HookTask, ...] = ()
    report: tuple[tuple[str, bool, float], ...] = ()
    traceback: str = ""

    @property
    def whose(self) -> str:
        """The hook's name for a reader."""
        return f"{self.hook} of task '{self.task.name}'" if self.task else f"{self.hook}"
