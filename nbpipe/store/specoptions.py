"""The keys of a task that say how its notebook is run, checked and converted."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from nbpipe.core.model import Product
from nbpipe.core.options import ANALYSES, NOTEBOOK_KEY, PLAIN, Analysis, NotebookOptions
from nbpipe.errors import did_you_mean
from nbpipe.store.spectaskkeys import NotebookKeys, SerializerKeys
from nbpipe.store.specwalk import Walk
from nbpipe.store.yamlnodes import Mapping, Scalar, join_key, show

NOTEBOOK_KEYS = frozenset(NotebookKeys.__struct_fields__) - frozenset(
    SerializerKeys.__struct_fields__
)

EXECUTORS = ("papermill", "ploomber-engine")

_NO_EFFECT = frozenset(
    {"engine_name", "log_output", "progress_bar", "autosave_cell_every", "verbose"}
    | {"request_save_on_cell_execute"}
)
"""Options of Ploomber's executors about bars, logs and saving, of which there is nothing to choose
here: outputs are always kept and always shown as they come."""

_INSTEAD = {
    "execution_timeout": "write 'timeout:' in the task, for the whole of it",
    "start_timeout": "remove it: a kernel has 60 seconds",
    "cwd": "write 'local_execution: true' for the folder of the source",
    "report_mode": "write 'nbconvert_export_kwargs: {exclude_input: true}' and a product in HTML",
    "remove_tagged_cells": "let nbconvert remove them: TagRemovePreprocessor in 'config'",
    "debug_later": "remove it: a failed notebook is always kept",
}
"""What to write in the place of options that are not supported."""


class OptionReader:
    """Reads these keys of one task; what is wrong is reported.

    Args:
        walk: takes the reports.
        node: of the task.
        entry: its keys.
        key: path of the task.
    """

    def __init__(self, walk: Walk, node: Mapping, entry: NotebookKeys, key: str) -> None:
        self._walk = walk
        self._node = node
        self._entry = entry
        self._key = key

    def report(self, at: str, message: str, hint: str | None) -> None:
        """Note what is wrong with one key."""
        where = join_key(self._key, at)
        self._walk.report(self._node.get(at) or self._node, where, message, hint)

    @property
    def said(self) -> bool:
        """Whether the task has any of these keys."""
        return not NOTEBOOK_KEYS.isdisjoint(self._node.entries)

    def only_notebooks(self) -> None:
        """For a task that is none: refuse the keys."""
        for name in self._node.entries:
            if name in NOTEBOOK_KEYS:
                self.report(name, f"key '{name}' is for notebooks", "remove it")

    def options(self, product: Product, keeps: bool) -> NotebookOptions:
        """The options.

        Args:
            product: of the task.
            keeps: False: the executed notebook is not kept (a script's).
        """
        entry = self._entry
        self._check_executor()
        self._check_suffix()
        if not self.said and keeps:
            return PLAIN
        keys = self._keys(product) if keeps else ()
        return NotebookOptions(
            keys=keys,
            exporters=self._exporters(keys, product),
            exporter_options=entry.nbconvert_export_kwargs or {},
            analysis=self._analysis(),
            beside_source=entry.local_execution is True,
            checks_kernel=entry.check_if_kernel_installed is not False,
            debug_later=entry.debug_mode == "later",
        )

    def kernel(self) -> str | None:
        """The kernel that the executor's params name; None: they name none."""
        name: Any = None
        for at, given in self._params():
            name = given.get("kernel_name", name)
            if "kernel_name" in given and not isinstance(given["kernel_name"], str):
                self.report(at, "'kernel_name' must be text", "name an installed kernel")
        return name if isinstance(name, str) else None

    def _params(self) -> list[tuple[str, dict[str, Any]]]:
        entry = self._entry
        pairs = (
            ("papermill_params", entry.papermill_params),
            ("executor_params", entry.executor_params),
        )
        return [(at, given) for at, given in pairs if given]

    def _check_suffix(self) -> None:
        """A source is read by its own suffix, and by no other."""
        said, source = self._entry.ext_in, self._node.get("source")
        if not isinstance(said, str) or not isinstance(source, Scalar):
            return
        if said.lstrip(".") != source.text.rpartition(".")[2]:
            hint = "rename the source, so that its suffix tells the format"
            self.report("ext_in", f"{show(said)} is not the source's suffix", hint)

    def _check_executor(self) -> None:
        entry = self._entry
        if entry.executor is not UNSET and entry.executor not in EXECUTORS:
            what = f"{show(str(entry.executor))} is no executor of notebooks"
            self.report("executor", what, did_you_mean(str(entry.executor), EXECUTORS))
        if entry.debug_mode not in (UNSET, None, "later"):
            what = f"{show(str(entry.debug_mode))} is not supported"
            hint = "write 'later', or remove it and call 'nbpipe build --debug'"
            self.report("debug_mode", what, hint)
        for at, given in self._params():
            for name in given.keys() - _NO_EFFECT - {"kernel_name"}:
                hint = _INSTEAD.get(name, "remove it; supported: kernel_name")
                self.report(at, f"option '{name}' is not supported", hint)

    def _keys(self, product: Product) -> tuple[str, ...]:
        said = self._entry.nb_product_key
        if said is UNSET:
            return (NOTEBOOK_KEY,)
        keys = (said,) if isinstance(said, str) else tuple(dict.fromkeys(said))
        if isinstance(product, dict):
            for name in keys:
                if name not in product:
                    hint = did_you_mean(name, product)
                    self.report("nb_product_key", f"there is no product {show(name)}", hint)
        return keys

    def _exporters(self, keys: tuple[str, ...], product: Product) -> dict[str, str]:
        said = self._entry.nbconvert_exporter_name
        if not said:
            return {}
        if isinstance(said, str):
            if len(keys) == 1:
                return {keys[0] if isinstance(product, dict) else "": said}
            what = "several products are the executed notebook"
            hint = "write a mapping: the exporter for each name in 'nb_product_key'"
            self.report("nbconvert_exporter_name", what, hint)
            return {}
        for name in said:
            if name not in keys:
                what = f"{show(name)} is not in 'nb_product_key'"
                self.report("nbconvert_exporter_name", what, did_you_mean(name, keys))
        return said

    def _analysis(self) -> Analysis:
        said = self._entry.static_analysis
        if said is UNSET:
            return "disable"
        if said not in ANALYSES:
            what = f"{show(str(said))} is not one of {', '.join(ANALYSES)}"
            self.report("static_analysis", what, did_you_mean(str(said), ANALYSES))
            return "disable"
        return said
