"""The sources that ``nbpipe scaffold`` writes."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from nbpipe.core.model import Cell
from nbpipe.errors import UsageError
from nbpipe.store.declared import PARAMETERS_TAG

SUFFIXES = (".py", ".ipynb", ".md", ".Rmd", ".R")
"""Formats that a missing source can be made in."""

_CODE = "# Add your code in a new cell here, at the end of the notebook."


def template(
    name: str,
    *,
    suffix: str = ".py",
    upstream: Sequence[str] | None = None,
    kernel: str | None = None,
    display_name: str | None = None,
) -> str:
    """The text of a new source that Jupyter opens as a notebook.

    Args:
        name: of the task, its heading.
        suffix: of the file: one of `SUFFIXES`.
        upstream: names to declare; None or empty: ``upstream = None``.
        kernel: name of its kernel; None: ``python3``, or ``ir`` for R.
        display_name: of the kernel, as Jupyter shows it; None: the usual one.

    Raises:
        UsageError: there is no template for the suffix.
    """
    known = {s.lower(): s for s in SUFFIXES}
    if suffix.lower() not in known:
        hint = f"use one of {', '.join(SUFFIXES)}"
        raise UsageError(f"no template for a source ending in '{suffix}'", hint)
    suffix = known[suffix.lower()]
    language = "R" if suffix in (".R", ".Rmd") else "python"
    spec = {
        "display_name": display_name or ("R" if language == "R" else "Python 3 (ipykernel)"),
        "language": language,
        "name": kernel or ("ir" if language == "R" else "python3"),
    }
    title = " ".join(name.split())
    cells = [
        ("markdown", f"# {title}\n\nAdd description here.", []),
        ("code", _parameters(upstream or (), language), [PARAMETERS_TAG]),
        ("code", _CODE, []),
    ]
    if suffix == ".py":
        return _script(cells, spec)
    if suffix == ".ipynb":
        return json.dumps(_notebook(cells, spec), indent=1, ensure_ascii=False) + "\n"
    return _through_jupytext(_notebook(cells, spec), suffix)


def function_template(name: str) -> str:
    """The text of a new function; ``name`` may be dotted, its last part counts.

    Raises:
        UsageError: that part is no name of a function.
    """
    short = PurePosixPath(name).name.rpartition(".")[2]
    if not short.isidentifier():
        raise UsageError(f"'{short}' is no name of a function", "rename it in pipeline.yaml")
    return (
        f"def {short}(product, upstream=None):\n"
        '    """Add description here.\n\n'
        "    Args:\n"
        "        product: where to write: a path, or paths by name.\n"
        "        upstream: what to read: products of each upstream task, by its name.\n"
        '    """\n'
    )


def parameters_text(upstream: Sequence[str]) -> str:
    """The text of the cell tagged ``parameters`` of a Python task."""
    return _parameters(upstream, "python")


def percent_text(cells: Sequence[Cell], *, kernel: str | None = None) -> str:
    """Python cells as a script in the percent format, magics commented out as jupytext does.

    Args:
        cells: of the script, with their tags.
        kernel: name of its kernel; None: ``python3``.
    """
    display = "Python 3 (ipykernel)" if kernel in (None, "python3") else str(kernel)
    spec = {"display_name": display, "language": "python", "name": kernel or "python3"}
    notebook = _notebook([(c.kind, c.text, list(c.tags)) for c in cells], spec)
    text = _through_jupytext(notebook, ".py")
    return re.sub(r"^#       (format|jupytext)_version: .*\n", "", text, flags=re.MULTILINE)


def _parameters(upstream: Sequence[str], language: str) -> str:
    if language == "R":
        names = ", ".join(json.dumps(name, ensure_ascii=False) for name in upstream)
        first = f"upstream = list({names})" if upstream else "upstream = NULL"
        return "\n".join([*_COMMENTS["R"], first, "", *_PRODUCT_COMMENTS, "product = NULL"])
    first = f"upstream = {list(upstream)!r}" if upstream else "upstream = None"
    return "\n".join([*_COMMENTS["python"], first, "", *_PRODUCT_COMMENTS, "product = None"])


_COMMENTS = {
    "python": [
        "# Tasks that run before this one, for example: upstream = ['get'].",
        "# Their products are then at hand as upstream['get'].",
    ],
    "R": [
        "# Tasks that run before this one, for example: upstream = list('get').",
        "# Their products are then at hand as upstream[['get']].",
    ],
}
_PRODUCT_COMMENTS = ["# Leave this as it is: nbpipe fills it in from pipeline.yaml."]


def _script(cells: Sequence[tuple[str, str, list[str]]], spec: dict[str, str]) -> str:
    header = [
        "# ---",
        "# jupyter:",
        "#   jupytext:",
        "#     text_representation:",
        "#       extension: .py",
        "#       format_name: percent",
        "#   kernelspec:",
        *(f"#     {key}: {json.dumps(value)}" for key, value in spec.items()),
        "# ---",
    ]
    parts = ["\n".join(header)]
    for kind, text, tags in cells:
        marker = "# %%" + (" [markdown]" if kind == "markdown" else "")
        marker += f" tags={json.dumps(tags)}" if tags else ""
        if kind == "markdown":
            text = "\n".join(f"# {line}".rstrip() for line in text.split("\n"))
        parts.append(f"{marker}\n{text}")
    return "\n\n".join(parts) + "\n"


def _notebook(cells: Sequence[tuple[str, str, list[str]]], spec: dict[str, str]) -> dict[str, Any]:
    found = []
    for index, (kind, text, tags) in enumerate(cells):
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": f"cell-{index}",
            "metadata": {"tags": tags} if tags else {},
            "source": text.splitlines(keepends=True),
        }
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        found.append(cell)
    metadata = {"kernelspec": spec}
    return {"cells": found, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _through_jupytext(notebook: dict[str, Any], suffix: str) -> str:
    import jupytext
    import nbformat

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nb = nbformat.reads(json.dumps(notebook), as_version=4)
        fmt = {"extension": suffix}
        if suffix in (".R", ".py"):
            fmt["format_name"] = "percent"
        return str(jupytext.writes(nb, fmt=fmt)).rstrip("\n") + "\n"
