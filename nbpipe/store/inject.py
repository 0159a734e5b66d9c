"""A source as the notebook that is executed: its cells, and one that gives it its values."""

from __future__ import annotations

import copy
import hashlib
import json
import keyword
import math
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from nbpipe.core.fingerprint import INJECTED_TAG
from nbpipe.core.model import Cell, Product
from nbpipe.errors import Problem, SpecError
from nbpipe.store.declared import PARAMETERS_TAG
from nbpipe.store.reading import Source

COMMENT = "# Injected by nbpipe: paths are relative to the folder of pipeline.yaml."

_WIDTH = 88
_RESERVED = frozenset({"upstream", "product"})


def to_notebook(
    source: Source,
    *,
    upstream: Mapping[str, Any] | None,
    product: Product,
    params: Mapping[str, Any],
    kernel: str,
    provenance: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """A source as an nbformat 4 notebook without outputs, ready to run.

    The injected cell follows the one tagged ``parameters`` (or stands first) and replaces one
    that an earlier run left. Equal arguments give equal notebooks, cell ids included.

    Args:
        source: what `parse_source` gave.
        upstream: value of ``upstream``; None: it has none.
        product: value of ``product``.
        params: further variables.
        kernel: name of the kernel that runs it.
        provenance: kept as ``nbpipe`` in the notebook's metadata; None: nothing is.

    Returns:
        The notebook, and for each cell the line of the script where its text starts (0: none).

    Raises:
        SpecError: a value cannot be written in the source's language.
    """
    injected = Cell(
        kind="code",
        text=injected_cell_text(source.language, upstream, product, params, source.path),
        tags=(INJECTED_TAG,),
    )
    pairs = [
        (cell, options)
        for cell, options in zip(source.cells, source.options, strict=True)
        if INJECTED_TAG not in cell.tags
    ]
    at = next((i + 1 for i, (cell, _) in enumerate(pairs) if PARAMETERS_TAG in cell.tags), 0)
    pairs.insert(at, (injected, {"tags": [INJECTED_TAG]}))
    notebook = {
        "cells": [_nbformat_cell(cell, options, i) for i, (cell, options) in enumerate(pairs)],
        "metadata": _metadata(source, kernel, provenance),
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return notebook, tuple(cell.line for cell, _ in pairs)


def injected_cell_text(
    language: str,
    upstream: Mapping[str, Any] | None,
    product: Product,
    params: Mapping[str, Any],
    path: str = "params",
) -> str:
    """The text of the injected cell: params first, then ``upstream`` and ``product``.

    Args:
        language: ``python``, ``r``, ``julia`` or ``bash``.
        upstream: None or an empty mapping give the language's null.
        product: likewise.
        params: JSON-like values by their names.
        path: of the source, for messages.

    Raises:
        SpecError: a name or a value has no form in the language.
    """
    assign = _ASSIGN.get("python" if language.startswith("ipython") else language)
    if assign is None:
        hint = f"languages that can be given values: {', '.join(sorted(_ASSIGN))}"
        raise _problem(path, f"no values can be injected into {language}", hint)
    for name in params:
        _check_name(name, language, path)
    values = {**params, "upstream": upstream or None, "product": product or None}
    try:
        lines = [assign(name, value) for name, value in values.items()]
    except _UnwritableError as error:
        hint = "use text, numbers, true, false, null, lists and mappings"
        raise _problem(path, f"a param of type {error} cannot be injected", hint) from None
    return "\n".join([COMMENT, *lines])


class _UnwritableError(Exception):
    """A value has no form in the language; the argument names its type."""


def _problem(path: str, message: str, hint: str) -> SpecError:
    return SpecError([Problem(path, 0, 0, "", message, hint)])


def _check_name(name: Any, language: str, path: str) -> None:
    plain = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    if not plain or (language != "python" and not name.isascii()):
        raise _problem(path, f"param {name!r} is no name of a variable", "rename the param")
    if name in _RESERVED:
        raise _problem(path, f"param '{name}' is a name that nbpipe sets", "rename the param")


def _nbformat_cell(cell: Cell, options: Mapping[str, Any], index: int) -> dict[str, Any]:
    metadata = copy.deepcopy(dict(options))
    attachments = metadata.pop("attachments", None)
    digest = hashlib.sha256(cell.text.encode("utf-8", "surrogatepass")).hexdigest()
    found: dict[str, Any] = {
        "cell_type": cell.kind,
        "id": f"{index}-{digest[:12]}",
        "metadata": metadata,
        "source": cell.text,
    }
    if cell.kind == "code":
        found |= {"execution_count": None, "outputs": []}
    elif attachments:
        found["attachments"] = attachments
    return found


def _metadata(source: Source, kernel: str, provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    metadata = copy.deepcopy(source.metadata)
    spec = metadata.get("kernelspec", {})
    same = spec.get("name") == kernel
    language = "R" if source.language == "r" else source.language
    metadata["kernelspec"] = {
        "display_name": (spec.get("display_name") if same else None) or kernel,
        "language": (spec.get("language") if same else None) or language,
        "name": kernel,
    }
    if provenance is not None:
        metadata["nbpipe"] = dict(provenance)
    return metadata


def _python(name: str, value: Any) -> str:
    return f"{name} = {_laid_out(value, _python_literal, _PYTHON_MARKS, len(name) + 3)}"


def _r(name: str, value: Any) -> str:
    return f"{name} <- {_laid_out(value, _r_literal, _R_MARKS, len(name) + 4)}"


def _julia(name: str, value: Any) -> str:
    return f"{name} = {_laid_out(value, _julia_literal, _JULIA_MARKS, len(name) + 3)}"


def _bash(name: str, value: Any) -> str:
    """Text and numbers as they are, all else as JSON; null is empty."""
    if value is None:
        return f"export {name}="
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except TypeError:
        raise _UnwritableError(type(value).__name__) from None
    return f"export {name}={shlex.quote(text)}"


_ASSIGN: dict[str, Callable[[str, Any], str]] = {
    "python": _python,
    "r": _r,
    "julia": _julia,
    "bash": _bash,
}

_Marks = tuple[str, str, str, str, str]
"""What opens and closes a mapping, joins a key to its value, opens and closes a list."""

_PYTHON_MARKS: _Marks = ("{", "}", ": ", "[", "]")
_R_MARKS: _Marks = ("list(", ")", " = ", "list(", ")")
_JULIA_MARKS: _Marks = ("Dict(", ")", " => ", "Any[", "]")


def _laid_out(
    value: Any, literal: Callable[[Any], str], marks: _Marks, used: int = 0, indent: str = ""
) -> str:
    """A value on one line, or with one item a line where that is too long."""
    if isinstance(value, Mapping):
        keys = [literal(key) + marks[2] for key in value]
        items, begin, end = list(value.values()), marks[0], marks[1]
    elif isinstance(value, (list, tuple)):
        keys = [""] * len(value)
        items, begin, end = list(value), marks[3], marks[4]
    else:
        return literal(value)
    inner = indent + "    "
    parts = [
        key + _laid_out(item, literal, marks, len(inner + key) + 1, inner)
        for key, item in zip(keys, items, strict=True)
    ]
    line = begin + ", ".join(parts) + end
    if not parts or ("\n" not in line and used + len(line) <= _WIDTH):
        return line
    comma = "" if marks is _R_MARKS else ","
    return begin + "\n" + ",\n".join(inner + part for part in parts) + f"{comma}\n{indent}{end}"


def _python_literal(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    raise _UnwritableError(type(value).__name__)


def _r_literal(value: Any) -> str:
    words = {None: "NULL", True: "TRUE", False: "FALSE"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, int):
        return f"{value}L" if abs(value) < 2**31 else f"{value}"
    return _shared_literal(value, {"inf": "Inf", "-inf": "-Inf", "nan": "NaN"})


def _julia_literal(value: Any) -> str:
    words = {None: "nothing", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("$", "\\$")
    return _shared_literal(value, {"inf": "Inf", "-inf": "-Inf", "nan": "NaN"})


def _shared_literal(value: Any, special: Mapping[str, str]) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (int, float)):
        return special.get(str(value), repr(value))
    raise _UnwritableError(type(value).__name__)
