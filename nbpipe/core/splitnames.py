"""What a statement does to the names of a notebook: reads, binds, changes, deletes.

`Walker` goes through a tree in the order in which Python runs it and tells a `Sink`. Names of
functions, comprehensions and class bodies are kept apart. What may or may not run (a branch, a
loop) may bind a name, but does not bind it for certain.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from nbpipe.core.splitpure import CHANGING
from nbpipe.core.splittrees import (
    Function,
    called,
    changes,
    declared,
    imported,
    own_names,
    parameters,
    sharing,
    stored,
)
from nbpipe.core.syntax import ESCAPE, parse_cell

Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

_WORD = re.compile(r"[^\W\d]\w*")
_TIMED = re.compile(r"%time\s+(.*)", re.DOTALL)


class Sink(Protocol):
    """Whom a `Walker` tells."""

    def read(self, name: str) -> None:
        """The value of a name is used."""

    def bind(self, name: str) -> None:
        """A name is given a value."""

    def mutate(self, name: str) -> None:
        """The object that a name stands for may be changed in place."""

    def drop(self, name: str) -> None:
        """A name is deleted."""

    def call(self, function: str, args: Sequence[str]) -> None:
        """A function is called by its name; ``args`` are names whose objects it is given."""

    def share(self, name: str, others: Iterable[str]) -> None:
        """A name may from now on stand for (a part of) the objects of other names."""

    def mark(self) -> frozenset[str]:
        """The names that are bound for certain."""

    def restore(self, mark: frozenset[str]) -> None:
        """Take these names for those that are bound for certain."""


class Deferred:
    """Collects what code does whenever it runs, such as the body of a function.

    Attributes:
        reads: names of the notebook that it reads.
        binds: names that it binds, with how often.
        mutates: names whose objects it may change.
        calls: functions that it calls by name, with what it gives them.
    """

    def __init__(self) -> None:
        self.reads: dict[str, None] = {}
        self.binds: Counter[str] = Counter()
        self.mutates: dict[str, None] = {}
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.shares: dict[str, set[str]] = {}

    def read(self, name: str) -> None:
        self.reads[name] = None

    def bind(self, name: str) -> None:
        self.binds[name] += 1

    def mutate(self, name: str) -> None:
        self.reads[name] = None
        self.mutates[name] = None

    def drop(self, name: str) -> None:
        self.reads[name] = None
        self.binds[name] += 1

    def call(self, function: str, args: Sequence[str]) -> None:
        self.calls.append((function, tuple(args)))

    def share(self, name: str, others: Iterable[str]) -> None:
        self.shares.setdefault(name, set()).update(others)

    def mark(self) -> frozenset[str]:
        return frozenset()

    def restore(self, mark: frozenset[str]) -> None:
        return None


class Walker(ast.NodeVisitor):
    """Tells a sink what a tree does to the names of the notebook.

    Args:
        sink: is told.
        local: names that are not the notebook's: those of the functions around.
    """

    def __init__(self, sink: Sink, local: frozenset[str] = frozenset()) -> None:
        self.sink = sink
        self.local = local

    # -- names -----------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self.local or node.id == ESCAPE:
            return
        if isinstance(node.ctx, ast.Load):
            self.sink.read(node.id)
        elif isinstance(node.ctx, ast.Store):
            self.sink.bind(node.id)
        else:
            self.sink.drop(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._reach(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._reach(node)

    def _reach(self, node: ast.Attribute | ast.Subscript) -> None:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            self._change(node.value)

    def _change(self, node: ast.AST) -> None:
        for name in sharing(node):
            if name not in self.local:
                self.sink.mutate(name)

    # -- statements ------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._assign(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self._assign(node.target, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        before = self.sink.mark()
        self.visit(node.value)
        self._assign(node.target, node.value)
        self.sink.restore(before)

    def _assign(self, target: ast.AST, value: ast.AST) -> None:
        self.visit(target)
        shared = [name for name in sharing(value) if name not in self.local]
        names = stored(target)
        if isinstance(value, ast.Call) and called(value) == "subplots":
            shared = names
        for name in names:
            if name not in self.local:
                self.sink.share(name, [other for other in shared if other != name])
        if not isinstance(target, (ast.Name, ast.Tuple, ast.List)):  # a part takes the value in
            for name in sharing(target):
                if name not in self.local:
                    self.sink.share(name, [other for other in shared if other != name])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.target, ast.Name) and node.target.id not in self.local:
            self.sink.read(node.target.id)
            self.sink.mutate(node.target.id)
        self.visit(node.target)

    def visit_Import(self, node: ast.Import) -> None:
        for name in imported(node):
            if name not in self.local and name != "*":
                self.sink.bind(name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module != "__future__":
            for name in imported(node):
                if name not in self.local and name != "*":
                    self.sink.bind(name)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._branches([node.body, node.orelse])

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        cases: list[Sequence[ast.AST]] = [[case] for case in node.cases]
        self._branches([*cases, []])

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self.generic_visit(node)
        if node.name and node.name not in self.local:
            self.sink.bind(node.name)

    visit_MatchStar = visit_MatchAs

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        before = self.sink.mark()
        self._assign(node.target, node.iter)
        self._all(node.body)
        self.sink.restore(before)
        self._all(node.orelse)
        self.sink.restore(before)

    visit_AsyncFor = visit_For

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        before = self.sink.mark()
        self._all([*node.body, *node.orelse])
        self.sink.restore(before)

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        before = self.sink.mark()
        self._all([*node.body, *node.orelse])
        ends = [self.sink.mark()]
        for handler in node.handlers:
            self.sink.restore(before)
            self.visit(handler)
            ends.append(self.sink.mark())
        self.sink.restore(frozenset.intersection(*ends))
        self._all(node.finalbody)

    def visit_TryStar(self, node: ast.TryStar) -> None:
        self.visit_Try(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        inner = self.local | ({node.name} if node.name else set())
        Walker(self.sink, frozenset(inner))._all(node.body)

    def _branches(self, blocks: Sequence[Sequence[ast.AST]]) -> None:
        before = self.sink.mark()
        ends = []
        for block in blocks:
            self.sink.restore(before)
            self._all(block)
            ends.append(self.sink.mark())
        self.sink.restore(frozenset.intersection(*ends))

    def _all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    # -- calls -----------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id == ESCAPE:
            escape(str(ast.literal_eval(node.args[0])), self)
            return
        self.generic_visit(node)
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        args = [n for arg in given for n in sharing(arg) if n not in self.local]
        if isinstance(node.func, ast.Name) and node.func.id not in self.local:
            self.sink.call(node.func.id, args)
        if isinstance(node.func, ast.Attribute) and changes(node):
            self._change(node.func.value)
            if node.func.attr in CHANGING:
                for name in sharing(node.func.value):
                    if name not in self.local:
                        self.sink.share(name, args)
        if called(node) in (
            "shuffle",
            "setattr",
            "heappush",
            "heappop",
            "heapify",
            "insort",
            "next",
        ):
            for arg in given[:1]:
                self._change(arg)

    # -- scopes ----------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.define(node)
        self.function_body(node)
        if node.name not in self.local:
            self.sink.bind(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.define(node)
        self.function_body(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.define(node)
        self.class_body(node)
        if node.name not in self.local:
            self.sink.bind(node.name)

    def define(self, node: Function | ast.ClassDef) -> None:
        """What the definition itself reads: decorators, defaults, annotations, bases."""
        if isinstance(node, ast.ClassDef):
            self._all([*node.decorator_list, *node.bases, *(k.value for k in node.keywords)])
            return
        args = node.args
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        self._all(a.annotation for a in every if a is not None and a.annotation is not None)
        self._all(d for d in [*args.defaults, *args.kw_defaults] if d is not None)
        if not isinstance(node, ast.Lambda):
            self._all([*node.decorator_list, *([node.returns] if node.returns else [])])

    def function_body(self, node: Function) -> None:
        body = node.body if isinstance(node.body, list) else [node.body]
        mine = own_names(body) | parameters(node)
        shared = declared(body, ast.Global)
        inner = Walker(self.sink, (self.local | mine) - shared)
        before = self.sink.mark()
        inner._all(body)
        self.sink.restore(before)

    def class_body(self, node: ast.ClassDef) -> None:
        """The names of a class are seen in its body, but not in its methods."""
        names = self.local | own_names(node.body)
        for statement in node.body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                Walker(self.sink, names).define(statement)
                self.function_body(statement)
            else:
                Walker(self.sink, names).visit(statement)

    def _comprehension(self, node: Comprehension) -> None:
        names = frozenset(n for g in node.generators for n in stored(g.target))
        self.visit(node.generators[0].iter)
        Walker(self.sink, self.local | names).generic_visit(node)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension


def escape(text: str, walker: Walker) -> None:
    """A line of IPython's: every word in it may be a name that it reads."""
    if match := _TIMED.fullmatch(text):
        tree = parse_cell(match[1])
        if tree is not None:
            walker.visit(tree)
            return
    for word in _WORD.findall(text):
        if word not in walker.local:
            walker.sink.read(word)
