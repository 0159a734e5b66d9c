"""The pipeline on one page: its picture, the state of every task, its last runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

import msgspec

from nbpipe.core.progress import Progress
from nbpipe.errors import harmless
from nbpipe.views.page import CSS, POLICY
from nbpipe.views.runs import RUN_HEAD, run_cells
from nbpipe.views.status import STATUS_HEAD, Status, html_table, printable, status_cells
from nbpipe.views.theme import css_rules
from nbpipe.views.words import plural

_CSS = f"""{CSS}h2{{font-size:16px;font-weight:600;margin:28px 0 8px}}
caption{{color:var(--nbp-muted)}}
"""


class Page(msgspec.Struct, frozen=True):
    """What a report shows.

    Attributes:
        status: of every task.
        picture: of the pipeline: SVG for a page of its own, Mermaid for Markdown.
        runs: the last ones, oldest first.
        warnings: what is doubtful in the spec and the sources.
    """

    status: Status
    picture: str
    runs: Sequence[Progress] = ()
    warnings: Sequence[str] = ()

    @property
    def taken(self) -> str:
        """When, in UTC."""
        return datetime.fromtimestamp(self.status.now, UTC).strftime("%Y-%m-%d %H:%M UTC")

    def html(self) -> str:
        """A page that loads nothing and runs nothing."""
        title = escape(harmless(self.status.name or "pipeline"))
        states = html_table(STATUS_HEAD, self._states(), self.status.summary)
        runs = html_table(RUN_HEAD, self._runs(), plural(len(self.runs), "run"))
        warnings = "".join(f"<li>{escape(harmless(text))}</li>" for text in self.warnings)
        said = f"<h2>Warnings</h2>\n<ul>{warnings}</ul>\n" if warnings else ""
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{css_rules(":root", whole_page=True)}{_CSS}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{escape(self.taken)}</p>
<figure>
{self.picture}</figure>
<h2>Tasks</h2>
{states}
<h2>Runs</h2>
{runs if self.runs else "<p>none yet</p>"}
{said}</main>
</body>
</html>
"""

    def markdown(self) -> str:
        """Markdown whose picture is a block of Mermaid."""
        parts = [
            f"# {_plain(self.status.name or 'pipeline')}",
            self.taken,
            f"```mermaid\n{self.picture.rstrip()}\n```",
            "## Tasks",
            self.status.summary,
            _table(STATUS_HEAD, self._states()),
            "## Runs",
            _table(RUN_HEAD, self._runs()) if self.runs else "none yet",
        ]
        if self.warnings:
            parts += ["## Warnings", "\n".join(f"- {_plain(text)}" for text in self.warnings)]
        return "\n\n".join(parts) + "\n"

    def _states(self) -> list[tuple[str, ...]]:
        return [status_cells(row, self.status.now) for row in self.status.rows]

    def _runs(self) -> list[tuple[str, ...]]:
        return [run_cells(run) for run in reversed(self.runs)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """One cell: its lines side by side, nothing in it read as Markdown or HTML."""
    return "<br>".join(_plain(line) for line in text.splitlines()).replace("|", "\\|")


def _plain(text: str) -> str:
    """Text of which nothing is read as markup."""
    marked = printable(text)
    for sign in "\\`*_[]":
        marked = marked.replace(sign, f"\\{sign}")
    return escape(marked, quote=False)
