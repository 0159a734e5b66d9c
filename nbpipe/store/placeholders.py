"""``{{key}}`` and ``{{key.inner}}`` in the values of a spec give way to what they stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping as Mapping_
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.errors import NbpipeError, Problem, SpecError, did_you_mean
from nbpipe.store.env import (
    FACTS,
    SETTLED_FACTS,
    Env,
    EnvFile,
    casted,
    fact,
    overridden,
    read_env,
)
from nbpipe.store.yamlnodes import (
    Mapping,
    Node,
    OddScalarError,
    Scalar,
    Sequence,
    join_key,
    node_of,
    plain_value,
    scalar_value,
    show,
)
from nbpipe.store.yamltext import MAX_NODES

_PLACEHOLDER = re.compile(r"\{\{((?:'[^']*'|\"[^\"]*\"|[^'\"])*?)\}\}")
_NAME = re.compile(r"[A-Za-z_]\w*")
_STEP = re.compile(r"\.([A-Za-z_]\w*|\d+)|\[(\d+)\]|\[('[^']*'|\"[^\"]*\")\]")
_BRACES = {"'{{'": "{{", '"{{"': "{{", "'}}'": "}}", '"}}"': "}}"}
_HINT = "write {{key}} or {{key.inner}}; braces that are meant as they stand: {{ '{{' }}"


class _Unfillable(Exception):
    """Why a placeholder stands for nothing: the message, and a hint."""


class Filler:
    """Fills the placeholders of one spec.

    Args:
        spec_file: whose folder is ``{{here}}``.
        file: what env.yaml says.
        env: what the caller says.

    Raises:
        UsageError: the caller overrides a key that is not there.

    Attributes:
        problems: what could not be filled, each where it stands.
        used: the keys that were asked for.
    """

    def __init__(self, spec_file: Path, file: EnvFile, env: Env) -> None:
        self.problems: list[Problem] = []
        self.used: set[str] = set()
        self._spec_file = spec_file
        self._file = file
        self._env = env
        self._nodes = overridden(file.nodes, env.overrides)
        self._known: dict[str, Node] = {}
        self._open: list[str] = []
        self._size = 0

    @property
    def settled(self) -> bool:
        """Whether files alone decide all that was filled in."""
        facts = self.used - self._nodes.keys()
        return not self._env.overrides and facts <= SETTLED_FACTS

    def warnings(self) -> list[str]:
        """One sentence for each key of env.yaml that was never asked for."""
        unused = sorted(self._nodes.keys() - self.used - set(FACTS))
        return [f"{self._file.file}: key {show(key)} is not used" for key in unused]

    def fill(self, node: Node, file: str, key: str = "") -> Node:
        """A node of ``file`` without placeholders; itself when there was none in it."""
        if isinstance(node, Scalar):
            return self._scalar(node, file, key) if "{{" in node.text else node
        if isinstance(node, Sequence):
            items = [self.fill(n, file, join_key(key, i)) for i, n in enumerate(node.items)]
            if all(new is old for new, old in zip(items, node.items, strict=True)):
                return node
            return Sequence(node.line, node.column, node.end, node.flow, items, node.size)
        filled = {
            name: (at, self.fill(value, file, join_key(key, name)))
            for name, (at, value) in node.entries.items()
        }
        if all(filled[name][1] is value for name, (_, value) in node.entries.items()):
            return node
        return Mapping(node.line, node.column, node.end, node.flow, filled, node.size)

    def _scalar(self, node: Scalar, file: str, key: str) -> Node:
        try:
            return self._filled(node)
        except _Unfillable as error:
            message, hint = error.args
            self.problems.append(Problem(file, node.line, node.column, key, message, hint))
            return Scalar(node.line, node.column, node.end, "", False, "str", True)

    def _filled(self, node: Scalar) -> Node:
        whole = _PLACEHOLDER.fullmatch(node.text)
        if whole is not None and whole[1].strip() not in _BRACES and "{{" not in whole[1]:
            return self._moved(self._value(whole[1].strip()), node)
        text = _PLACEHOLDER.sub(lambda match: self._text(match[1].strip()), node.text)
        only_braces = all(m[1].strip() in _BRACES for m in _PLACEHOLDER.finditer(node.text))
        return node_of(text if only_braces else casted(text), node)

    def _text(self, said: str) -> str:
        """A placeholder in the midst of a text: as Python shows the value."""
        if said in _BRACES:
            return _BRACES[said]
        node = self._value(said)
        if isinstance(node, Scalar):
            try:
                return str(scalar_value(node))
            except OddScalarError:
                return node.text
        return str(plain_value(node))

    def _value(self, said: str) -> Node:
        """What a placeholder stands for."""
        name = _NAME.match(said)
        steps = said[name.end() :] if name else ""
        if name is None or _STEP.sub("", steps):
            raise _Unfillable(f"{show('{{' + said + '}}')} is no placeholder", _HINT)
        node, path = self._root(name[0]), name[0]
        for step in _STEP.finditer(steps):
            inner = step[1] or step[2] or step[3][1:-1]
            node, path = self._step(node, inner, path), f"{path}.{inner}"
        return node

    def _step(self, node: Node, key: str, path: str) -> Node:
        found: Node | None = None
        if isinstance(node, Mapping):
            found = node.get(key)
        elif isinstance(node, Sequence) and key.isdigit() and int(key) < len(node.items):
            found = node.items[int(key)]
        if found is None:
            near = did_you_mean(key, node.entries) if isinstance(node, Mapping) else None
            what = f"the environment has no variable '{key}'" if path == "env" else None
            raise _Unfillable(what or f"'{path}' has nothing called '{key}'", near)
        return found

    def _root(self, name: str) -> Node:
        self.used.add(name)
        if name in self._known:
            return self._known[name]
        if name in self._open:
            path = " → ".join([*self._open[self._open.index(name) :], name])
            raise _Unfillable(f"placeholders that need each other: {path}", "break the circle")
        self._open.append(name)
        try:
            self._known[name] = self._resolved(name)
        finally:
            self._open.pop()
        return self._known[name]

    def _resolved(self, name: str) -> Node:
        node = self._nodes.get(name)
        if node is not None:
            filled = self.fill(node, self._file.file or "env.yaml", name)
            return _expanded_user(filled) if name == "path" else filled
        at = Scalar(0, 0, 0, "", False, None)
        if name not in FACTS:
            where = self._file.file or "env.yaml"
            hint = did_you_mean(name, [*self._nodes, *FACTS])
            if not hint or not hint.startswith("did"):
                hint = f"write '{name}: …' into {where} beside the spec"
            raise _Unfillable(f"nothing stands for '{{{{{name}}}}}'", hint)
        try:
            return node_of(fact(name, self._spec_file, self._env), at)
        except NbpipeError as error:
            raise _Unfillable(f"'{{{{{name}}}}}': {error.message}", error.hint) from None

    def _moved(self, node: Node, to: Node) -> Node:
        """The same value where its placeholder stands: messages lead there."""
        self._size += 1
        if self._size > MAX_NODES:
            raise _Unfillable(f"placeholders give more than {MAX_NODES:,} values", "use fewer")
        if isinstance(node, Scalar):
            place = (to.line, to.column, to.end)
            return Scalar(*place, node.text, node.plain, node.tag, filled=True)
        if isinstance(node, Sequence):
            items = [self._moved(item, to) for item in node.items]
            return Sequence(to.line, to.column, to.end, True, items)
        entries: dict[str, tuple[Scalar, Node]] = {}
        for key, (at, value) in node.entries.items():
            name = Scalar(to.line, to.column, to.end, at.text, at.plain, at.tag)
            entries[key] = (name, self._moved(value, to))
        return Mapping(to.line, to.column, to.end, True, entries)


def env_values(
    source: Path | Mapping_[str, Any], said: Mapping_[str, str] | None = None
) -> dict[str, Any]:
    """The values of an env file, or of a mapping, with the placeholders in them filled.

    Args:
        source: the file, whose folder is ``{{here}}``; a mapping has that of this process.
        said: values in the place of a file's, by path such as ``model.depth``; what it has no key
            for is left out.

    Raises:
        SpecError: it cannot be read, or a placeholder cannot be filled.
    """
    if isinstance(source, Path):
        spec_file, file = source, read_env(source)
    else:
        at = Scalar(0, 0, 0, "", False, None)
        nodes = {str(key): node_of(value, at) for key, value in source.items()}
        spec_file, file = Path("env.yaml"), EnvFile(nodes, "", frozenset())
    ours = {path: text for path, text in (said or {}).items() if path.split(".")[0] in file.nodes}
    nodes = overridden(file.nodes, ours)
    filler = Filler(spec_file, msgspec.structs.replace(file, nodes=nodes), Env())
    filled = {key: filler.fill(node, file.file, key) for key, node in nodes.items()}
    if filler.problems:
        raise SpecError(filler.problems)
    return {key: plain_value(node) for key, node in filled.items()}


def _expanded_user(node: Node) -> Node:
    """The values below ``path``, in which ``~`` is the user's home."""
    if isinstance(node, Mapping):
        entries = {key: (at, _expanded_user(value)) for key, (at, value) in node.entries.items()}
        return Mapping(node.line, node.column, node.end, node.flow, entries)
    if isinstance(node, Scalar) and node.text.startswith("~"):
        text: Any = str(Path(node.text).expanduser())
        return Scalar(node.line, node.column, node.end, text, False, "str", node.filled)
    return node
