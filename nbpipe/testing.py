"""Questions about a table, for hooks that check what a task has made: ``on_finish``.

Each is given a client of the database, and the table's name as the hook gets it in ``product``::

    def on_finish(client, product):
        assert not nulls_in_columns(client, ["shop", "price"], product)

Names of columns and conditions go into the statements as they are written: they are code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "assert_no_duplicates_in_column",
    "distinct_values_in_column",
    "duplicates_in_column",
    "exists_row_where",
    "nulls_in_columns",
    "range_in_column",
]

SHOWN = 10
"""So many values of a duplicate are told."""


def nulls_in_columns(client: Any, cols: str | Sequence[str], product: Any) -> bool:
    """Whether a value is missing in any of the columns."""
    missing = " OR ".join(f"{name} IS NULL" for name in _listed(cols))
    return exists_row_where(client, missing, product)


def distinct_values_in_column(client: Any, col: str, product: Any) -> set[Any]:
    """The values of a column."""
    return {row[0] for row in _rows(client, f"SELECT DISTINCT {col} FROM {product}")}


def duplicates_in_column(client: Any, col: str | Sequence[str], product: Any) -> bool:
    """Whether a value, of several columns a combination of values, is there more than once."""
    return bool(_duplicates(client, col, product))


def assert_no_duplicates_in_column(client: Any, col: str | Sequence[str], product: Any) -> None:
    """See that there are none.

    Raises:
        AssertionError: there are; it tells some of them, with how often each is there.
    """
    found = _duplicates(client, col, product)
    if found:
        shown = ", ".join(str(tuple(row)) for row in found[:SHOWN])
        columns = ", ".join(_listed(col))
        raise AssertionError(f"{product} has duplicates in {columns} (values, count): {shown}")


def range_in_column(client: Any, col: str, product: Any) -> tuple[Any, Any]:
    """The least and the greatest value of a column; None twice where there is none."""
    least, greatest = _rows(client, f"SELECT MIN({col}), MAX({col}) FROM {product}")[0]
    return least, greatest


def exists_row_where(client: Any, criteria: str, product: Any) -> bool:
    """Whether there is a row that a condition holds for, as SQL writes it after WHERE."""
    statement = f"SELECT CASE WHEN EXISTS (SELECT 1 FROM {product} WHERE {criteria})"
    return bool(_rows(client, f"{statement} THEN 1 ELSE 0 END")[0][0])


def _listed(cols: str | Sequence[str]) -> list[str]:
    return [cols] if isinstance(cols, str) else list(cols)


def _duplicates(client: Any, col: str | Sequence[str], product: Any) -> list[Any]:
    names = ", ".join(_listed(col))
    grouped = f"SELECT {names}, COUNT(*) FROM {product} GROUP BY {names}"
    return _rows(client, f"{grouped} HAVING COUNT(*) > 1")


def _rows(client: Any, query: str) -> list[Any]:
    cursor = client.cursor()
    try:
        cursor.execute(query)
        return list(cursor.fetchall())
    finally:
        cursor.close()
