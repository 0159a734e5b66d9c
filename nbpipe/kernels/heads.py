"""What a notebook imports before anything else of it runs.

Only such imports may happen ahead, in the warm process: nothing that the notebook itself does, such
as setting an environment variable, changing the path or silencing warnings, can come before them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from nbpipe.core.syntax import ESCAPE, parse_body

HARMLESS_MAGICS = ("%matplotlib", "%config", "%precision")
"""Lines of IPython after which an import is what it was before them."""

MOST_FILES = 50
"""Modules of the project that are looked into at most."""


def head_imports(cells: Iterable[str], root: str) -> tuple[str, ...]:
    """The imports at the head of a notebook that lead out of the project.

    Args:
        cells: code, in order.
        root: folder of the project, in which its modules are found.

    Returns:
        ``module``, or ``module:name`` for ``from module import name``, in order. The standard
        library is left out.
    """
    reader = _Reader(root)
    for cell in cells:
        tree = parse_body(cell)
        if tree is None or not reader.take(tree.body):
            break
    return tuple(dict.fromkeys(reader.found))


class _Reader:
    """Reads statements for as long as they do nothing but import and define."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.found: list[str] = []
        self._read: set[Path] = set()

    def take(self, statements: Iterable[ast.stmt]) -> bool:
        """Note the imports; False: something else came."""
        return all(self._take(statement) for statement in statements)

    def _take(self, statement: ast.stmt) -> bool:
        match statement:
            case ast.Import(names=names):
                return all(self._import(alias.name, ()) for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                return self._import(module, [alias.name for alias in names])
            case (
                ast.FunctionDef(decorator_list=[], args=args)
                | ast.AsyncFunctionDef(decorator_list=[], args=args)
            ):
                defaults = [*args.defaults, *(d for d in args.kw_defaults if d is not None)]
                return all(map(_is_literal, defaults))
        return _does_nothing(statement)

    def _import(self, module: str, names: Iterable[str]) -> bool:
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names:
            return True
        local = list(self._local(module, names))
        if local:
            return all(map(self._take_file, local))
        self.found += [f"{module}:{name}" for name in names if name != "*"] or [module]
        return True

    def _local(self, module: str, names: Iterable[str]) -> Iterator[Path]:
        """Files of the project that an import runs."""
        parts = module.split(".")
        base = self.root / parts[0]
        if not base.exists() and not base.with_suffix(".py").exists():
            return
        inner = [[*parts, name] for name in names if name != "*"]
        for way in [parts, *inner]:
            for depth in range(1, len(way) + 1):
                place = self.root.joinpath(*way[:depth])
                for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
                    if file.is_file():
                        yield file
                        break
        yield self.root  # a folder without __init__.py: nothing to read

    def _take_file(self, file: Path) -> bool:
        if file == self.root or file in self._read:
            return True
        self._read.add(file)
        if len(self._read) > MOST_FILES:
            return False
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            return False
        return self.take(tree.body)


def _does_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(line))])):
            return name == ESCAPE and line.split(maxsplit=1)[0] in HARMLESS_MAGICS
        case ast.Assign(targets=targets, value=value):
            return all(isinstance(one, ast.Name) for one in targets) and _is_literal(value)
        case ast.AnnAssign(target=ast.Name(), value=None):
            return True
        case ast.AnnAssign(target=ast.Name(), value=ast.expr() as value):
            return _is_literal(value)
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
            return True
    return False


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
