"""What stands for ``{{placeholders}}``: env.yaml, what the caller overrides, and a few facts."""

from __future__ import annotations

import ast
import getpass
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.errors import Problem, SpecError, UsageError, did_you_mean
from nbpipe.store import overrides
from nbpipe.store.entrynames import ENV_VARIABLE, env_names
from nbpipe.store.git import git_describe, git_location
from nbpipe.store.yamlnodes import Mapping as MappingNode
from nbpipe.store.yamlnodes import Node, Scalar, node_of
from nbpipe.store.yamltext import compose

FACTS = ("here", "cwd", "root", "user", "now", "git", "git_hash", "env")
"""Placeholders that are there without env.yaml; a key of the same name wins."""

SETTLED_FACTS = frozenset({"here", "root"})
"""Those that only the place of the files decides."""


OVERRIDES = "NBPIPE_ENV_OVERRIDES"
"""Tells `Env.overrides`, as JSON, to the process of a function that reads env.yaml itself."""


class Env(msgspec.Struct, frozen=True):
    """What is said of placeholders from outside of the files.

    Attributes:
        overrides: values in the place of env.yaml's, by path such as ``model.depth``.
        cwd: the folder in which the user works; "": that of this process.
    """

    overrides: dict[str, str] = {}
    cwd: str = ""

    @property
    def folder(self) -> str:
        """The folder in which the user works, absolute."""
        return os.path.abspath(self.cwd or os.getcwd())


def current_env() -> Env:
    """What :func:`using_env` said last."""
    return Env(overrides.current.get() or {})


@contextmanager
def using_env(said: dict[str, str]) -> Iterator[None]:
    """Pipelines that are loaded meanwhile, and are told nothing else, take these overrides."""
    token = overrides.current.set(said)
    try:
        yield
    finally:
        overrides.current.reset(token)


def split_overrides(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The ``--env--a--b VALUE`` pairs of a command line, and its other words.

    Raises:
        UsageError: a value or a key is missing.
    """
    found: dict[str, str] = {}
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("--env--"):
            others.append(word)
            continue
        option, equals, value = word.partition("=")
        path = option.removeprefix("--env--").replace("--", ".")
        given = value if equals else next(rest, None)
        if given is None or not all(path.split(".")):
            raise UsageError(f"'{option}' needs a key and a value", "such as --env--model--depth 3")
        found[path] = given
    return found, others


def casted(text: str) -> Any:
    """What a text means where any value may stand: a number, a list, true, null, or itself."""
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        value = ast.literal_eval(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text
    return value


def env_candidates(spec_file: Path, env: Env) -> list[Path]:
    """Where env.yaml is looked for, the first that is there being taken.

    ``pipeline.NAME.yaml`` asks for ``env.NAME.yaml`` first. The folder in which the user works
    comes before that of the spec.
    """
    said = os.environ.get(ENV_VARIABLE)
    folders = dict.fromkeys([Path(env.folder), Path(os.path.abspath(spec_file.parent))])
    names = [said] if said else env_names(spec_file.name)
    return [folder / name for name in names for folder in folders]


class EnvFile(msgspec.Struct, frozen=True):
    """What env.yaml and the files that it imports say.

    Attributes:
        nodes: by key.
        file: its name, for messages; "": there is none.
        read: every file that was read or looked for.
    """

    nodes: dict[str, Node]
    file: str
    read: frozenset[Path]


NO_FILE = EnvFile({}, "", frozenset())


def env_file_of(spec_file: Path, env: Env, *, needed: bool) -> EnvFile:
    """The env file of a spec.

    Args:
        spec_file: the spec.
        env: what the caller says.
        needed: whether the spec has placeholders; without any, the file is not looked for.

    Raises:
        SpecError: it cannot be read, or what it imports cannot.
    """
    if not needed and not env.overrides:
        return NO_FILE
    candidates = env_candidates(spec_file, env)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        if name := os.environ.get(ENV_VARIABLE):
            what = f"there is no such file, and {ENV_VARIABLE} names it"
            raise SpecError([Problem(name, 0, 0, "", what, f"create it beside {spec_file.name}")])
        _refuse_yml(spec_file)
        return EnvFile({}, "", frozenset(candidates))
    found = read_env(path)
    return msgspec.structs.replace(found, read=found.read | {*candidates})


def read_env(path: Path) -> EnvFile:
    """What an env file says, with what it imports.

    Raises:
        SpecError: it cannot be read, or what it imports cannot.
    """
    read: set[Path] = set()
    nodes = _with_imports(path, read, ())
    return EnvFile(nodes, path.name, frozenset(read))


def _refuse_yml(spec_file: Path) -> None:
    if (spec_file.parent / "env.yml").is_file():
        what, hint = "is not read: its name ends in .yml", "rename it to env.yaml"
        raise SpecError([Problem("env.yml", 0, 0, "", what, hint)])


def _with_imports(path: Path, read: set[Path], above: tuple[Path, ...]) -> dict[str, Node]:
    entries = _entries(path)
    read.add(path)
    meta = entries.pop("meta", None)
    if (module := entries.get("_module")) is not None:
        what, hint = "is not supported", "remove it; {{here}}, {{root}} and {{git}} need no help"
        raise SpecError([Problem(path.name, module.line, module.column, "_module", what, hint)])
    if meta is None:
        return entries
    below = _imported(path, meta, (*above, path))
    return _merged(_with_imports(below, read, (*above, path)), entries)


def _imported(path: Path, meta: Node, above: tuple[Path, ...]) -> Path:
    wanted = None
    if isinstance(meta, MappingNode) and len(meta.entries) == 1:
        wanted = meta.get("import_from")
    if not isinstance(wanted, Scalar):
        what, hint = (
            "holds only 'import_from', the path of another file",
            "see the docs of env.yaml",
        )
        raise SpecError([Problem(path.name, meta.line, meta.column, "meta", what, hint)])
    target = Path(os.path.abspath(path.parent / wanted.text))
    if not target.is_file() or target in above:
        what = f"no file '{wanted.text}'" if target not in above else "the files import each other"
        where = (path.name, wanted.line, wanted.column, "meta.import_from")
        raise SpecError([Problem(*where, what, "check the path")])
    return target


def _entries(path: Path) -> dict[str, Node]:
    try:
        data = path.read_bytes()
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise SpecError([Problem(path.name, 0, 0, "", what, "check the path")]) from None
    root, problems = compose(data, path.name)
    if root is not None and not isinstance(root, MappingNode):
        what, hint = "must be a mapping of placeholders to values", "write 'key: value' lines"
        problems.append(Problem(path.name, root.line, root.column, "", what, hint))
    if problems:
        raise SpecError(problems)
    return {k: n for k, (_, n) in root.entries.items()} if isinstance(root, MappingNode) else {}


def _merged(below: dict[str, Node], above: dict[str, Node]) -> dict[str, Node]:
    """Two files as one; mappings that both have are joined key by key."""
    found = dict(below)
    for key, node in above.items():
        old = found.get(key)
        if isinstance(old, MappingNode) and isinstance(node, MappingNode):
            inner = _merged(*({k: n for k, (_, n) in m.entries.items()} for m in (old, node)))
            names = {**old.entries, **node.entries}
            entries = {k: (names[k][0], n) for k, n in inner.items()}
            node = MappingNode(node.line, node.column, node.end, True, entries)
        found[key] = node
    return found


def overridden(nodes: Mapping[str, Node], said: Mapping[str, str]) -> dict[str, Node]:
    """The nodes with other values at some paths.

    Raises:
        UsageError: there is no such key.
    """
    found = dict(nodes)
    for path, text in said.items():
        keys = path.split(".")
        option = "--env--" + "--".join(keys)
        if keys[0] not in found and keys[0] in FACTS and len(keys) == 1:
            found[keys[0]] = _given(text, Scalar(0, 0, 0, "", False, None))
            continue
        found = _replaced(found, keys, text, option)
    return found


def _replaced(nodes: dict[str, Node], keys: list[str], text: str, option: str) -> dict[str, Node]:
    key, *below = keys
    old = nodes.get(key)
    if old is None:
        raise UsageError(f"{option}: env.yaml has no key '{key}'", did_you_mean(key, nodes))
    if not below:
        return {**nodes, key: _given(text, old)}
    if not isinstance(old, MappingNode):
        raise UsageError(f"{option}: '{key}' holds no further keys", f"use --env--{key} VALUE")
    inner = _replaced({k: n for k, (_, n) in old.entries.items()}, below, text, option)
    entries = {k: (old.entries[k][0], n) for k, n in inner.items()}
    return {**nodes, key: MappingNode(old.line, old.column, old.end, True, entries)}


def _given(text: str, at: Node) -> Node:
    return node_of(text if "{{" in text else casted(text), at)


def fact(name: str, spec_file: Path, env: Env) -> Any:
    """The value of one of `FACTS`; ``env`` is a mapping.

    Raises:
        UsageError: it cannot be told; the hint says what is missing.
    """
    here = Path(os.path.abspath(spec_file.parent))
    if name == "root":
        return str(_project_root(here))
    if name in ("git", "git_hash"):
        return git_location(here) if name == "git" else git_describe(here)
    facts: dict[str, Any] = {"here": str(here), "cwd": os.path.realpath(env.folder)}
    if name == "user":
        return getpass.getuser()
    if name == "now":
        return datetime.now().isoformat()
    return dict(os.environ) if name == "env" else facts[name]


def _project_root(here: Path) -> Path:
    """The nearest folder with a setup.py, or that of the spec."""
    return next((p for p in [here, *here.parents[:5]] if (p / "setup.py").is_file()), here)
