"""A run as it happens, in a terminal: live bars where they work, plain lines where not."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

import msgspec

from nbpipe.core import events as ev
from nbpipe.core.model import Failure
from nbpipe.core.progress import Progress, TaskProgress
from nbpipe.views.status import printable
from nbpipe.views.words import duration, plural

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

UPDATES_PER_SECOND = 4
"""A reader follows no more, and a terminal over a slow line copes with it."""


class JsonLines:
    """Writes every event as one JSON object a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: ev.Event) -> None:
        """Write one event."""
        self._out.write(msgspec.json.encode(event).decode() + "\n")
        self._out.flush()


class PlainLines:
    """Writes a line for what matters, for logs and pipes.

    Args:
        write: takes one line without its line end.
        silent: kinds of events that are followed, but not written.
    """

    def __init__(
        self, write: Callable[[str], object], silent: tuple[type[ev.Event], ...] = ()
    ) -> None:
        self._write = write
        self._silent = silent
        self._progress = Progress()

    def __call__(self, event: ev.Event) -> None:
        """Take one event in, and write a line when it is worth one."""
        self._progress.apply(event)
        line = None if isinstance(event, self._silent) else self._line(event)
        if line is not None:
            self._write(printable(line) if "\n" not in line else line)

    def _line(self, event: ev.Event) -> str | None:
        match event:
            case ev.RunStarted():
                count, jobs = plural(len(event.tasks), "task"), plural(event.jobs, "job")
                return f"run {event.run}: {count}, {jobs}"
            case ev.TaskStarted():
                again = f" (try {event.attempt})" if event.attempt > 1 else ""
                return f"▶ {event.task}{again}"
            case ev.TaskDone():
                return f"✓ {event.task}  {duration(event.seconds)}  {self._count()}"
            case ev.TaskFailed():
                again = "" if event.final else ", trying again"
                return f"✗ {event.task}  {duration(event.seconds)}{again}"
            case ev.TaskBlocked():
                return f"⊘ {event.task}  blocked by {event.by}"
            case ev.Warned():
                return f"warning: {event.task + ': ' if event.task else ''}{event.message}"
            case _:
                return None

    def _count(self) -> str:
        return f"[{self._progress.settled()}/{len(self._progress.tasks)}]"


class LiveProgress:
    """Bars that move: one for the build, one for the cells of each running task.

    Used as a context manager around the build; each event is handed to it by calling it.

    Args:
        console: a rich console on a terminal.
    """

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._progress = Progress()
        self._lines = PlainLines(self._print, silent=(ev.RunStarted, ev.TaskStarted))
        self._console = console
        self._live = Live(
            get_renderable=self._render,
            console=console,
            refresh_per_second=UPDATES_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def __call__(self, event: ev.Event) -> None:
        """Take one event in."""
        self._progress.apply(event)
        self._lines(event)

    def _print(self, line: str) -> None:
        from rich.text import Text

        style = {"✓": "green", "✗": "bold red", "⊘": "yellow", "w": "yellow"}.get(line[:1], "")
        self._console.print(Text(line, style=style))

    def _render(self) -> RenderableType:
        from rich.console import Group

        now = time.time()
        running = [(n, t) for n, t in self._progress.tasks.items() if t.state == "running"]
        parts: list[RenderableType] = [_task_lines(running, self._progress, now)] if running else []
        return Group(*parts, _build_line(self._progress, now))


def _build_line(progress: Progress, now: float) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    total, settled = len(progress.tasks), progress.settled()
    left = progress.remaining(now)
    words = [f"{settled}/{total} tasks"]
    if progress.started:
        words.append(duration(max(0.0, now - progress.started)))
    if left is not None and settled < total:
        words.append(f"about {duration(left)} left")
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        Text("build", style="bold"),
        ProgressBar(max(1, total), settled, width=24),
        " · ".join(words),
    )
    return grid


def _task_lines(running: list[tuple[str, TaskProgress]], progress: Progress, now: float) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    for name, task in running[:12]:
        done = max(0, task.cell - 1)
        words = [f"cell {task.cell}/{task.cells}"] if task.cells else ["starting"]
        words.append(duration(max(0.0, now - task.started)))
        if name in progress.expected:
            words.append(f"usually {duration(progress.expected[name])}")
        label = Text(f"▶ {printable(name)}", style="cyan", overflow="ellipsis", no_wrap=True)
        bar = ProgressBar(max(1, task.cells), done, width=16)
        grid.add_row(label, bar, Text(" · ".join(words), no_wrap=True))
    if len(running) > 12:
        grid.add_row(Text(f"… and {len(running) - 12} more"), "", "")
    return grid


def failure_lines(task: str, failure: Failure, *, traceback: bool = False) -> list[str]:
    """A failure for a terminal: object and cause, the quoted lines, where to look, the hint.

    Args:
        task: its name.
        failure: why it failed.
        traceback: True: the whole traceback stands in the place of the quoted lines.
    """
    place = failure.file or ""
    if failure.line:
        place += f":{failure.line}"
    cell = f" (cell {failure.cell})" if failure.cell else ""
    lines = [f"✗ {task}: {place}{cell}" if place else f"✗ {task}{cell}"]
    lines += [f"  {failure.error}: {failure.message}" if failure.message else f"  {failure.error}"]
    quoted = failure.traceback if traceback and failure.traceback else failure.excerpt
    lines += [f"  {line}" for line in quoted.splitlines()]
    if failure.hint:
        lines.append(f"  hint: {failure.hint}")
    if failure.notebook:
        lines.append(f"  notebook: {failure.notebook}")
    return [printable(line) for text in lines for line in text.splitlines()]


def text_of(lines: list[str]) -> Text:
    """Failure lines, coloured for a terminal."""
    from rich.text import Text

    text = Text()
    for line in lines:
        style = "bold red" if line.startswith("✗") else "red" if line.startswith("  >") else ""
        style = "cyan" if line.startswith(("  hint:", "  notebook:")) else style
        text.append(line + "\n", style=style)
    return text
