"""Serializers: what a task's function returns is written for it, and what it reads is read for it.

``@serializer`` and ``@unserializer`` make a function of a project into one that a spec can name::

    @serializer({".npy": write_array}, fallback="joblib", defaults=[".json", ".csv"])
    def write(obj, product):
        ...

The suffix of the product decides: a function of the mapping, one of the defaults (``.txt``,
``.json``, ``.csv``, ``.parquet``), the fallback (``True`` or ``"pickle"``, ``"joblib"``,
``"cloudpickle"``), or else the decorated function itself.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from nbpipe.errors import did_you_mean

__all__ = ["serializer", "serializer_pickle", "unserializer", "unserializer_pickle"]

Write = Callable[[Any, Any], None]
"""Is given an object and the path that it is to be written to."""

Read = Callable[[Any], Any]
"""Is given a path, and gives the object that was written to it."""

_LIBRARIES = {True: "pickle", "pickle": "pickle", "joblib": "joblib", "cloudpickle": "cloudpickle"}


# -- what is written ---------------------------------------------------------------------------


def _write_text(obj: Any, product: Any) -> None:
    if not isinstance(obj, str):
        raise TypeError(f"{product}: a .txt product is text, not of type {type(obj).__name__}")
    Path(product).write_text(obj)


def _write_json(obj: Any, product: Any) -> None:
    try:
        text = json.dumps(obj)
    except TypeError as error:
        raise TypeError(f"{product}: cannot be written as JSON: {error}") from None
    Path(product).write_text(text)


def _frame_writer(method: str) -> Write:
    def write(obj: Any, product: Any) -> None:
        if not hasattr(obj, method):
            kind = type(obj).__name__
            raise TypeError(f"{product}: should be a data frame, but is of type {kind}")
        getattr(obj, method)(product)

    return write


_WRITERS: dict[str, Write] = {
    ".txt": _write_text,
    ".json": _write_json,
    ".csv": _frame_writer("to_csv"),
    ".parquet": _frame_writer("to_parquet"),
}


# -- what is read ------------------------------------------------------------------------------


def _read_json(product: Any) -> Any:
    return json.loads(Path(product).read_text())


def _frame_reader(function: str) -> Read:
    def read(product: Any) -> Any:
        return getattr(import_module("pandas"), function)(product)

    return read


_READERS: dict[str, Read] = {
    ".txt": lambda product: Path(product).read_text(),
    ".json": _read_json,
    ".csv": _frame_reader("read_csv"),
    ".parquet": _frame_reader("read_parquet"),
}


# -- the decorators ----------------------------------------------------------------------------


def serializer(
    extension_mapping: Mapping[str, Write] | None = None,
    *,
    fallback: bool | str = False,
    defaults: Iterable[str] | None = None,
    unpack: bool = False,
) -> Callable[[Write], Write]:
    """Make a function of ``(obj, product)`` write objects by the suffix of their product.

    Of a task with several products the object is a mapping with the same names.

    Args:
        extension_mapping: a function for each suffix, such as ``{".npy": write_array}``.
        fallback: what writes products of other suffixes; False: the decorated function.
        defaults: suffixes that are written as nbpipe itself does.
        unpack: True: a mapping becomes a folder, with one file for each of its keys.

    Raises:
        TypeError: the function, the mapping or the defaults are not as described.
        ValueError: a default or the fallback is not known, or a suffix is named twice.
        ModuleNotFoundError: the fallback's library is not installed.
    """

    def decorate(function: Write) -> Write:
        _check_parameters(function, 2)
        known = _by_suffix(extension_mapping, defaults, _WRITERS)
        last = _dumper(fallback)

        def one(obj: Any, product: Any) -> None:
            (known.get(Path(product).suffix) or last or function)(obj, product)

        def folder_or_one(obj: Any, product: Any) -> None:
            if not unpack or not isinstance(obj, Mapping):
                return one(obj, product)
            _clear(Path(product))
            for name, part in obj.items():
                one(part, Path(product, name))
            return None

        @functools.wraps(function)
        def write(obj: Any, product: Any) -> None:
            if not isinstance(product, Mapping):
                return folder_or_one(obj, product)
            _check_names(obj, product)
            for name, part in obj.items():
                folder_or_one(part, product[name])
            return None

        return write

    return decorate


def unserializer(
    extension_mapping: Mapping[str, Read] | None = None,
    *,
    fallback: bool | str = False,
    defaults: Iterable[str] | None = None,
    unpack: bool = False,
) -> Callable[[Read], Read]:
    """Make a function of ``(product)`` read objects by the suffix of their product.

    Of a task with several products it gives a mapping with the same names.

    Args:
        extension_mapping: a function for each suffix, such as ``{".npy": read_array}``.
        fallback: what reads products of other suffixes; False: the decorated function.
        defaults: suffixes that are read as nbpipe itself does.
        unpack: True: a folder becomes a mapping, with one object for each file in it.

    Raises:
        TypeError, ValueError, ModuleNotFoundError: as `serializer`.
    """

    def decorate(function: Read) -> Read:
        _check_parameters(function, 1)
        known = _by_suffix(extension_mapping, defaults, _READERS)
        last = _loader(fallback)

        def one(product: Any) -> Any:
            return (known.get(Path(product).suffix) or last or function)(product)

        @functools.wraps(function)
        def read(product: Any) -> Any:
            if isinstance(product, Mapping):
                return {name: read(path) for name, path in product.items()}
            if unpack and Path(product).is_dir():
                files = sorted(path for path in Path(product).iterdir() if path.is_file())
                return {path.name: one(path) for path in files}
            return one(product)

        return read

    return decorate


# -- checks ------------------------------------------------------------------------------------


def _check_parameters(function: Callable[..., Any], count: int) -> None:
    takes = len(inspect.signature(function).parameters)
    if takes != count:
        name, what = function.__name__, "(obj, product)" if count == 2 else "(product)"
        raise TypeError(f"{name}() should take {what}, but has {takes} parameters")


def _by_suffix(
    mapping: Mapping[str, Any] | None, defaults: Iterable[str] | None, built_in: Mapping[str, Any]
) -> dict[str, Any]:
    if mapping is not None and not isinstance(mapping, Mapping):
        raise TypeError(f"a mapping of suffixes is expected, not a {type(mapping).__name__}")
    if isinstance(defaults, str) or not isinstance(defaults or (), Iterable):
        raise TypeError("'defaults' should be a list of suffixes, such as ['.json']")
    own = dict(mapping or {})
    for suffix in own:
        if not suffix.startswith("."):
            raise ValueError(f"a suffix begins with a dot, unlike {suffix!r}")
    for suffix in defaults or ():
        if suffix not in built_in:
            hint = did_you_mean(str(suffix), built_in) or f"there are {', '.join(built_in)}"
            raise ValueError(f"there is no default for {suffix!r}: {hint}")
        if suffix in own:
            raise ValueError(f"{suffix!r} is in 'extension_mapping' and in 'defaults'")
        own[suffix] = built_in[suffix]
    return own


def _library(fallback: bool | str) -> Any:
    if fallback is False or fallback is None:
        return None
    if fallback not in _LIBRARIES:
        raise ValueError(f"fallback is True, 'joblib' or 'cloudpickle', not {fallback!r}")
    name = _LIBRARIES[fallback]
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"fallback={name!r}: {name} is not installed") from None


def _dumper(fallback: bool | str) -> Write | None:
    library = _library(fallback)
    if library is None:
        return None

    def dump(obj: Any, product: Any) -> None:
        with open(product, "wb") as file:
            library.dump(obj, file)

    return dump


def _loader(fallback: bool | str) -> Read | None:
    library = _library(fallback)
    if library is None:
        return None

    def load(product: Any) -> Any:
        with open(product, "rb") as file:
            return library.load(file)

    return load


def _check_names(obj: Any, product: Mapping[str, Any]) -> None:
    names = ", ".join(f"'{name}'" for name in product)
    if not isinstance(obj, Mapping):
        kind = type(obj).__name__
        raise TypeError(f"the task has the products {names}: return a mapping of them, no {kind}")
    if set(obj) != set(product):
        given = ", ".join(f"'{name}'" for name in obj) or "none"
        raise ValueError(f"the task has the products {names}, but returned {given}")


def _clear(folder: Path) -> None:
    """An empty folder in the place of whatever is there."""
    with contextlib.suppress(FileNotFoundError):
        folder.unlink() if not folder.is_dir() or folder.is_symlink() else shutil.rmtree(folder)
    folder.mkdir(parents=True)


@serializer(fallback=True)
def serializer_pickle(obj: Any, product: Any) -> None:
    """Pickle every product."""


@unserializer(fallback=True)
def unserializer_pickle(product: Any) -> Any:
    """Unpickle every product. Only read what you trust: reading runs what was written."""
