"""What can be told from a tree alone, without knowing what its names stand for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from nbpipe.core.splitpure import DRAWING, PURE

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_AXES = re.compile(r"(ax|fig)(es|ure)?(\d|_|$)")
_HANDING_ON = frozenset(
    "get setdefault items values keys pop iter enumerate zip reversed map filter list tuple sorted "  # noqa: SIM905
    "set dict ravel reshape view swapaxes transpose squeeze asarray groupby iterrows next "
    "defaultdict deque cycle chain".split()
)
_PREAMBLE = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PATH = re.compile(r"[^\s:*?<>|{}]+\.[A-Za-z][A-Za-z0-9]{0,7}")


def called(node: ast.Call) -> str:
    """Last name of what is called."""
    func = node.func
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The names that an import binds; ``*`` as it stands."""
    plain = isinstance(node, ast.Import)
    return [a.asname or (a.name.partition(".")[0] if plain else a.name) for a in node.names]


def sharing(node: ast.AST) -> list[str]:
    """The names whose objects, or parts of them, an expression may hand on."""
    return list(dict.fromkeys(_sharing(node)))


def _sharing(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred, ast.Await)):
        yield from _sharing(node.value)
    elif isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        for item in node.elts:
            yield from _sharing(item)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _sharing(value)
    elif isinstance(node, ast.IfExp):
        yield from [*_sharing(node.body), *_sharing(node.orelse)]
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _sharing(value)
    elif isinstance(node, ast.NamedExpr):
        yield from [*_sharing(node.target), *_sharing(node.value)]
    elif isinstance(node, ast.Call):
        yield from _shared_by_call(node)
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
        for generator in node.generators:
            yield from _sharing(generator.iter)


def _shared_by_call(node: ast.Call) -> Iterator[str]:
    if called(node) in _HANDING_ON:
        for arg in node.args:
            yield from _sharing(arg)
        if isinstance(node.func, ast.Attribute):
            yield from _sharing(node.func.value)


def changes(node: ast.Call) -> bool:
    """Whether a method may change its object: unless it is known not to."""
    assert isinstance(node.func, ast.Attribute)
    inplace = any(
        k.arg in ("inplace", "out")
        and not (isinstance(k.value, ast.Constant) and k.value.value is False)
        for k in node.keywords
    )
    if node.func.attr in DRAWING and any(_AXES.match(n) for n in sharing(node.func.value)):
        return True
    return inplace or node.func.attr not in PURE


def stored(target: ast.AST) -> list[str]:
    return [
        n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    ]


def parameters(node: Function) -> frozenset[str]:
    return frozenset(a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg))


def own_names(body: Iterable[ast.AST]) -> frozenset[str]:
    """The names that a body binds itself, without those of functions in it."""
    found: set[str] = set()
    todo = list(body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update(imported(node))
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            found.add(node.name)
        todo.extend(ast.iter_child_nodes(node))
    return frozenset(found) - declared(body, ast.Global) - declared(body, ast.Nonlocal)


def declared(body: Iterable[ast.AST], kind: type[ast.Global] | type[ast.Nonlocal]) -> set[str]:
    return {name for top in body for n in ast.walk(top) if isinstance(n, kind) for name in n.names}


def is_constant(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        named = len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    else:
        named = isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    value = getattr(node, "value", None)
    return named and value is not None and _is_literal(value)


def _is_literal(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        return _is_literal(node.operand)
    if isinstance(node, ast.Tuple):
        return all(map(_is_literal, node.elts))
    return isinstance(node, ast.Constant)


def is_preamble(node: ast.stmt) -> bool:
    """Whether a branch only imports or defines, such as ``try: import x``."""
    if not isinstance(node, (ast.If, ast.Try)):
        return False
    inner = [n for n in ast.walk(node) if isinstance(n, ast.stmt) and n is not node]
    allowed = (*_PREAMBLE, ast.Pass, ast.If, ast.Try)
    body = [n for n in inner if isinstance(n, allowed) or is_constant(n)]
    imports = [n for n in inner if isinstance(n, (ast.Import, ast.ImportFrom))]
    return bool(imports) and len(body) == len(inner)


def paths_in(node: ast.AST) -> list[str]:
    """Texts in the code that look like the path of a file."""
    texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
    return [t for t in texts if isinstance(t, str) and len(t) < 200 and _PATH.fullmatch(t)]


def loaded(node: ast.AST) -> list[str]:
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]


def is_unpicklable(value: ast.AST | None) -> bool:
    if isinstance(value, ast.Call):
        func = value.func
        last = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
        if last in ("open", "connect", "create_engine"):
            return True
        if last != "defaultdict":
            return False
    if isinstance(value, (ast.Dict, ast.List, ast.Tuple, ast.Call)):
        return any(isinstance(n, ast.Lambda) for n in ast.walk(value))
    return isinstance(value, ast.GeneratorExp)
