"""Keys of a task that have to do with databases and files."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from nbpipe.store.spectaskkeys import Function, NotebookKeys, Text, says


class WorkKeys(NotebookKeys, kw_only=True, forbid_unknown_fields=True):
    """How scripts of other languages run, and where their products are."""

    client: Annotated[
        Function,
        says(
            "A function that gives the client of the task's database. Default: that of 'clients'.",
            "db.get_client",
        ),
    ] = UNSET
    product_client: Annotated[
        Function,
        says(
            "A function that gives the client of the product's database. Default: that of"
            " 'clients', else the task's.",
            "db.get_target",
        ),
    ] = UNSET
    chunksize: Annotated[
        Annotated[int, msgspec.Meta(gt=0)] | UnsetType | None,
        says(
            "Rows at a time. A dump with a size is a folder of files with so many rows each;"
            " null: one file. Default: 10000 for SQLDump and SQLTransfer.",
            1000,
        ),
    ] = UNSET
    to_sql_kwargs: Annotated[
        dict[str, Any] | UnsetType | None,
        says(
            "Options of pandas.DataFrame.to_sql for an upload.",
            {"if_exists": "replace", "index": False},
        ),
    ] = UNSET
    io_handler: Annotated[
        Text | UnsetType | None,
        says(
            "The format of a dump, csv or parquet; or a function that reads the file of an upload."
            " Default: what the suffix says.",
            "parquet",
        ),
    ] = UNSET
    sha256: Annotated[
        Text | UnsetType,
        says("The digest that a download must have, hexadecimal.", "9f86d081884c7d659a2f…"),
    ] = UNSET
