"""Notebooks in JSON as cells, without jupytext; nbformat is imported for old ones only."""

from __future__ import annotations

import json
import warnings
from typing import Any

from nbpipe.errors import Problem, SpecError
from nbpipe.store.declared import PARAMETERS_TAG
from nbpipe.store.script import Script, assemble, fail, first_line, normalised

_IPYNB_HINT = "open it in Jupyter and save it again"


def read_ipynb(text: str, path: str) -> Script:
    """The cells of a ``.ipynb``.

    Raises:
        SpecError: it is not one.
    """
    notebook = _json_notebook(text, path)
    cells = [_checked_cell(cell, i, path) for i, cell in enumerate(notebook["cells"], 1)]
    metadata = {key: value for key, value in notebook["metadata"].items() if key != "jupytext"}
    kernelspec = metadata.get("kernelspec", {})
    if not isinstance(kernelspec, dict) or not isinstance(kernelspec.get("name", ""), str):
        fail(path, 0, "metadata.kernelspec is no kernel's description", "choose a kernel anew")
    return assemble(cells, [0] * len(cells), metadata, "ipynb")


def _json_notebook(text: str, path: str) -> dict[str, Any]:
    try:
        notebook = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(
            [Problem(path, error.lineno, error.colno, "", f"not JSON: {error.msg}", _IPYNB_HINT)]
        ) from None
    except (ValueError, RecursionError) as error:
        fail(path, 0, f"not a notebook: {first_line(error)}", _IPYNB_HINT)
    if not isinstance(notebook, dict) or not isinstance(notebook.get("nbformat"), int):
        fail(path, 0, "not a notebook: no nbformat number", _IPYNB_HINT)
    if notebook["nbformat"] < 4:
        notebook = _upgraded(notebook, path)
    if notebook["nbformat"] > 4:
        number = notebook["nbformat"]
        fail(path, 0, f"nbformat {number} is not supported", "save it as nbformat 4")
    notebook.setdefault("metadata", {})
    if not isinstance(notebook.get("cells"), list) or not isinstance(notebook["metadata"], dict):
        fail(path, 0, "not a notebook: no list of cells", _IPYNB_HINT)
    result: dict[str, Any] = notebook
    return result


def _upgraded(notebook: dict[str, Any], path: str) -> dict[str, Any]:
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            new = nbformat.convert(nbformat.from_dict(notebook), 4)
        upgraded: dict[str, Any] = json.loads(json.dumps(new))
    except Exception as error:
        reason = f"nbformat {notebook['nbformat']} cannot be upgraded: {first_line(error)}"
        fail(path, 0, reason, _IPYNB_HINT)
    return upgraded


def _checked_cell(cell: Any, number: int, path: str) -> dict[str, Any]:
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        fail(path, 0, f"cell {number}: neither code nor markdown nor raw", _IPYNB_HINT)
    source = cell.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    metadata = cell.get("metadata", {})
    if not isinstance(source, str) or not isinstance(metadata, dict):
        fail(path, 0, f"cell {number}: not a cell of a notebook", _IPYNB_HINT)
    tags = metadata.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        hint = f'write the tags as a list: "tags": ["{PARAMETERS_TAG}"]'
        fail(path, 0, f"cell {number}: its tags are {json.dumps(tags)}, not a list", hint)
    return {**cell, "source": normalised(source), "metadata": metadata}
