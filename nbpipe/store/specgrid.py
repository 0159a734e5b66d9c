"""One task of a spec as many: a ``grid`` of params, with ``[[key]]`` in name and product."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

MOST_TASKS = 10_000
"""So many tasks may come of one grid."""

_PLACEHOLDER = re.compile(r"\[\[\s*(.*?)\s*\]\]")


class GridError(ValueError):
    """A grid that cannot be laid out; its arguments are a message and a hint."""


def variants(
    grid: Mapping[str, Any] | Sequence[Mapping[str, Any]], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The params of each task: every combination of a mapping's lists, one mapping after another.

    Args:
        grid: a mapping, or several; a value that is no list counts as a list of one.
        params: the same for all of them.

    Raises:
        GridError: a key is in both, a list is empty, or there are more than `MOST_TASKS`.
    """
    found: list[dict[str, Any]] = []
    for one in [grid] if isinstance(grid, Mapping) else grid:
        for key in one:
            if key in params:
                raise GridError(f"'{key}' is in 'params' too", "remove it from one of the two")
        values = [_listed(key, value) for key, value in one.items()]
        chosen = itertools.islice(itertools.product(*values), MOST_TASKS + 1)
        found.extend({**dict(zip(one, values, strict=True)), **params} for values in chosen)
        if len(found) > MOST_TASKS:
            raise GridError(f"gives more than {MOST_TASKS:,} tasks", "list fewer values")
    if not found:
        raise GridError("gives no task", "list at least one value for each key")
    return found


def _listed(key: str, value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        raise GridError(f"the value of '{key}' is a mapping", "write a list of values")
    if isinstance(value, list) and not value:
        raise GridError(f"'{key}' lists no value", "list at least one")
    return value if isinstance(value, list) else [value]


def has_placeholder(text: str) -> bool:
    """Whether ``[[…]]`` is in a text."""
    return _PLACEHOLDER.search(text) is not None


def rendered(text: str, params: Mapping[str, Any]) -> str:
    """A text with each ``[[key]]`` as the value of that param.

    Raises:
        GridError: there is no such param.
    """
    return _PLACEHOLDER.sub(lambda match: str(_value(match[1], params)), text)


def _value(said: str, params: Mapping[str, Any]) -> Any:
    value: Any = params
    for key in said.split("."):
        if not isinstance(value, Mapping) or key not in value:
            known = ", ".join(params) or "none"
            raise GridError(f"there is no param '{said}' for [[{said}]]", f"params here: {known}")
        value = value[key]
    return value


def numbered(path: str, index: int, params: Mapping[str, Any]) -> str:
    """The path of a product of the task with this number: ``a.csv`` becomes ``a-0.csv``.

    Raises:
        GridError: as `rendered`.
    """
    pure = PurePosixPath(path)
    suffix = "".join(pure.suffixes)
    name = pure.name.replace(suffix, "") if suffix else pure.name
    return rendered(str(pure.parent / f"{name}-{index}{suffix}"), params)


def names(base: str, found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The name of each task: ``base`` with its placeholders filled, or else with a number.

    Raises:
        GridError: as `rendered`.
    """
    for index, params in enumerate(found):
        yield rendered(base, params) if has_placeholder(base) else f"{base}{index}"
