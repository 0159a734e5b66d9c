"""One notebook as tasks: what each takes, leaves behind, and what has to be repeated in it.

sections ─► statements ─► Flow ─► needs of each section ─► Split
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from nbpipe.core.model import Cell
from nbpipe.core.splitflow import BUILTINS, Binding, Flow, Statement, definition_of
from nbpipe.core.splitsections import parts_of, replace_text, statements_of
from nbpipe.core.splittrees import is_unpicklable, loaded, paths_in
from nbpipe.core.syntax import ESCAPE
from nbpipe.errors import UsageError

RESERVED = ("upstream", "product")
_SETTINGS = frozenset(
    {"seed", "set_option", "set_theme", "set_style", "filterwarnings", "simplefilter", "chdir"}
    | {"manual_seed", "use", "set_context", "set_palette", "basicConfig"}
)


@dataclass
class Task:
    """A section as a task.

    Attributes:
        name: of the task.
        cells: of the section, without what moved to the module of functions.
        loads: variables by the task that hands them over.
        after: tasks that must have run, whose variables are not read.
        saves: variables that later tasks read.
        imports: statements repeated before all else.
        repeats: constants and definitions repeated in it, as text.
        late: definitions repeated after the variables are loaded, as text.
        functions: names it takes from the module of functions.
    """

    name: str
    cells: list[Cell]
    loads: dict[str, list[str]] = field(default_factory=dict)
    after: list[str] = field(default_factory=list)
    saves: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    repeats: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)

    @property
    def upstream(self) -> list[str]:
        """The tasks before it."""
        return [*self.loads, *(name for name in self.after if name not in self.loads)]


@dataclass
class Split:
    """A notebook, split: its tasks, the text of the module of functions ("" for none), warnings."""

    tasks: list[Task]
    functions: str
    warnings: list[str]


def split_notebook(cells: Sequence[Cell]) -> Split:
    """Find the tasks of a Python notebook; nothing is run.

    Args:
        cells: of the notebook.

    Raises:
        UsageError: it has no headings, a cell does not parse, or it uses a reserved name.
    """
    parts = parts_of(cells)
    statements = statements_of(parts)
    flow = Flow(len(parts), statements)
    _check_names(flow)
    return _Splitter(flow, statements, [(p.name, list(p.cells)) for p in parts]).split()


def _check_names(flow: Flow) -> None:
    for name in (*RESERVED, "pickle", "Path", "functions"):
        bound = [s.end[name] for s in flow.sections if name in s.end]
        imports = name in ("pickle", "Path") and all(
            "pickle" in s.text or "pathlib" in s.text for b in bound for s in b.statements
        )
        if flow.counts[name] and not imports:
            raise UsageError(f"the notebook has a variable '{name}'", "rename it: tasks use it")


class _Splitter:
    def __init__(
        self,
        flow: Flow,
        statements: list[Statement],
        parts: list[tuple[str, list[Cell]]],
    ) -> None:
        self.flow = flow
        self.statements = statements
        self.tasks = [Task(name, cells) for name, cells in parts]
        self.warnings: dict[str, None] = {}
        self.movable = self._movable()
        self.moved: dict[str, Binding] = {}
        self.carried: set[str] = set()

    def split(self) -> Split:
        needs = self._all_needs()
        self._move(needs)
        for section, names in enumerate(needs):
            self._repeat(section, names)
            self._load(section, names)
        self._order()
        for task in self.tasks:
            task.saves.sort()
        text = self._functions_text()
        self._cut()
        self._warn(needs)
        return Split(self.tasks, text, list(self.warnings))

    # -- what is needed --------------------------------------------------------------------

    def _all_needs(self) -> list[dict[str, None]]:
        """For each section the names that it takes from before, through all that follows."""
        needs: list[dict[str, None]] = [{} for _ in self.tasks]
        todo = [(i, name) for i, s in enumerate(self.flow.sections) for name in s.needs]
        while todo:
            section, name = todo.pop(0)
            bound = self.flow.sections[section].entry.get(name)
            if bound is None or name in needs[section]:
                continue
            needs[section][name] = None
            if bound.kind == "var":
                before = self.flow.sections[bound.section]
                if name not in before.certain and name in before.entry:
                    todo.append((bound.section, name))
                carried = self.flow.carries.get(name, set())
                self.carried |= carried & set(self.movable)
                todo += [(section, made) for made in carried if made not in self.movable]
            elif bound.kind == "def" and name not in self.movable:
                made = definition_of(bound.statements[0].node)
                assert made is not None
                todo += [(section, other) for other in [*made.made.reads, *made.run.reads]]
            elif bound.kind == "import":
                todo += [(section, n) for s in bound.statements for n in loaded(s.node)]
        return needs

    # -- functions -------------------------------------------------------------------------

    def _definitions(self) -> Iterator[tuple[str, Binding]]:
        for section in self.flow.sections:
            for name, bound in section.end.items():
                if bound.kind == "def":
                    yield name, bound

    def _movable(self) -> dict[str, Binding]:
        """The functions and classes that need no variable of the notebook."""
        end = {n: b for s in self.flow.sections for n, b in s.end.items()}
        found = {n: b for n, b in self._definitions() if self._is_plain(n, b)}
        while True:
            wrong = [n for n, b in found.items() if not self._stands_alone(b, end, found)]
            if not wrong:
                return found
            for name in wrong:
                del found[name]

    def _is_plain(self, name: str, bound: Binding) -> bool:
        row = bound.statements[0]
        texts = {type(n) for n in ast.walk(row.node)}
        return (
            self.flow.counts[name] == 1
            and row.alone
            and ast.Global not in texts
            and not isinstance(row.node, ast.Assign)
            and not any(isinstance(n, ast.Name) and n.id == ESCAPE for n in ast.walk(row.node))
        )

    def _stands_alone(
        self, bound: Binding, end: dict[str, Binding], found: dict[str, Binding]
    ) -> bool:
        made = definition_of(bound.statements[0].node)
        assert made is not None
        for name in [*made.made.reads, *made.run.reads]:
            known = end.get(name)
            if known is None:
                if name not in BUILTINS:
                    return False
            elif known.kind == "import":
                if self.flow.counts[name] != len(known.statements):
                    return False
            elif known.kind != "const" and name not in found:
                return False
        return not made.made.mutates

    def _move(self, needs: list[dict[str, None]]) -> None:
        """Functions of several sections, and those that a product may need to be read."""
        wanted = [*self.carried, *(n for names in needs for n in names if n in self.movable)]
        while wanted:
            name = wanted.pop()
            if name not in self.moved:
                self.moved[name] = self.movable[name]
                made = definition_of(self.moved[name].statements[0].node)
                assert made is not None
                reads = [*made.made.reads, *made.run.reads]
                wanted += [n for n in reads if n in self.movable]

    def _functions_text(self) -> str:
        if not self.moved:
            return ""
        end = {n: b for s in self.flow.sections for n, b in s.end.items()}
        order = {id(row): i for i, row in enumerate(self.statements)}
        rows = sorted(self.moved.values(), key=lambda b: order[id(b.statements[0])])
        reads: set[str] = set()
        for bound in rows:
            made = definition_of(bound.statements[0].node)
            assert made is not None
            reads |= {*made.made.reads, *made.run.reads}
        used = [b for n, b in end.items() if n in reads]
        imports = [s for b in used if b.kind == "import" for s in b.statements]
        constants = sorted(
            (b for b in used if b.kind == "const"), key=lambda b: order[id(b.statements[0])]
        )
        lines = [*self._futures(), *dict.fromkeys(s.text for s in imports)]
        parts = ['"""Functions that several tasks of this pipeline use."""']
        parts += ["\n".join(lines)] if lines else []
        parts += ["\n".join(b.statements[0].text for b in constants)] if constants else []
        return (
            "\n\n".join(parts) + "\n\n\n" + "\n\n\n".join(b.statements[0].text for b in rows) + "\n"
        )

    def _futures(self) -> list[str]:
        nodes = [s.node for s in self.statements if isinstance(s.node, ast.ImportFrom)]
        return list(dict.fromkeys(ast.unparse(n) for n in nodes if n.module == "__future__"))

    def _cut(self) -> None:
        """Take what has moved out of the cells, and out of a section import it."""
        gone: dict[tuple[int, int], set[int]] = {}
        for name, bound in self.moved.items():
            row = bound.statements[0]
            lines = gone.setdefault((row.section, row.cell), set())
            lines.update(range(row.first, row.last + 1))
            task = self.tasks[row.section]
            if name in self.flow.sections[row.section].reads and name not in task.functions:
                task.functions.append(name)
        for (section, index), drop in gone.items():
            cells = self.tasks[section].cells
            lines_ = cells[index].text.split("\n")
            kept = [line for i, line in enumerate(lines_, 1) if i not in drop]
            cells[index] = replace_text(cells[index], "\n".join(kept).strip("\n"))
        for task in self.tasks:
            task.functions.sort()
            task.cells = [c for c in task.cells if c.kind != "code" or c.text.strip()]

    # -- what each task is given -----------------------------------------------------------

    def _repeat(self, section: int, names: dict[str, None]) -> None:
        task, entry = self.tasks[section], self.flow.sections[section].entry
        order = {id(row): i for i, row in enumerate(self.statements)}
        rows: dict[int, tuple[Statement, str, str]] = {}
        for name in names:
            bound = entry[name]
            if bound.kind == "def" and name in self.moved:
                task.functions.append(name)
            elif bound.kind != "var":
                for row in bound.statements:
                    rows[order[id(row)]] = (row, name, bound.kind)
        task.imports += self._futures()
        stars = [s for s in self.flow.stars if s.section < section]
        if self.flow.sections[section].unknown - BUILTINS:
            task.imports += [s.text for s in stars]
        for _, (row, name, kind) in sorted(rows.items()):
            if kind == "import":
                task.imports += [row.text] if row.text not in task.imports else []
            elif kind == "const":
                task.repeats.append(row.text)
            else:
                self._repeat_definition(section, row, name)

    def _repeat_definition(self, section: int, row: Statement, name: str) -> None:
        task, entry = self.tasks[section], self.flow.sections[section].entry
        made = definition_of(row.node)
        assert made is not None
        variables = [n for n in made.made.reads if n in entry and entry[n].kind == "var"]
        (task.late if variables else task.repeats).append(row.text)
        self.warnings[
            f"{name}: uses variables of the notebook, so it is repeated where it is used"
        ] = None
        if variables:
            self.warnings[
                f"{name}: its defaults read {', '.join(variables)}, perhaps changed since"
            ] = None

    def _load(self, section: int, names: dict[str, None]) -> None:
        task, entry = self.tasks[section], self.flow.sections[section].entry
        for name in sorted(n for n in names if entry[n].kind == "var"):
            giver = self.tasks[entry[name].section]
            task.loads.setdefault(giver.name, []).append(name)
            if name not in giver.saves:
                giver.saves.append(name)

    def _order(self) -> None:
        """A path that several sections name ties them together in their order."""
        named: dict[str, list[int]] = {}
        for row in self.statements:
            for path in paths_in(row.node):
                sections = named.setdefault(path, [])
                if row.section not in sections:
                    sections.append(row.section)
        for path, sections in named.items():
            for first, then in pairwise(sections):
                before, task = self.tasks[first].name, self.tasks[then]
                if before not in task.upstream:
                    task.after.append(before)
                self.warnings[
                    f"'{path}' is named in {before} and {task.name}: declare it as a product"
                ] = None

    # -- warnings --------------------------------------------------------------------------

    def _warn(self, needs: list[dict[str, None]]) -> None:
        for section, name, other in self.flow.lost:
            later = any(other in names for names in needs[section:])
            mine = name in needs[section]
            if later and mine:
                self.warnings[
                    f"{name} and {other} may be one object: the change of {name} in "
                    f"{self.tasks[section].name} does not reach {other}"
                ] = None
        for star in self.flow.stars:
            self.warnings[f"{star.text}: which names it gives cannot be told"] = None
        flowing = {n for task in self.tasks for n in task.saves}
        for row in self.statements:
            self._warn_of(row, flowing)
        for section, names in enumerate(needs):
            for name in names:
                bound = self.flow.sections[section].entry[name]
                giver = self.flow.sections[bound.section]
                if bound.kind == "var" and name not in giver.certain and name not in giver.entry:
                    task = self.tasks[bound.section].name
                    self.warnings[f"{name}: may not be set at the end of {task}"] = None

    def _warn_of(self, row: Statement, flowing: set[str]) -> None:
        task = self.tasks[row.section].name
        for node in ast.walk(row.node):
            if not isinstance(node, ast.Call):
                continue
            func = node.func
            if isinstance(func, ast.Name) and func.id in ("globals", "locals", "exec", "eval"):
                self.warnings[f"{func.id}() in {task}: what it does to variables is not seen"] = (
                    None
                )
            last = func.attr if isinstance(func, ast.Attribute) else ""
            if last in _SETTINGS and row.section < len(self.tasks) - 1:
                what = ast.unparse(node)
                self.warnings[f"{what} in {task} does not hold in the other tasks"] = None
        value = getattr(row.node, "value", None)
        targets = [n.id for n in ast.walk(row.node) if isinstance(n, ast.Name) and n.id in flowing]
        if isinstance(row.node, ast.Assign) and targets and is_unpicklable(value):
            self.warnings[f"{targets[0]}: its value may not be picklable"] = None
