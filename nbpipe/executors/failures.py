"""From what a kernel says of an error to a failure that is quoted with its line in the script."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nbpipe.core.model import Failure, Job
from nbpipe.executors.hints import Scene, hint_for

LONGEST_MESSAGE = 2_000
LONGEST_LINE = 1_000
LONGEST_TRACEBACK = 200
"""Lines; the middle of a longer one is cut out."""

AROUND = 3
"""Lines shown before and after the failing one."""

INJECTED = "injected cell"

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_CHAIN = re.compile(
    r"^(The above exception was the direct cause|During handling of the above exception)"
)
_PLACE = re.compile(r"^(?P<pad>\s*)Cell In ?\[(?P<count>\d+)\], line (?P<line>\d+)(?P<rest>.*)$")
# A magic such as %%time runs what stands below it; the tokenizer names no cell.
_INSIDE = re.compile(
    r"^(?P<pad>\s*)File <(?P<what>timed exec|tokenize)>:(?P<line>\d+)(?P<rest>.*)$"
)
_FILE = re.compile(r"^\s*File \S.*")
_GUTTER = re.compile(r"^(?P<mark> *|-+> ?)(?P<line>\d+)(?= |$)")
_IN_MESSAGE = re.compile(r"\((?:<[\w ]+>|\d+\.py), line (\d+)\)")
_CRASH = re.compile(r'^  File ".*ipykernel_\d+.*", line (?P<line>\d+) in ')
_EXIT_CALL = re.compile(r"\b(exit|quit)\s*\(")


@dataclass(frozen=True)
class Script:
    """Which line of the script each line of each cell is.

    Attributes:
        source: path of the script.
        texts: text of every cell.
        first: for every cell, the line of the script where it starts; 0: not in the script.
        counts: the number in ``In[n]`` to the cell's index, of the cells that ran.
    """

    source: str
    texts: Sequence[str]
    first: Sequence[int]
    counts: Mapping[int, int] = field(default_factory=dict)

    def skipped(self, cell: int) -> int:
        """Blank lines at the start of a cell, which IPython does not count."""
        lines = self.texts[cell].splitlines()
        return next((n for n, text in enumerate(lines) if text.strip()), 0)

    def line(self, cell: int, line: int) -> int | None:
        """Line of the script; None for a cell that is not in it. ``line`` is IPython's."""
        first = self.first[cell] if cell < len(self.first) else 0
        return first + self.skipped(cell) + line - 1 if first else None

    def place(self, cell: int, line: int) -> str:
        """For a traceback."""
        number = self.line(cell, line)
        if number is None:
            return f"{INJECTED}, line {line + self.skipped(cell)}"
        return f"{self.source}, line {number}"


def script_of(job: Job, counts: Mapping[int, int]) -> Script:
    """The script of a notebook job."""
    cells = (job.notebook or {}).get("cells", [])
    texts = [s if isinstance(s := c.get("source", ""), str) else "".join(s) for c in cells]
    return Script(job.source, texts, job.lines, counts)


def cell_failure(
    script: Script, cell: int, error: str, message: str, trace: str, scene: Scene
) -> Failure:
    """A failure in a cell.

    Args:
        script: of the job.
        cell: index of the failing cell.
        error: name of the exception, or what befell the kernel.
        message: text of the exception.
        trace: IPython's traceback; "" when there is none.
        scene: for the hint.
    """
    lines = _ANSI.sub("", trace).splitlines()
    at = failing_line(script, cell, error, message, lines)
    text, first = script.texts[cell], script.line(cell, 1)
    offset = script.skipped(cell)
    quoted = "" if at is None else text.splitlines()[offset:][at - 1 : at]
    scene = replace(scene, line="".join(quoted))
    hint = hint_for(error, message, scene)
    if first is None:
        where = f"the error is in the {INJECTED}, which holds the task's parameters"
        hint = where if hint is None else f"{hint}; {where}"
    return Failure(
        error=error,
        message=shorten(_IN_MESSAGE.sub(lambda m: f"({script.place(cell, int(m[1]))})", message)),
        cell=cell + 1,
        file=script.source,
        line=script.line(cell, at or 1),
        excerpt=excerpt(text.splitlines(), (first or 1 + offset) - offset, at and at + offset),
        traceback=cut_middle(list(_rewrite(script, cell, lines))),
        hint=hint,
    )


def failing_line(
    script: Script, cell: int, error: str, message: str, lines: Sequence[str]
) -> int | None:
    """The line in a cell, as IPython counts, of the outermost frame in it; None: not known."""
    start = max((n for n, text in enumerate(lines) if _CHAIN.match(text)), default=0)
    for part in (lines[start:], lines):
        found = [line for where, line, _ in _places(script, cell, part) if where == cell]
        if found:
            # Of a magic's own frame and the one inside it, the latter tells more.
            return found[1] if found[0] == 1 and len(found) > 1 and _timed(part) else found[0]
    if match := _IN_MESSAGE.search(message):
        return int(match[1])
    if crash := [match for text in _crashed_thread(lines) if (match := _CRASH.match(text))]:
        return int(crash[-1]["line"])
    if error == "SystemExit":
        text = script.texts[cell].splitlines()[script.skipped(cell) :]
        return next((n for n, code in enumerate(text, 1) if _EXIT_CALL.search(code)), None)
    return None


def _crashed_thread(lines: Sequence[str]) -> Iterator[str]:
    """Its frames in faulthandler's report, the innermost first."""
    starts = ("Current thread", "Stack (most recent call first)")
    report = itertools.dropwhile(lambda text: not text.startswith(starts), lines)
    return itertools.takewhile(str.strip, report)


def _timed(lines: Sequence[str]) -> bool:
    return any("File <timed exec>:" in text for text in lines)


def _places(
    script: Script, cell: int, lines: Sequence[str]
) -> Iterator[tuple[int | None, int, re.Match[str]]]:
    """Every place that a traceback names: cell (None: a file), line, and the match."""
    current = cell
    for text in lines:
        if match := _PLACE.match(text):
            where = script.counts.get(int(match["count"]))
            current = cell if where is None else where
            yield where, int(match["line"]), match
        elif match := _INSIDE.match(text):
            yield current, int(match["line"]) + (match["what"] == "timed exec"), match
        elif match := _FILE.match(text):
            yield None, 0, match


def _rewrite(script: Script, cell: int, lines: Sequence[str]) -> Iterator[str]:
    """Cells' line numbers become the script's, in places and beside the quoted code."""
    shift: int | None = None
    for text in lines:
        for where, line, match in _places(script, cell, [text]):
            if where is None:
                shift = None
                continue
            text = f"{match['pad']}{script.place(where, line)}{match['rest']}"
            number = script.line(where, line)
            is_numbered = not match["pad"] and match.re is _PLACE
            shift = (number or line + script.skipped(where)) - line if is_numbered else None
        yield _shift_gutter(text, shift) if shift else text


def _shift_gutter(text: str, shift: int) -> str:
    match = _GUTTER.match(text)
    if not match:
        return text
    width = len(match[0])
    number = str(int(match["line"]) + shift)
    if ">" in match["mark"]:
        mark = "-" * max(width - len(number) - 2, 1) + "> "
        return mark + number + text[width:]
    return number.rjust(width) + text[width:]


def excerpt(lines: Sequence[str], first: int, at: int | None) -> str:
    """Some lines with their numbers, the failing one marked.

    Args:
        lines: of a cell or of a file.
        first: number of the first of them.
        at: 1-based index of the failing one; None: not known, the first ones are shown.
    """
    begin = max((at or 1) - 1 - AROUND, 0)
    end = (at or 1) + AROUND
    width = len(str(first + len(lines)))
    return "\n".join(
        f"{'>' if n + 1 == at else ' '} {first + n:>{width}} | {shorten(text, 200)}".rstrip()
        for n, text in list(enumerate(lines))[begin:end]
    )


def cut_middle(lines: Sequence[str], limit: int = LONGEST_TRACEBACK) -> str:
    """A traceback without the middle of a long one, in which a recursion repeats itself."""
    kept = [shorten(text, LONGEST_LINE) for text in lines]
    if len(kept) > limit:
        head, tail = limit // 2, limit - limit // 2 - 1
        gap = f"[… {len(kept) - head - tail:,} lines cut …]"
        kept = [*kept[:head], gap, *kept[-tail:]]
    return "\n".join(kept).strip("\n")


def shorten(text: str, limit: int = LONGEST_MESSAGE) -> str:
    """A text cut to a number of characters."""
    return text if len(text) <= limit else f"{text[:limit]} […]"
