"""Which sets of modules are worth a warm process of their own. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

MOST = 4
"""Sets at most: each is a process."""

MOST_KINDS = 30
"""Kinds of notebooks whose common modules are looked at; the most frequent ones."""

Modules = tuple[str, ...]


def sets_of(heads: Iterable[Sequence[str]]) -> list[Modules]:
    """The sets of modules to preload for notebooks that begin with these imports.

    A set is worth it when two notebooks at least import all of it: one alone would pay as much for
    the import, wherever it happens.
    """
    kinds = Counter(tuple(head) for head in heads if head)
    frequent = [kind for kind, _ in kinds.most_common(MOST_KINDS)]
    candidates: dict[frozenset[str], Modules] = {frozenset(kind): kind for kind in frequent}
    for one, other in combinations(frequent, 2):
        common = tuple(name for name in one if name in other)
        candidates.setdefault(frozenset(common), common)
    saved = {
        names: (sum(n for kind, n in kinds.items() if names <= set(kind)) - 1) * len(names)
        for names in candidates
    }
    best = sorted((names for names in candidates if saved[names] > 0), key=lambda s: -saved[s])
    return [candidates[names] for names in best[:MOST]]
