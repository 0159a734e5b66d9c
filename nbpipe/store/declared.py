"""What a source says of its upstream, read from its text: literals only, nothing is run."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

import msgspec

from nbpipe.core.fingerprint import INJECTED_TAG
from nbpipe.core.model import Cell, Declared, Location
from nbpipe.core.syntax import escapes, parse_body, syntax_error, walk
from nbpipe.errors import Problem, SpecError

PARAMETERS_TAG = "parameters"
"""Tag of the cell that declares ``upstream`` and ``product``."""

LITERAL_HINT = "write None, a name, or a list of names such as ['get']; it is read, never run"

_VALUE_OPTIONS = frozenset({"--task", "-t"})
_R_ASSIGNED = re.compile(r"^[ \t]*upstream[ \t]*(?:<-|=)[ \t]*(.*)", re.MULTILINE)
_R_STRING = r"(?:\"[^\"\\\n]*\"|'[^'\\\n]*')"
_R_VALUE = re.compile(
    rf"(?:NULL|(?P<names>(?:list|c)\(\s*(?:{_R_STRING}\s*(?:,\s*{_R_STRING}\s*)*)?\)|{_R_STRING}))"
    r"\s*;?\s*(?:#.*)?(?=\n|$)"
)


class _Place(msgspec.Struct, frozen=True):
    """A cell and its 1-based number; turns its own lines into places of the file."""

    path: str
    number: int
    cell: Cell

    def at(self, line: int, column: int = 0) -> Location:
        if not self.cell.line:
            return Location(self.path)
        return Location(self.path, self.cell.line + line - 1, column)

    def shown(self, line: int) -> str:
        if not self.cell.line:
            return f"{self.path}: cell {self.number}, line {line}"
        return f"{self.path}:{self.cell.line + line - 1}"

    def problem(self, line: int, column: int, message: str, hint: str) -> SpecError:
        place = self.at(line, column)
        if not self.cell.line:
            message = f"cell {self.number}, line {line}: {message}"
        return SpecError([Problem(place.file, place.line, place.column, "", message, hint)])


class _Named(msgspec.Struct, frozen=True):
    name: str
    at: Location
    shown: str


def read_declared(cells: Sequence[Cell], path: str, language: str = "python") -> Declared:
    """What the cells of a source declare.

    Args:
        cells: all of them.
        path: of the source, for messages.
        language: of its kernel; Python and R are understood, others declare nothing.

    Raises:
        SpecError: two cells tagged ``parameters``, or an upstream that is no literal.
    """
    places = [
        _Place(path, number, cell)
        for number, cell in enumerate(cells, 1)
        if cell.kind == "code" and INJECTED_TAG not in cell.tags
    ]
    tagged = _tagged(places)
    if language == "r":
        return _declared(_r_names(tagged, places), (), ())
    return _read_python(tagged, places) if language == "python" else Declared()


def _tagged(places: Sequence[_Place]) -> _Place | None:
    tagged = [place for place in places if PARAMETERS_TAG in place.cell.tags]
    if len(tagged) > 1:
        first = tagged[0].shown(1)
        message = f"a second cell is tagged '{PARAMETERS_TAG}' (the first: {first})"
        raise tagged[1].problem(1, 0, message, "keep the tag on one cell only")
    return tagged[0] if tagged else None


def _read_python(tagged: _Place | None, places: Sequence[_Place]) -> Declared:
    trees = [(place, parse_body(place.cell.text)) for place in places]
    parsed = [(place, tree) for place, tree in trees if tree is not None]
    said = _assigned(tagged, parsed)
    magic = list(_magic_names(places))
    used = [use for place, tree in parsed for use in _uses(place, tree)]
    names = [*said, *magic] if said is not None else magic or None
    warned = list(_differing_magic(said, magic))
    problem = next(_syntax_problems(place for place, tree in trees if tree is None), None)
    if names is None:
        return _declared(used, (), (), problem)
    return _declared(names, used, warned, problem)


def _declared(
    names: Iterable[_Named],
    used: Iterable[_Named],
    warned: Iterable[str],
    problem: str | None = None,
) -> Declared:
    first: dict[str, Location] = {}
    for named in names:
        first.setdefault(named.name, named.at)
    warnings = dict.fromkeys(warned)
    for use in used:
        if not any(use.name == name or fnmatchcase(use.name, name) for name in first):
            warnings[
                f"{use.shown}: upstream['{use.name}'] is used, but upstream does not declare it"
            ] = None
    return Declared(
        upstream=tuple(first), at=tuple(first.values()), problem=problem, warnings=tuple(warnings)
    )


def _syntax_problems(places: Iterable[_Place]) -> Iterator[str]:
    for place in places:
        found = syntax_error(place.cell.text)
        if found is not None:
            yield f"{place.shown(found[0])}: {found[1]}"


def _assigned(
    tagged: _Place | None, parsed: Sequence[tuple[_Place, ast.Module]]
) -> list[_Named] | None:
    """Names that a top-level ``upstream = …`` gives; None: there is no such line.

    The cell tagged ``parameters`` decides; without one that speaks, the first cell that does.
    """
    first = [(place, tree) for place, tree in parsed if place is tagged]
    others = [(place, tree) for place, tree in parsed if place is not tagged]
    for place, tree in [*first, *others]:
        values = [value for statement in tree.body for value in _values(statement)]
        if values:
            return _literal_names(values[-1], place)
    return None


def _values(statement: ast.stmt) -> Iterator[ast.expr]:
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return
    if any(isinstance(t, ast.Name) and t.id == "upstream" for t in targets) and statement.value:
        yield statement.value


def _literal_names(value: ast.expr, place: _Place) -> list[_Named]:
    try:
        literal = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise _bad(value, place, "upstream is not a literal") from None
    if literal is None:
        return []
    if isinstance(literal, str):
        return [_named(value, literal, place)]
    if isinstance(value, ast.Dict):  # as in {'get': None}
        return [_element(key, place) for key in value.keys if key is not None]
    if not isinstance(value, (ast.List, ast.Tuple, ast.Set)):
        raise _bad(value, place, f"upstream is a {type(literal).__name__}, not a list of names")
    names = [_element(item, place) for item in value.elts]
    return sorted(names, key=lambda n: n.name) if isinstance(value, ast.Set) else names


def _element(item: ast.expr, place: _Place) -> _Named:
    name = ast.literal_eval(item)
    if not isinstance(name, str) or not name:
        raise _bad(item, place, f"an upstream is a task's name, not {name!r}")
    return _named(item, name, place)


def _named(node: ast.expr, name: str, place: _Place) -> _Named:
    return _Named(name, place.at(node.lineno, _column(node, place)), place.shown(node.lineno))


def _bad(node: ast.expr, place: _Place, message: str) -> SpecError:
    return place.problem(node.lineno, _column(node, place), message, LITERAL_HINT)


def _column(node: ast.expr, place: _Place) -> int:
    """1-based, in characters; the tree counts bytes."""
    lines = place.cell.text.split("\n")
    line = lines[node.lineno - 1] if node.lineno <= len(lines) else ""
    return (
        len(line.encode("utf-8", "surrogatepass")[: node.col_offset].decode("utf-8", "replace")) + 1
    )


def _uses(place: _Place, tree: ast.Module) -> Iterator[_Named]:
    """Every ``upstream['name']``."""
    for node in walk(tree):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id == "upstream"
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        ):
            yield _named(node, node.slice.value, place)


def _magic_names(places: Iterable[_Place]) -> Iterator[_Named]:
    """Names that ``%upstream`` lines give."""
    for place in places:
        if "%upstream" not in place.cell.text:
            continue
        lines = place.cell.text.split("\n")
        for number, line in escapes(place.cell.text):
            if re.match(r"%upstream(\s|$)", line):
                for name in _arguments(line):
                    column = (
                        lines[number - 1].find(name, lines[number - 1].find("%upstream") + 9) + 1
                    )
                    yield _Named(name, place.at(number, column), place.shown(number))


def _arguments(line: str) -> list[str]:
    """The names on a ``%upstream`` line, its options left out."""
    try:
        words = shlex.split(line.replace("\\\n", " "), comments=True)[1:]
    except ValueError:
        return []
    names = []
    skip = False
    for word in words:
        if not skip and not word.startswith("-"):
            names.append(word)
        skip = word in _VALUE_OPTIONS
    return names


def _differing_magic(said: Sequence[_Named] | None, magic: Sequence[_Named]) -> Iterator[str]:
    known = {named.name for named in said or ()}
    for named in magic:
        if known and named.name not in known:
            yield f"{named.shown}: %upstream names '{named.name}', but upstream = … does not"


def _r_names(tagged: _Place | None, places: Sequence[_Place]) -> Iterator[_Named]:
    for place in [tagged, *places] if tagged else places:
        match = _R_ASSIGNED.search(place.cell.text)
        if match is None:
            continue
        text = place.cell.text
        line = text[: match.start(1)].count("\n") + 1
        value = _R_VALUE.match(text, match.start(1))
        if value is None:
            column = match.start(1) - text.rfind("\n", 0, match.start(1))
            hint = "write NULL or list('get', …); it is read, never run"
            raise place.problem(line, column, "upstream is not a literal", hint)
        for name in re.finditer(_R_STRING, value["names"] or ""):
            at = value.start("names") + name.start()
            line = text[:at].count("\n") + 1
            column = at - text.rfind("\n", 0, at)
            yield _Named(name[0][1:-1], place.at(line, column), place.shown(line))
        return
