"""The plan and the reasons of one task as rows, text and HTML."""

from __future__ import annotations

import html

import msgspec

from nbpipe.core.model import Decision
from nbpipe.core.plan import Plan
from nbpipe.errors import harmless
from nbpipe.views.status import html_table, one_line, plain_table
from nbpipe.views.words import duration, plural

PLAN_HEAD = ("task", "action", "reason", "usually")

_ACTIONS = {"run": "▶ run", "skip": "✓ skip", "maybe": "● maybe"}


def plan_cells(plan: Plan) -> list[tuple[str, ...]]:
    """Each task, what a build would do with it, why, and how long it usually takes."""
    return [
        (
            name,
            _ACTIONS[decision.action],
            one_line(decision),
            duration(plan.expected[name]) if name in plan.expected else "",
        )
        for name, decision in plan.decisions.items()
    ]


def plan_line(plan: Plan) -> str:
    """Such as ``1 task to run, 3 maybe, 0 to skip; 12 s of work at the most, by earlier runs``."""
    run, maybe, skip = (len(plan.named(action)) for action in ("run", "maybe", "skip"))
    line = f"{plural(run, 'task')} to run, {maybe} maybe, {skip} to skip"
    chosen = plan.named("run") + plan.named("maybe")
    known = [plan.expected[name] for name in chosen if name in plan.expected]
    if chosen and len(known) == len(chosen):
        line += f"; {duration(sum(known))} of work at the most, by earlier runs"
    return line


def plan_text(plan: Plan) -> str:
    """The plan as an aligned table and its line."""
    return f"{plain_table(PLAN_HEAD, plan_cells(plan))}\n{plan_line(plan)}"


def plan_html(plan: Plan) -> str:
    """The plan as a table; every text is escaped."""
    return html_table(PLAN_HEAD, plan_cells(plan), plan_line(plan))


class Explanation(msgspec.Struct, frozen=True):
    """Why a task would run, or would not, ready to be shown.

    Attributes:
        decision: the plan's.
        diff: unified diff of the source since the last good run; "" when there is none.
    """

    decision: Decision
    diff: str = ""


def why_lines(why: Explanation) -> list[str]:
    """The decision and its reasons, with the old and the new value of each."""
    decision = why.decision
    verb = {"run": "would run", "skip": "is up to date", "maybe": "may run"}[decision.action]
    lines = [f"{decision.task} {verb}"]
    for reason in (*decision.reasons, *decision.notes):
        lines.append(f"  - {reason.text}")
        if reason.old is not None or reason.new is not None:
            lines += [f"      was: {reason.old}", f"      now: {reason.new}"]
    return lines


def why_text(why: Explanation) -> str:
    """The reasons and the diff as text."""
    return "\n".join([*why_lines(why), *([""] if why.diff else []), *why.diff.splitlines()])


def why_html(why: Explanation) -> str:
    """The reasons as a list and the diff; every text is escaped."""
    head, *reasons = why_lines(why)
    items = "".join(f"<li>{html.escape(line.strip(' -'))}</li>" for line in reasons)
    diff = f"<pre>{html.escape(why.diff)}</pre>" if why.diff else ""
    return harmless(f"<p><strong>{html.escape(head)}</strong></p><ul>{items}</ul>{diff}")
