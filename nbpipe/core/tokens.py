"""What tasks take of a machine while they run: what fits, and the place kept for who waits."""

from __future__ import annotations

from collections.abc import Mapping

from nbpipe.core.model import Resources

Amounts = Mapping[str, float]
"""How much of each thing by its name: ``cpu`` cores, ``memory`` bytes, ``gpu`` devices."""

_ROUNDING = 1e-9
"""Fractions of a core are added up as floats; so much more than the limit is none at all."""


def demand(resources: Resources) -> dict[str, float]:
    """What a task takes while it runs; one core when it says nothing of cores."""
    wish = {"cpu": resources.cpu or 1.0, "memory": resources.memory, "gpu": resources.gpu}
    return {name: float(amount) for name, amount in wish.items() if amount}


def excess(wish: Amounts, limits: Amounts) -> dict[str, float]:
    """Of what a task takes, that of which there is not so much; what has no limit is left out."""
    return {name: wish[name] for name in wish if wish[name] > limits.get(name, wish[name])}


class Tokens:
    """What is free, while tasks take of it and give it back.

    A task that takes more than there is takes all there is: it runs, alone.

    Args:
        limits: what there is. A thing without a limit is free to everybody.
        wishes: what each task takes.

    Attributes:
        free: what nobody holds now.
        kinds: a number for each task; tasks that take the same have the same.
    """

    def __init__(self, limits: Amounts, wishes: Mapping[str, Amounts]) -> None:
        self._limits = dict(limits)
        self._wishes = {
            task: {name: min(wish[name], limits[name]) for name in wish if name in limits}
            for task, wish in wishes.items()
        }
        kinds: dict[tuple[tuple[str, float], ...], int] = {}
        self.kinds = {
            task: kinds.setdefault(tuple(sorted(wish.items())), len(kinds))
            for task, wish in self._wishes.items()
        }
        self._holders: dict[str, Amounts] = {}
        self.free = dict(limits)

    def fits(self, task: str) -> bool:
        """Whether a task can run beside those that hold something."""
        return _is_within(self._wishes[task], self.free)

    def take(self, task: str) -> None:
        """The task runs."""
        self._holders[task] = self._wishes[task]
        self.free = self._without(self._holders)

    def give_back(self, task: str) -> None:
        """The task has ended."""
        del self._holders[task]
        self.free = self._without(self._holders)

    def reserve(self, task: str, ends: Mapping[str, float]) -> Reservation:
        """The place of a task that does not fit yet.

        Args:
            task: that waits.
            ends: when each holder is expected to end, on any clock.
        """
        wish = self._wishes[task]
        left = dict(self._holders)
        time = 0.0
        for holder in sorted(left, key=ends.__getitem__):
            del left[holder]
            time = ends[holder]
            if _is_within(wish, self._without(left)):
                break
        free = self._without(left)
        return Reservation(time, {name: free[name] - wish.get(name, 0.0) for name in free})

    def passes(self, task: str, end: float, reservation: Reservation) -> bool:
        """Whether a task, to end at ``end``, may run before the one that the place is kept for."""
        return reservation.admits(self._wishes[task], end)

    def _without(self, holders: Mapping[str, Amounts]) -> dict[str, float]:
        return {
            name: limit - sum(amounts.get(name, 0.0) for amounts in holders.values())
            for name, limit in self._limits.items()
        }


class Reservation:
    """When a waiting task is expected to fit, and what is left beside it then.

    Whoever would end before, or is content with what is left, may go first ("EASY backfilling",
    Lifka, 1995): nothing idles for the waiting task without need, and nothing holds it up.

    Args:
        time: when it is expected to fit.
        spare: what is left beside it then.
    """

    def __init__(self, time: float, spare: dict[str, float]) -> None:
        self.time = time
        self.spare = spare

    def admits(self, wish: Amounts, end: float) -> bool:
        """Whether a task may go first; if so, what it takes of the spare is gone."""
        if end <= self.time:
            return True
        if not _is_within(wish, self.spare):
            return False
        for name, amount in wish.items():
            self.spare[name] -= amount
        return True


def _is_within(wish: Amounts, free: Amounts) -> bool:
    return all(amount <= free[name] + _ROUNDING for name, amount in wish.items())
