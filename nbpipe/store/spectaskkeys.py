"""Keys of a task that have to do with hooks, serializers, and how a notebook is run."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

# The reader also wants it on one line. A pattern would say so, but msgspec 0.22 frees memory twice
# when a text with a pattern and a list or a mapping are alternatives (see msgspec#717).
Text = Annotated[str, msgspec.Meta(min_length=1)]


def says(description: str, *examples: Any) -> msgspec.Meta:
    """What a key means, for the docs and for editors."""
    return msgspec.Meta(description=description, examples=list(examples) or None)


Function = Text | dict[str, Any] | UnsetType | None
"""``module.function``, or a mapping of ``dotted_path`` and arguments."""


class HookKeys(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Functions of the project that are called around a task, or around a build."""

    on_render: Annotated[
        Function,
        says(
            "A function to call before anything runs; an error in it ends the build.",
            "hooks.check",
        ),
    ] = UNSET
    on_finish: Annotated[
        Function,
        says(
            "A function to call after a good run; an error in it makes the run a failure.",
            "hooks.check",
            {"dotted_path": "hooks.check", "rows": 10},
        ),
    ] = UNSET
    on_failure: Annotated[Function, says("A function to call after a failure.", "hooks.tell")] = (
        UNSET
    )


class SerializerKeys(HookKeys, kw_only=True, forbid_unknown_fields=True):
    """What stands between a function and the disk."""

    serializer: Annotated[
        Function,
        says(
            "A function that is given what a task's function returns, and its product, which it"
            " writes.",
            "project_io.write",
        ),
    ] = UNSET
    unserializer: Annotated[
        Function,
        says(
            "A function that is given an upstream product, and gives what a task's function gets"
            " in its place.",
            "project_io.read",
        ),
    ] = UNSET


class NotebookKeys(SerializerKeys, kw_only=True, forbid_unknown_fields=True):
    """How a notebook is run, checked and converted."""

    nb_product_key: Annotated[
        Text | list[Text] | UnsetType,
        says(
            "Which of the named products is the executed notebook; a list: the same notebook in"
            " several formats. Default: nb.",
            "report",
            ["nb", "html"],
        ),
    ] = UNSET
    nbconvert_exporter_name: Annotated[
        Text | dict[str, Text] | UnsetType | None,
        says(
            "The exporter of nbconvert for the executed notebook, or one for each name in"
            " 'nb_product_key'. Default: what the product's suffix says.",
            "webpdf",
            {"slides": "slides"},
        ),
    ] = UNSET
    nbconvert_export_kwargs: Annotated[
        dict[str, Any] | UnsetType | None,
        says("Options of the exporter.", {"exclude_input": True}),
    ] = UNSET
    static_analysis: Annotated[
        Text | UnsetType,
        says(
            "What is checked in a Python notebook before it runs. regular: syntax, and names that"
            " nothing defines; strict: also that the params are those of the cell tagged"
            " 'parameters', all before any task runs; disable: nothing. Default: disable.",
            "regular",
            "strict",
        ),
    ] = UNSET
    local_execution: Annotated[
        bool | UnsetType,
        says("True: the notebook runs in the folder of its source; false (default): in the root."),
    ] = UNSET
    check_if_kernel_installed: Annotated[
        bool | UnsetType,
        says(
            "False: a missing kernel fails the task when it starts; true (default): the build"
            " before anything runs."
        ),
    ] = UNSET
    debug_mode: Annotated[
        Text | UnsetType | None,
        says(
            "later: the frames of a cell that fails are kept in the folder of the run, for"
            " 'nbpipe debug'; null (default): they are not.",
            "later",
        ),
    ] = UNSET
    ext_in: Annotated[
        Text | UnsetType | None,
        says("The source's suffix without the dot, where it should be said; no other.", "py"),
    ] = UNSET
    executor: Annotated[
        Text | UnsetType,
        says(
            "What runs notebooks in Ploomber: papermill or ploomber-engine. Both mean the same"
            " here: a fresh kernel.",
            "papermill",
        ),
    ] = UNSET
    executor_params: Annotated[
        dict[str, Any] | UnsetType | None,
        says(
            "Options of Ploomber's executor: 'kernel_name'; those about bars and logs change"
            " nothing here.",
            {"kernel_name": "python3"},
        ),
    ] = UNSET
    papermill_params: Annotated[
        dict[str, Any] | UnsetType | None, says("The older name of 'executor_params'.")
    ] = UNSET
