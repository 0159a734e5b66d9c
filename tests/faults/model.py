"""What a build has to run and to make, told without the package: a second opinion on the plan.

Nothing here imports nbpipe. A task is what its author wrote down; a memory is what its last good
run consumed and made; whether it runs is a comparison of the two, in terms of contents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.faults.steps import MODULES, SCRIPT, Contents, Step, text_of

Offer = tuple[Any, ...] | None
"""What consumers see of a task; None: nothing yet."""


@dataclass(frozen=True)
class Consumed:
    """Everything that decides what a run makes."""

    source: str
    code: tuple[Any, ...]
    modules: tuple[tuple[str, int], ...]
    level: int
    product: str
    upstream: tuple[tuple[str, Offer], ...]


@dataclass(frozen=True)
class Memory:
    """What is remembered of a task.

    Attributes:
        consumed: by its last good run; None: there was none.
        made: contents of each product after that run, by path.
        broken: the last try failed or broke off.
        unsure: a build was killed at it, or it was edited meanwhile: it may run or not, but what
            it leaves must be right.
    """

    consumed: Consumed | None = None
    made: Mapping[str, Contents] = field(default_factory=dict)
    broken: bool = False
    unsure: bool = False


@dataclass
class Forecast:
    """What a build is going to do, if nothing fails.

    Attributes:
        sure: what runs.
        unsure: what may run or not.
        consumed: by each task, if it runs.
        lacking: what would run and cannot, since an upstream outside of the build offers nothing.
    """

    sure: list[str] = field(default_factory=list)
    unsure: set[str] = field(default_factory=set)
    consumed: dict[str, Consumed] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)


class World:
    """A project, and what its past builds have left.

    Args:
        root: its folder.
        in_spec: True: pipeline.yaml declares upstreams; False: the scripts do.
    """

    def __init__(self, root: Path, in_spec: bool) -> None:
        self.root = root
        self.in_spec = in_spec
        self.steps: dict[str, Step] = {}
        self.modules = dict.fromkeys(MODULES, 0)
        self.memory: dict[str, Memory] = {}

    # What the author writes.

    def spec(self) -> dict[str, Any]:
        """pipeline.yaml."""
        return {
            "meta": {"extract_upstream": not self.in_spec},
            "tasks": [self._entry(name, step) for name, step in self.steps.items()],
        }

    def _entry(self, name: str, step: Step) -> dict[str, Any]:
        entry: dict[str, Any] = {"source": step.source, "name": name, "product": step.product}
        if step.level:
            entry["params"] = {"level": step.level}
        if self.in_spec:
            entry["upstream"] = list(step.upstream)
        return entry

    def script(self, step: Step) -> str:
        """Text of a task's script."""
        said = None if self.in_spec or not step.upstream else list(step.upstream)
        module = step.module
        text = SCRIPT.format(
            upstream=repr(said),
            constant=step.constant,
            imports=f"import {module}" if module else "",
            module=f"{module}.VALUE // 2" if module else None,
        )
        return text + "# looks\n" * step.comment

    def module(self, name: str) -> str:
        """Text of a module."""
        lines = [f"import {inner}" for inner in MODULES[name]]
        added = "".join(f" + {inner}.VALUE" for inner in MODULES[name])
        return "\n".join([*lines, f"VALUE = {self.modules[name]}{added}", ""])

    # What follows from it.

    def order(self) -> list[str]:
        """Every task after its upstreams."""
        found: list[str] = []
        while len(found) < len(self.steps):
            found += [
                name
                for name, step in self.steps.items()
                if name not in found and set(step.upstream) <= set(found)
            ]
        return found

    def above(self, names: Iterable[str]) -> set[str]:
        """Tasks with all that they need."""
        found: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += self.steps[name].upstream
        return found

    def below(self, names: Iterable[str]) -> set[str]:
        """Tasks with all that needs them."""
        found = set(names)
        for name in self.order():
            if found & set(self.steps[name].upstream):
                found.add(name)
        return found

    def value_of(self, module: str | None) -> int | None:
        """What a module defines."""
        if module is None:
            return None
        return self.modules[module] + sum(self.value_of(one) or 0 for one in MODULES[module])

    def makes(self, step: Step, seen: Mapping[str, str]) -> Contents:
        """What a run writes into the product that consumers read."""
        value = self.value_of(step.module)
        rest = None if value is None else value // 2
        text = repr((step.constant // 2, step.level // 2, rest, dict(sorted(seen.items()))))
        text = hashlib.sha1(text.encode()).hexdigest()[:10]
        if step.data is None:
            return None
        return (("1", text[:5]), ("2", text[5:])) if step.makes == "folder" else text

    def right(self) -> dict[str, Contents]:
        """What every data product must hold, by path."""
        found: dict[str, Contents] = {}
        texts: dict[str, str] = {}
        for name in self.order():
            step = self.steps[name]
            made = self.makes(step, {up: texts[up] for up in step.upstream})
            texts[name] = text_of(step, made)
            if step.data is not None:
                found[step.data] = made
        return found

    def on_disk(self, path: str) -> Contents:
        """What a product holds."""
        full = self.root / path
        if full.is_dir():
            return tuple((part.name, part.read_text()) for part in sorted(full.iterdir()))
        return full.read_text() if full.exists() else None

    # What a build does.

    def forecast(self, chosen: Iterable[str], forced: bool) -> Forecast:
        """What a build of ``chosen`` runs."""
        found, among, known = Forecast(), set(chosen), self.known()
        offers = {name: self.offer_now(name, known) for name in self.steps if name not in among}
        for name in (name for name in self.order() if name in among):
            step, memory = self.steps[name], known.get(name)
            consumed = self.consumed(step, offers)
            if memory is not None and memory.unsure and not forced:
                runs = None
            else:
                runs = forced or self._differs(memory, step, consumed)
            found.consumed[name] = consumed
            if runs is not False and None in dict(consumed.upstream).values():
                found.lacking.add(name)
            elif runs:
                found.sure.append(name)
            elif runs is None:
                found.unsure.add(name)
            offers[name] = self.offer(step, consumed, self.after(step, consumed))
        return found

    def consumed(self, step: Step, offers: Mapping[str, Offer]) -> Consumed:
        """What a run of a task consumes."""
        inner = [step.module, *MODULES[step.module]] if step.module else []
        return Consumed(
            source=step.source,
            code=(step.constant, step.module, () if self.in_spec else step.upstream),
            modules=tuple((name, self.modules[name]) for name in inner),
            level=step.level,
            product=str(step.product),
            upstream=tuple((up, offers[up]) for up in sorted(step.upstream)),
        )

    def after(self, step: Step, consumed: Consumed) -> Contents:
        """What its data product holds after a run that consumed this."""
        seen = {up: offer[-1] if offer else "" for up, offer in consumed.upstream}
        return self.makes(step, seen)

    def offer(self, step: Step, consumed: Consumed | None, made: Contents) -> Offer:
        """What consumers see. The notebook alone stands for what it was made from."""
        if step.data is None:
            return None if consumed is None else (consumed, "a notebook")
        return None if made is None else (str(step.product), made, text_of(step, made))

    def offer_now(self, name: str, known: Mapping[str, Memory]) -> Offer:
        """What a task offers that is not looked at."""
        step, memory = self.steps[name], known.get(name)
        consumed = memory.consumed if memory is not None else None
        return self.offer(step, consumed, self.on_disk(step.data) if step.data else None)

    def _differs(self, memory: Memory | None, step: Step, consumed: Consumed) -> bool:
        if memory is None or memory.broken or memory.consumed != consumed:
            return True
        return any(self.on_disk(path) != memory.made.get(path) for path in step.paths)

    def known(self) -> dict[str, Memory]:
        """What is remembered, by today's names: a task is known by its source and its products."""
        found = dict(self.memory)
        left = [name for name in self.memory if name not in self.steps]
        for name, step in self.steps.items():
            same = [old for old in left if _was(self.memory[old], step)]
            if name not in found and len(same) == 1:
                found[name] = self.memory[same[0]]
        return found

    def keep(self, recorded: Callable[[str], bool]) -> None:
        """A build has ended; ``recorded`` tells of which tasks there is a record now."""
        self.memory = {name: known for name, known in self.known().items() if recorded(name)}

    def remember(self, name: str, consumed: Consumed) -> None:
        """A task ran well, or was found to be right."""
        made = {path: self.on_disk(path) for path in self.steps[name].paths}
        self.memory[name] = Memory(consumed, made)

    def broke(self, name: str) -> None:
        """A task failed."""
        self.memory[name] = replace(self.memory.get(name, Memory()), broken=True, unsure=False)

    def doubt(self, names: Iterable[str]) -> None:
        """Nobody can tell from outside what is remembered of these."""
        for name in names:
            self.memory[name] = replace(self.memory.get(name, Memory()), unsure=True)


def _was(memory: Memory, step: Step) -> bool:
    known = memory.consumed
    return known is not None and (known.source, known.product) == (step.source, str(step.product))
