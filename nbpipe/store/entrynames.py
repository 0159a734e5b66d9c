"""Which spec file a folder's project means when nobody says: told before any library is imported.

Imports nothing that Python has not loaded already, see :mod:`nbpipe.store.signatures`.
"""

from __future__ import annotations

import os

VARIABLE = "ENTRY_POINT"
"""Environment variable with the name of the spec file, or its path."""

ENV_VARIABLE = "PLOOMBER_ENV_FILENAME"
"""Environment variable with the name of the file that is read in the place of env.yaml."""

DEFAULT = "pipeline.yaml"

LEVELS = 6
"""So many folders, from the first one upward, are searched for a settings file."""

PROJECT_FILES = ("setup.py", "pyproject.toml", "setup.cfg")
"""One of these is in the folder of a project that is installed as a package."""

_SETTINGS = (("setup.cfg", b"[ploomber]"), ("pyproject.toml", b"[tool."))


def named(folder: str) -> tuple[str | None, str]:
    """What the environment, or a settings file in a folder or above it, says of the entry point.

    Returns:
        A path (None: none is said), and the name that is looked for upward where there is none.
    """
    said = os.environ.get(VARIABLE)
    if said:
        return (os.path.abspath(said), said) if os.path.dirname(said) else (None, said)
    for _ in range(LEVELS):
        for name, sign in _SETTINGS:
            path = os.path.join(folder, name)
            if (value := _configured(path, sign)) is not None:
                return os.path.normpath(os.path.join(folder, value)), DEFAULT
        above = os.path.dirname(folder)
        if above == folder:
            break
        folder = above
    return None, DEFAULT


def in_package(folder: str, name: str) -> str | None:
    """The spec of the one package below ``src`` that has one; None: there is none, or several.

    Looked for only in the folder of a ``setup.py``, ``setup.cfg`` or ``pyproject.toml``.
    """
    if not any(os.path.isfile(os.path.join(folder, one)) for one in PROJECT_FILES):
        return None
    try:
        packages = os.listdir(os.path.join(folder, "src"))
    except OSError:
        return None
    paths = [os.path.join(folder, "src", package, name) for package in packages]
    found = [path for path in paths if os.path.isfile(path)]
    return found[0] if len(found) == 1 else None


def env_elsewhere(spec_file: str) -> str:
    """The env file that a spec takes from outside of its own folder; "": none."""
    name = os.path.basename(spec_file)
    folder = os.getcwd()
    if said := os.environ.get(ENV_VARIABLE):
        return os.path.join(folder, said)
    if os.path.realpath(folder) == os.path.realpath(os.path.dirname(spec_file)):
        return ""
    paths = [os.path.join(folder, one) for one in env_names(name)]
    return next((path for path in paths if os.path.isfile(path)), "")


def env_names(spec_name: str) -> list[str]:
    """What the env file of a spec may be called: ``env.NAME.yaml`` of ``pipeline.NAME.yaml``."""
    parts = spec_name.split(".")
    return [*([f"env.{parts[1]}.yaml"] if len(parts) > 2 else []), "env.yaml"]


def _configured(path: str, sign: bytes) -> str | None:
    """The entry point that a settings file says; None: it says none."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    if sign not in data or b"entry-point" not in data:
        return None
    return _from_toml(data) if path.endswith(".toml") else _from_cfg(data)


def _from_cfg(data: bytes) -> str | None:
    import configparser

    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(data.decode("utf-8-sig"))
    except (configparser.Error, UnicodeDecodeError):
        return None
    return parser.get("ploomber", "entry-point", fallback=None) or None


def _from_toml(data: bytes) -> str | None:
    import tomllib

    try:
        tools = tomllib.loads(data.decode("utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None
    for name in ("nbpipe", "ploomber"):
        section = tools.get(name)
        if isinstance(section, dict) and isinstance(section.get("entry-point"), str):
            return section["entry-point"] or None
    return None
