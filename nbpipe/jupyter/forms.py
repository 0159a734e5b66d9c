"""The forms in which a notebook shows the core's plain values, which know nothing of display."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_KINDS = {"Plan": "nbpipe.core.plan", "Explanation": "nbpipe.views.plans"}
"""The types by the modules in which they live, so that none is imported for its form."""


def register(shell: Any) -> None:
    """Give each type a plain and a rich form."""
    formatters = shell.display_formatter.formatters
    for (kind, module), (text, html) in zip(_KINDS.items(), (_PLAN, _WHY), strict=True):
        formatters["text/plain"].for_type_by_name(module, kind, _printer(text))
        formatters["text/html"].for_type_by_name(module, kind, html)


def unregister(shell: Any) -> None:
    """Undo :func:`register`."""
    formatters = shell.display_formatter.formatters
    for kind, module in _KINDS.items():
        formatters["text/plain"].pop(f"{module}.{kind}", None)
        formatters["text/html"].pop(f"{module}.{kind}", None)


def _by_name(function: str) -> Callable[[Any], str]:
    """A function of ``views.plans``, imported when it is called."""

    def call(value: Any) -> str:
        from nbpipe.views import plans

        text: str = getattr(plans, function)(value)
        return text

    return call


def _printer(text: Callable[[Any], str]) -> Callable[[Any, Any, bool], None]:
    def show(value: Any, printer: Any, cycle: bool) -> None:
        printer.text(text(value))

    return show


_PLAN = (_by_name("plan_text"), _by_name("plan_html"))
_WHY = (_by_name("why_text"), _by_name("why_html"))
