"""How values flow through the sections of a notebook, statement by statement."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nbpipe.core.splitnames import Deferred, Walker
from nbpipe.core.splittrees import Function, is_constant, is_preamble, sharing

Kind = Literal["import", "def", "const", "var"]
BUILTINS = frozenset(dir(builtins)) | {"__name__", "__doc__"}
DISPLAYED = frozenset({"display", "get_ipython", "In", "Out", "_", "exit", "quit"})


@dataclass(frozen=True)
class Statement:
    """A statement at the top of a cell.

    Attributes:
        node: its tree.
        text: its lines.
        section: index of its section.
        cell: index of its cell.
        first, last: its lines in the cell, 1-based.
        alone: whether no other statement stands on them.
    """

    node: ast.stmt
    text: str
    section: int
    cell: int
    first: int
    last: int
    alone: bool


@dataclass
class Binding:
    """What a name stands for: how it comes to a later section, and from where."""

    kind: Kind
    section: int
    statements: tuple[Statement, ...]


@dataclass
class Definition:
    """What a function or a class does when it is made, and when it is used."""

    is_class: bool
    made: Deferred
    run: Deferred
    changes_args: bool
    keeps_args: bool


@dataclass
class Section:
    """What a section takes from those before it, and what it leaves behind."""

    entry: dict[str, Binding] = field(default_factory=dict)
    end: dict[str, Binding] = field(default_factory=dict)
    certain: frozenset[str] = frozenset()
    needs: dict[str, None] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


class Flow:
    """Walks through all statements of a notebook in their order; a `Sink` of `Walker`.

    Attributes:
        sections: what was found of each.
        counts: how often each name is bound in the whole notebook.
        carries: functions and classes that a variable's value may need to be unpickled.
        lost: section, changed name, other name: the two were one object in the monolith.
        stars: ``import *`` statements.
    """

    def __init__(self, count: int, statements: Sequence[Statement]) -> None:
        self.sections = [Section() for _ in range(count)]
        self.env: dict[str, Binding] = {}
        self.definitions: dict[str, Definition] = {}
        self.carries: dict[str, set[str]] = {}
        self.lost: list[tuple[int, str, str]] = []
        self.stars: list[Statement] = []
        self.shared: dict[str, dict[str, int]] = {}
        once = Deferred()
        for statement in statements:
            Walker(once).visit(statement.node)
        self.counts: Counter[str] = once.binds
        self.mutated = set(once.mutates)
        self.as_values = _values(s.node for s in statements)
        self.now = 0
        self.certain: frozenset[str] = frozenset()
        self._using: set[str] = set()
        self._start()
        for statement in statements:
            self._take(statement)
        self._finish(count)

    # -- statements ------------------------------------------------------------------------

    def _start(self) -> None:
        self.sections[self.now].entry = dict(self.env)
        self.certain = frozenset()

    def _finish(self, until: int) -> None:
        while self.now < until:
            self.sections[self.now].end = dict(self.env)
            self.sections[self.now].certain = self.certain
            self.now += 1
            if self.now < len(self.sections):
                self._start()

    def _take(self, statement: Statement) -> None:
        if statement.section > self.now:
            self._finish(statement.section)
        self._read_now: set[str] = set()
        self._bound_now: dict[str, None] = {}
        self._mutated_now: dict[str, None] = {}
        self._dropped_now: set[str] = set()
        self._kept_now: set[str] = set()
        node = statement.node
        if isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names):
            self.stars.append(statement)
        made, inner = definition_of(node), _definition_node(node)
        if inner is None:
            Walker(self).visit(node)
        else:
            Walker(self).define(inner)
            self.bind(_bound_name(node))
        self._settle(statement, made)

    def _settle(self, statement: Statement, made: Definition | None) -> None:
        """Enter what the statement has done into the environment."""
        needed = self._needed(self._read_now) if made is None else set()
        for name in self._bound_now:
            if name in self._dropped_now and isinstance(statement.node, ast.Delete):
                continue
            kind = self._kind(statement, name)
            before = self.env.get(name)
            rows: tuple[Statement, ...] = (statement,)
            if kind == "import" and before is not None and before.kind == "import":
                rows = (*before.statements, statement)  # import a.b, then import a.c
            self.env[name] = Binding(kind, self.now, rows)
            self.definitions.pop(name, None)
            if made is not None:
                self.definitions[name] = made
        for name in {**self._bound_now, **self._mutated_now}:
            bound = self.env.get(name)
            if bound is not None and bound.kind == "var":
                self.env[name] = Binding("var", self.now, bound.statements)
                self.carries.setdefault(name, set()).update(needed)
        for name in self._bound_now:
            self.share(name, self._kept_now - {name})
        if isinstance(statement.node, ast.Delete):
            for name in self._dropped_now:
                self.env.pop(name, None)

    def _kind(self, statement: Statement, name: str) -> Kind:
        node = statement.node
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return "import"
        if definition_of(node) is not None:
            return "def"
        if self.counts[name] == 1 and name not in self.mutated and is_constant(node):
            return "const"
        return "import" if is_preamble(node) else "var"

    def _needed(self, names: Iterable[str]) -> set[str]:
        """Functions and classes behind names, through the bodies of functions."""
        found: set[str] = set()
        seen: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            found |= self.carries.get(name, set())
            made = self.definitions.get(name)
            if made is not None and name not in seen:
                seen.add(name)
                todo.extend(made.run.reads)
                if made.is_class or name in self.as_values:
                    found.add(name)
        return found

    # -- what the walker tells -------------------------------------------------------------

    def read(self, name: str) -> None:
        section = self.sections[self.now]
        section.reads.add(name)
        self._read_now.add(name)
        if name not in self.certain and name in section.entry:
            section.needs[name] = None
        if name not in self.certain and name not in self.env:
            section.unknown.add(name)
        made = self.definitions.get(name)
        if made is not None and name not in self._using:
            self._using.add(name)
            for inner in made.run.reads:
                self.read(inner)
            for inner in made.run.mutates:
                if inner in self.env:
                    self.mutate(inner)
            for inner in made.run.binds:
                before = self.certain
                self.bind(inner)
                self.certain = before
            self._using.discard(name)

    def bind(self, name: str) -> None:
        self._bound_now[name] = None
        self.certain |= {name}
        for other in self.shared.pop(name, {}):
            self.shared.get(other, {}).pop(name, None)

    def mutate(self, name: str) -> None:
        self.read(name)
        self._mutated_now[name] = None
        todo, seen = [name], {name}
        while todo:
            here = todo.pop()
            for other, section in self.shared.get(here, {}).items():
                if section < self.now:
                    self.lost.append((self.now, name, other))
                elif other not in seen and other in self.env:
                    seen.add(other)
                    todo.append(other)
                    self.read(other)
                    self._mutated_now[other] = None

    def drop(self, name: str) -> None:
        self.read(name)
        self._dropped_now.add(name)
        self._bound_now.pop(name, None)
        self.certain -= {name}

    def call(self, function: str, args: Sequence[str]) -> None:
        if self._changes(function, set()):
            for name in args:
                self.mutate(name)
        made = self.definitions.get(function)
        if made is not None and made.keeps_args:
            self._kept_now.update(args)

    def _changes(self, function: str, seen: set[str]) -> bool:
        made = self.definitions.get(function)
        if made is None or function in seen:
            return False
        seen.add(function)
        return made.changes_args or any(
            self._changes(inner, seen) for inner, args in made.run.calls if args
        )

    def share(self, name: str, others: Iterable[str]) -> None:
        for other in others:
            known = self.env.get(other)
            if (known is None or known.kind == "var") and other not in BUILTINS:
                self.shared.setdefault(name, {})[other] = self.now
                self.shared.setdefault(other, {})[name] = self.now

    def mark(self) -> frozenset[str]:
        return self.certain

    def restore(self, mark: frozenset[str]) -> None:
        self.certain = mark


def definition_of(node: ast.stmt) -> Definition | None:
    """A function, a class, or a lambda that is given a name; None: anything else."""
    found = _definition_node(node)
    if found is None:
        return None
    made, run = Deferred(), Deferred()
    Walker(made).define(found)
    functions: list[Function] = []
    if isinstance(found, ast.ClassDef):
        Walker(run).class_body(found)
        functions += [
            n for n in found.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
        ]
    else:
        Walker(run).function_body(found)
        functions.append(found)
    changes = keeps = False
    for function in functions:
        raw = Deferred()
        body = function.body if isinstance(function.body, list) else [function.body]
        for part in body:
            Walker(raw).visit(part)
        params = [a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)]
        given = set(params[1:] if isinstance(found, ast.ClassDef) else params)
        changes |= _reaches(raw, raw.mutates, given)
        run.calls += raw.calls
        keeps |= isinstance(found, ast.ClassDef) or _returns(body, raw, given)
    return Definition(isinstance(found, ast.ClassDef), made, run, changes, keeps)


def _reaches(raw: Deferred, names: Iterable[str], wanted: set[str]) -> bool:
    todo, seen = list(names), set()
    while todo:
        name = todo.pop()
        if name in wanted:
            return True
        if name not in seen:
            seen.add(name)
            todo.extend(raw.shares.get(name, ()))
    return False


def _returns(body: Sequence[ast.AST], raw: Deferred, given: set[str]) -> bool:
    values = [n.value for part in body for n in ast.walk(part) if isinstance(n, ast.Return)]
    values += [part for part in body if isinstance(part, ast.expr)]
    return any(_reaches(raw, sharing(value), given) for value in values if value is not None)


def _values(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that are used otherwise than to call what they stand for."""
    every = [n for node in nodes for n in ast.walk(node)]
    called = {id(n.func) for n in every if isinstance(n, ast.Call)}
    return {
        n.id
        for n in every
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and id(n) not in called
    }


def _definition_node(node: ast.stmt) -> Function | ast.ClassDef | None:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return None
    if isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Lambda):
        return node.value
    return None


def _bound_name(node: ast.stmt) -> str:
    if isinstance(node, ast.Assign):
        assert isinstance(node.targets[0], ast.Name)
        return node.targets[0].id
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    return node.name
