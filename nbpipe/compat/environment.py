"""``with_env`` and ``load_env``: functions that are given the values of an env file."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.errors import UsageError
from nbpipe.store.env import OVERRIDES
from nbpipe.store.placeholders import env_values


class Env(Mapping[str, Any]):
    """Values by key; those of a mapping by ``env.key`` too.

    Args:
        values: with which it is filled.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        found = self._values[key]
        return Env(found) if isinstance(found, Mapping) else found

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"the env has no key '{key}'") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def with_env(source: Mapping[str, Any] | str | Path | Callable[..., Any]) -> Callable[..., Any]:
    """Give a function the values of a file, or of a mapping, as its first argument ``env``.

    Without parentheses they are those of ``env.yaml``. ``{{placeholders}}`` in them are filled as
    those of a pipeline are. Texts under the key ``path`` become paths.

    A caller changes one by ``env__key=value``, ``env__outer__inner=value``.

    Raises:
        UsageError: there is no such file or key.
        SpecError: the file is not what it should be, or a placeholder cannot be filled.
    """
    if callable(source):
        return with_env("env.yaml")(source)  # type: ignore[no-any-return]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            said = {key: kwargs.pop(key) for key in list(kwargs) if key.startswith("env__")}
            values = _read(source)
            for key, value in said.items():
                _set(values, key.removeprefix("env__").split("__"), value)
            if isinstance(values.get("path"), dict):
                values["path"] = _as_paths(values["path"])
            return function(Env(values), *args, **kwargs)

        # What a caller gives: all but the first one, which is given here.
        signature = inspect.signature(function)
        _, *given = signature.parameters.values()
        call.__signature__ = signature.replace(parameters=given)  # type: ignore[attr-defined]
        return call

    return decorate


def load_env(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function the values of ``env.yaml`` in this folder, as its first argument."""
    return with_env("env.yaml")(function)  # type: ignore[no-any-return]


def _read(source: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return env_values(source)
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"{source}: cannot be read: no such file", "write 'key: value' in it")
    said = msgspec.json.decode(os.environ.get(OVERRIDES, "{}"), type=dict[str, str])
    return env_values(path, said)


def _as_paths(values: dict[str, Any]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for key, value in values.items():
        paths[key] = _as_paths(value) if isinstance(value, dict) else value
        if isinstance(value, str):
            paths[key] = Path(value).expanduser()
    return paths


def _set(values: dict[str, Any], path: list[str], value: Any) -> None:
    *outer, last = path
    for key in outer:
        inner = values.get(key)
        if not isinstance(inner, dict):
            raise UsageError(f"the env has no key '{'.'.join(path)}'")
        values = inner
    if last not in values:
        raise UsageError(f"the env has no key '{'.'.join(path)}'")
    values[last] = value
