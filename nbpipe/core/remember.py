"""Results of pure functions of a text, kept for the next time that it is asked about.

A build looks at the same source again and again: when it loads, when it plans under its lock, when
it decides, when it starts the task and when that has ended. Each time the file is read anew, and
as a rule its text is what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

KEPT = 1024
"""Results that a function keeps, those that were asked for last."""

LONGEST = 1 << 16
"""Characters: of a longer text no result is kept, so that what is kept stays some megabytes."""

F = TypeVar("F", bound=Callable[..., Any])


def remembering(length: Callable[[Any], int]) -> Callable[[F], F]:
    """Makes a pure function keep its results.

    Whoever is given a result shares it with others and must not change it. Errors are not kept.

    Args:
        length: of the function's first argument, in characters. All its arguments are hashable.
    """

    def decorate(function: F) -> F:
        kept = lru_cache(maxsize=KEPT)(function)

        @wraps(function)
        def asked(text: Any, *rest: Any) -> Any:
            return (kept if length(text) <= LONGEST else function)(text, *rest)

        return cast("F", asked)

    return decorate


def total_length(texts: tuple[str, ...]) -> int:
    """Characters of several texts."""
    return sum(map(len, texts))
