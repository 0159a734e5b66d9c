"""Completion of subcommands, options and task names on the lines of our magics."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbpipe.pipeline import Pipeline

_LINE = re.compile(r"^\s*(?:[\w, ]+=\s*)?(%%?)(pipeline|upstream|task)\b(?P<rest>.*)$", re.S)

_TAKES_TASK = {"build", "plan", "why", "log"}


def make_matcher(load: Callable[[], Pipeline]) -> Any:
    """A matcher for ``Completer.custom_matchers``.

    Args:
        load: loads the current pipeline.
    """
    from IPython.core.completer import SimpleCompletion, context_matcher

    @context_matcher(identifier="nbpipe")  # type: ignore[untyped-decorator]
    def matcher(context: Any) -> dict[str, Any]:
        line = context.line_with_cursor[: context.cursor_position]
        found = complete(line, load)
        if found is None:
            return {"completions": [], "suppress": False}
        return {
            "completions": [SimpleCompletion(text, type="magic") for text in found],
            "matched_fragment": _last_word(line),
            "suppress": True,
        }

    return matcher


def complete(line: str, load: Callable[[], Pipeline]) -> list[str] | None:
    """What may stand at the end of a line; None: the line is not ours."""
    match = _LINE.match(line)
    if match is None or not match["rest"][:1].isspace():
        return None
    words = match["rest"].split()
    fragment = _last_word(line)
    before = words if not fragment else words[:-1]
    return [text for text in _candidates(match[2], before, load) if text.startswith(fragment)]


def _candidates(magic: str, before: Sequence[str], load: Callable[[], Pipeline]) -> list[str]:
    from nbpipe.jupyter import parsing

    if magic == "upstream":
        return [*_tasks(load), *parsing.options_of(parsing.upstream_parser())]
    if magic == "task":
        named = before and before[-1] in ("-u", "--upstream")
        options = parsing.options_of(parsing.task_parser())
        return [*(_tasks(load) if named else ()), *options]
    if not before:
        return [*parsing.SUBCOMMANDS, "-h"]
    name = before[0]
    if name not in parsing.SUBCOMMANDS:
        return []
    tasks: Iterable[str] = _tasks(load) if name in _TAKES_TASK else ()
    return [*tasks, *parsing.options_of(parsing.pipeline_parser(name))]


def _tasks(load: Callable[[], Pipeline]) -> list[str]:
    """Names of the tasks; none when the pipeline does not load: Tab is no place for errors."""
    from nbpipe.errors import NbpipeError

    try:
        return list(load().graph.tasks)
    except (NbpipeError, OSError):
        return []


def _last_word(line: str) -> str:
    return "" if line[-1:].isspace() else line.split()[-1]
