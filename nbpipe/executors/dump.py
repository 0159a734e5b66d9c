"""The frames of an error in a file, with their variables and source, for a debugger later.

Each variable is pickled by itself, so that one that cannot be pickled costs only itself: its text
stands for it. cloudpickle is used where it is installed, since it takes classes and functions of a
notebook. Source lines are kept as well: a dump can be looked into where the project is not.
"""

from __future__ import annotations

import contextlib
import importlib
import linecache
import os
import pickle
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import Any

import msgspec

FORMAT = 1
"""Of the file; another one is refused."""

MOST_BYTES = 200_000_000
"""Of all variables together; what comes after is kept as its text."""

LONGEST_TEXT = 2_000
"""Characters of the text that stands for a variable."""

OF_IPYTHON = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})
"""Names that a kernel adds to the user's."""

_NOT_OURS = ("/IPython/core/", "/ipykernel/", "/nbpipe/executors/", "/asyncio/")


class Value(msgspec.Struct, frozen=True):
    """A variable.

    Attributes:
        text: its ``repr``, cut.
        pickled: the value; None: it could not be pickled, or is too large.
        module: name of the module that it is; "": it is none.
    """

    text: str
    pickled: bytes | None = None
    module: str = ""


class Frame(msgspec.Struct, frozen=True):
    """One call.

    Attributes:
        file: of its code.
        name: of the function.
        line: 1-based, where it was.
        values: its variables by their names.
        own: False: they are those of the module.
    """

    file: str
    name: str
    line: int
    values: dict[str, Value]
    own: bool


class Dump(msgspec.Struct, frozen=True):
    """An error with its frames.

    Attributes:
        task: in which it happened.
        error: name of the exception.
        message: its text.
        traceback: as Python prints it.
        frames: outermost first.
        sources: the lines of each file of a frame.
        format: of the file.
    """

    task: str
    error: str
    message: str
    traceback: str
    frames: tuple[Frame, ...]
    sources: dict[str, list[str]]
    format: int = FORMAT


def write_dump(path: Path, task: str, error: BaseException) -> None:
    """Write the frames of an error; what cannot be written is let go, the error counts more."""
    with contextlib.suppress(OSError):
        data = msgspec.msgpack.encode(make_dump(task, error))
        descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(made, path)


def make_dump(task: str, error: BaseException) -> Dump:
    """The frames of an error, as data."""
    keep, frames, sources = _Keeper(), [], {}
    for frame, line in _frames(error.__traceback__):
        code = frame.f_code
        frames.append(
            Frame(
                file=code.co_filename,
                name=code.co_name,
                line=line,
                values=keep.values(frame.f_locals),
                own=code.co_name != "<module>",
            )
        )
        sources[code.co_filename] = linecache.getlines(code.co_filename, frame.f_globals)
    return Dump(
        task=task,
        error=type(error).__name__,
        message=_text(error, str),
        traceback="".join(traceback.format_exception(error)),
        frames=tuple(frames),
        sources=sources,
    )


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """The frames without those of the kernel and of ours that led to the code of the task."""
    found = []
    while trace is not None:
        found.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    while len(found) > 1 and _is_theirs(found[0][0]):
        found.pop(0)
    yield from found


def _is_theirs(frame: FrameType) -> bool:
    file = frame.f_code.co_filename.replace(os.sep, "/")
    return any(part in file for part in _NOT_OURS)


class _Keeper:
    """Pickles variables while there is room."""

    def __init__(self) -> None:
        self._room = MOST_BYTES
        try:
            self._dumps: Any = importlib.import_module("cloudpickle").dumps
        except ImportError:
            self._dumps = pickle.dumps

    def values(self, found: Mapping[str, Any]) -> dict[str, Value]:
        """The variables that are the user's."""
        names = [name for name in found if name not in OF_IPYTHON and not name.startswith("_")]
        return {name: self._value(found[name]) for name in names}

    def _value(self, value: Any) -> Value:
        text = _text(value, repr)
        if isinstance(value, ModuleType):
            return Value(text, module=value.__name__)
        try:
            pickled = self._dumps(value)
        except Exception:  # whatever a class does when it is pickled
            return Value(text)
        if len(pickled) > self._room:
            return Value(text)
        self._room -= len(pickled)
        return Value(text, pickled)


def _text(value: Any, how: Any) -> str:
    try:
        said = str(how(value))
    except Exception as error:  # a repr may fail as anything else
        return f"<{type(value).__name__}, whose text cannot be had: {type(error).__name__}>"
    return said if len(said) <= LONGEST_TEXT else said[:LONGEST_TEXT] + " …"


def restored(value: Value) -> Any:
    """A variable as it was; what could not be kept is a :class:`Missing` with its text.

    This runs code of whoever wrote the file.
    """
    if value.module:
        with contextlib.suppress(Exception):
            return importlib.import_module(value.module)
    if value.pickled is not None:
        with contextlib.suppress(Exception):
            return pickle.loads(value.pickled)
    return Missing(value.text)


class Missing:
    """Stands for a variable that could not be kept; shows its text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"<not kept: {self.text}>"
