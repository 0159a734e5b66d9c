"""``with_env`` and ``load_env``: functions that are given the values of an env file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from nbpipe.errors import UsageError


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

    Without parentheses they are those of ``env.yaml``. Texts under the key ``path`` become paths.

    A caller changes one by ``env__key=value``, ``env__outer__inner=value``.

    Raises:
        UsageError: there is no such file or key.
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

        return call

    return decorate


def load_env(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function the values of ``env.yaml`` in this folder, as its first argument."""
    return with_env("env.yaml")(function)  # type: ignore[no-any-return]


def _read(source: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return _copied(source)
    try:
        found = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{source}: cannot be read: {error}", "write 'key: value' in it") from None
    if not isinstance(found, Mapping):
        raise UsageError(f"{source}: is no mapping", "write 'key: value' in it")
    return _copied(found)


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copied(v) if isinstance(v, Mapping) else v for k, v in values.items()}


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
