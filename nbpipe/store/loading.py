"""Values out of products, by suffix. Libraries are imported only for what is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbpipe.core.model import Record
from nbpipe.errors import StoreError, UsageError
from nbpipe.store.products import digest_product

PICKLES = frozenset({".pickle", ".pkl", ".joblib"})
"""Loading these runs code of whoever wrote them."""


def load_product(path: Path, name: str, record: Record | None) -> Any:
    """The value that a product holds.

    ``.csv .tsv .parquet .feather`` become data frames, ``.json .yaml`` plain values, ``.npy .npz``
    arrays, images a PIL image, text a ``str``, a notebook its cells; a folder is its path.

    Args:
        path: absolute.
        name: relative to the root, as records name it.
        record: what is remembered of the task that makes it. A pickle is loaded only when its
            bytes are those that this pipeline recorded.

    Raises:
        UsageError: nothing is known of its suffix, a library is missing, or a pickle is not ours.
        StoreError: there is no such file, or it cannot be read.
    """
    if path.is_dir():
        return path
    suffix = path.suffix.lower()
    loader = _LOADERS.get(suffix)
    if loader is None:
        known = " ".join(sorted(_LOADERS))
        raise UsageError(
            f"{name}: no loader for '{suffix}'", f"load its path yourself; known: {known}"
        )
    if suffix in PICKLES:
        _require_ours(path, name, record)
    try:
        return loader(path)
    except FileNotFoundError:
        raise StoreError(f"{name}: there is no such file", "build the task that makes it") from None
    except ImportError as error:
        hint = f"install {error.name}, or use its path" if error.name else None
        raise UsageError(f"{name}: cannot be loaded: {error}", hint) from error
    except OSError as error:
        raise StoreError(f"{name}: cannot be read: {error.strerror or error}") from error


def _require_ours(path: Path, name: str, record: Record | None) -> None:
    known = record.good.products.get(name) if record is not None and record.good else None
    now = digest_product(path)
    if now is None:
        raise StoreError(f"{name}: there is no such file", "build the task that makes it")
    if known is None or known.digest != now.digest:
        raise UsageError(
            f"{name}: a pickle that this pipeline did not write is not loaded, since loading runs "
            "what it holds",
            "build the task that makes it, or load it yourself if you trust it",
        )


def _frame(reader: str, **options: Any) -> Callable[[Path], Any]:
    def load(path: Path) -> Any:
        import pandas

        return getattr(pandas, reader)(path, **options)

    return load


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _yaml(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _array(path: Path) -> Any:
    import numpy

    return numpy.load(path, allow_pickle=False)


def _image(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        return image


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _pickle(path: Path) -> Any:
    import pickle

    with path.open("rb") as file:
        return pickle.load(file)


def _joblib(path: Path) -> Any:
    import joblib

    return joblib.load(path)


def _notebook(path: Path) -> Any:
    import nbformat

    return nbformat.read(path, as_version=4)


_LOADERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _frame("read_csv"),
    ".tsv": _frame("read_csv", sep="\t"),
    ".parquet": _frame("read_parquet"),
    ".feather": _frame("read_feather"),
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".npy": _array,
    ".npz": _array,
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"), _image),
    **dict.fromkeys((".txt", ".md", ".html", ".svg", ".log"), _text),
    ".pickle": _pickle,
    ".pkl": _pickle,
    ".joblib": _joblib,
    ".ipynb": _notebook,
}
