"""What one more task costs, and one more cell: the difference of two builds of different size."""

from __future__ import annotations

from collections.abc import Callable

from tests.benchmarks import projects, why
from tests.benchmarks.lab import Lab
from tests.benchmarks.measure import Contender, Race, Reading
from tests.benchmarks.projects import Project
from tests.benchmarks.rows.result import Result, explained
from tests.benchmarks.targets import Figure, compared

AT_ONCE = 2
"""Tasks at once, in every tool."""

COLD = "nbpipe, cold kernels"
Make = Callable[[int], Project]


def tiny(lab: Lab) -> Result:
    """Tasks that hash a line."""
    sizes, stock = lab.settings.tiny, lab.settings.stock
    found = _race(lab, projects.many, sizes, few=(COLD, "nbclient"), slow=(COLD,))
    conditions = "per further task, between {} and {}".format(*sizes)
    stock_too = "{} (nbclient: {} and {})".format(conditions, *stock)
    figures = [
        compared("tiny-python", found, "nbpipe", "python script.py", conditions),
        compared("tiny-nbclient", found, "nbclient", "nbpipe", stock_too),
    ]
    whole = _whole(found, f"{sizes[1]} tasks", ("nbpipe", "python script.py"))
    phases = _phases(lab, projects.many(sizes[1]))
    return Result([_told(figure, whole, phases) for figure in figures], found)


def stack(lab: Lab) -> Result:
    """Tasks that import pandas and scikit-learn."""
    sizes, stock = lab.settings.stack, lab.settings.stock
    others = (COLD, "nbclient", "python script.py")
    found = _race(lab, projects.stack, sizes, few=others, slow=(COLD, "nbclient"))
    conditions = "per further task, between {} and {} (the others: {} and {})"
    conditions = conditions.format(*sizes, *stock)
    figure = compared("stack-python", found, "nbpipe", "python script.py", conditions)
    whole = _whole(found, f"{sizes[1]} tasks", ("nbpipe",))
    return Result([_told(figure, whole, _phases(lab, projects.stack(sizes[1])))], found)


def cells(lab: Lab) -> Result:
    """Short cells of one notebook."""
    sizes, names = lab.settings.cells, ("nbpipe", "nbclient")
    rounds = lab.settings.rounds
    found = lab.race(
        [_contender(lab, n, projects.cells, sizes, 1, rounds) for n in names if lab.has(n)]
    )
    conditions = "per further cell of one notebook, between {} and {}".format(*sizes)
    figure = compared("cells", found, "nbpipe", "nbclient", conditions)
    whole = _whole(found, f"{sizes[1]} cells", names)
    return Result([_told(figure, whole, _phases(lab, projects.cells(sizes[1])))], found)


def _told(figure: Figure, whole: tuple[str, ...], phases: tuple[str, ...]) -> Figure:
    return explained(figure, whole, phases if figure.met is False else ())


def _whole(found: Race, size: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The builds that the differences come from, with all that happens once in them."""
    if not found.has(*names):
        return ()
    told = (f"{name} {found.note(name, 'the whole of the larger'):.2f} s" for name in names)
    return (f"whole builds of {size}: {', '.join(told)}",)


def _race(
    lab: Lab, make: Make, sizes: tuple[int, int], *, few: tuple[str, ...], slow: tuple[str, ...]
) -> Race:
    """Slow ones get fewer tasks: what one more task costs does not depend on how many there are.

    Args:
        lab: in which to measure.
        make: a project of so many tasks.
        sizes: of the small and the large project.
        few: contenders that get the sizes for what is slow.
        slow: contenders that take part in fewer rounds.
    """
    settings = lab.settings
    contenders = []
    for name in ("nbpipe", COLD, "nbclient", "python script.py"):
        own = settings.stock if name in few else sizes
        rounds = settings.slow_rounds if name in slow else settings.rounds
        if lab.has(name):
            contenders.append(_contender(lab, name, make, own, AT_ONCE, rounds))
    return lab.race(contenders)


def _contender(
    lab: Lab, name: str, make: Make, sizes: tuple[int, int], at_once: int, rounds: int
) -> Contender:
    small, large = map(make, sizes)

    def run() -> Reading:
        one = lab.build(name, small, at_once)
        other = lab.build(name, large, at_once)
        more = sizes[1] - sizes[0]
        notes = {
            "processor time": (other.cpu - one.cpu) / more,
            "the whole of the smaller": one.seconds,
            "the whole of the larger": other.seconds,
        }
        return Reading((other.seconds - one.seconds) / more, notes)

    return Contender(name, run, rounds)


def _phases(lab: Lab, project: Project) -> tuple[str, ...]:
    return why.of_tasks(lab, "nbpipe", project) if lab.has("nbpipe") else ()
