"""What is true of each task today, gathered from its source, its modules and its products."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.core.fingerprint import text_digest
from nbpipe.core.model import (
    Declared,
    Facts,
    FileState,
    Inputs,
    Record,
    Spec,
    Task,
)
from nbpipe.errors import Problem, SpecError
from nbpipe.store.analysis import check_notebook
from nbpipe.store.cache import Consulted
from nbpipe.store.codes import code_of, kernel_of
from nbpipe.store.functions import function_declared, module_file
from nbpipe.store.given import given_values, shaping
from nbpipe.store.hookfacts import around_digests
from nbpipe.store.imports import ImportFollower
from nbpipe.store.products import digest_product
from nbpipe.store.reading import quick_cells
from nbpipe.store.records import RecordStore
from nbpipe.store.scripts import script_declared, script_text, template_digests
from nbpipe.store.sources import Source, declared, parse_source, read_text, to_notebook
from nbpipe.store.specproducts import declared_product


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A source as it is run, read in one go.

    Attributes:
        text: the raw text.
        source: its cells; None for a function.
        declared: what it says.
        facts: what the run consumes, upstream offers included.
        before: state of the products before the run, by path; missing ones are left out.
    """

    text: str
    source: Source | None
    declared: Declared
    facts: Facts
    before: dict[str, FileState]


class Gatherer:
    """Reads sources and products of one pipeline; remembers nothing that could change.

    Args:
        root: folder of pipeline.yaml.
        spec: the pipeline.
    """

    def __init__(self, root: Path, spec: Spec) -> None:
        self.root = root
        self.spec = spec
        self._problems: list[Problem] = []
        self._warnings: list[str] = []

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful in the sources, one sentence each."""
        return tuple(self._warnings)

    def raise_problems(self) -> None:
        """Raise all that :meth:`declared_of` met.

        Raises:
            SpecError: if there was anything.
        """
        if self._problems:
            raise SpecError(self._problems)

    def records(self, store: RecordStore, tasks: Iterable[Task]) -> dict[str, Record]:
        """The records of ``tasks``. A renamed task takes over the record that it left behind.

        It is recognised by its source and its products, when just one such record is there.
        """
        listed = list(tasks)
        found = store.load_all(task.name for task in listed)
        new = [task for task in listed if task.name not in found]
        left = store.others(task.name for task in listed) if new else {}
        for task in new:
            same = [record for record in left.values() if _is_of(record, task)]
            if len(same) == 1:
                found[task.name] = msgspec.structs.replace(same[0], task=task.name)
        return found

    def declared_of(self, task: Task, records: Mapping[str, Record]) -> Declared:
        """What a task's source declares; an unchanged source is not parsed again.

        A wrong source is kept for :meth:`raise_problems` and counts as declaring nothing.
        """
        record = records.get(task.name)
        try:
            said = self._declared(task, self.text(task), record)
        except SpecError as error:
            self._problems.extend(error.problems)
            return Declared()
        if said.problem is not None:
            self._warnings.append(said.problem)
        if task.upstream is None:
            self._warnings.extend(said.warnings)
        return said

    def text(self, task: Task) -> str:
        """The raw text of a task's source; of a function, of its module.

        Raises:
            SpecError: it cannot be read.
        """
        if task.work is not None:
            return script_text(self.root, task)
        path = self._path(task)
        return read_text(self.root / path, path)

    def all_facts(
        self,
        tasks: Iterable[Task],
        records: Mapping[str, Record],
        follower: ImportFollower | None = None,
    ) -> dict[str, Facts]:
        """Today's facts of many tasks; a module that several import is read once."""
        follower = follower or ImportFollower(self.root)
        return {task.name: self.facts(task, records.get(task.name), follower) for task in tasks}

    def consulted(self, store: RecordStore, follower: ImportFollower) -> Consulted:
        """All that a plan of the whole pipeline rests on, besides the spec file."""
        found = Consulted()
        for task in self.spec.tasks:
            found.read |= {self.root / self._path(task), store.path(task.name)}
            found.trees |= {self.root / path for path in task.products.values()}
            found.trees |= {self.root / path for path in task.files.values()}
        found.read |= follower.files
        found.looked |= follower.looked
        return found

    def facts(
        self, task: Task, record: Record | None, follower: ImportFollower | None = None
    ) -> Facts:
        """Today's facts of a task.

        Args:
            task: the task.
            record: what is remembered; spares parsing and hashing where it still holds.
            follower: shared between tasks of one plan; None: a new one.

        Raises:
            StoreError: a product is there but cannot be read.
        """
        products = self.products(task, record)
        try:
            text = self.text(task)
            source = parse_source(text, task.source) if task.kind == "notebook" else None
            inputs = self._inputs(task, text, source, record, follower)
        except SpecError as error:
            inputs = self._bare_inputs(task)
            return Facts(inputs=inputs, products=products, problem=str(error.problems[0]))
        return Facts(inputs=inputs, products=products)

    def products(self, task: Task, record: Record | None) -> dict[str, str | None]:
        """Digest of every product by path; None: it does not exist."""
        known = record.good.products if record is not None and record.good is not None else {}
        found: dict[str, str | None] = {}
        for path in task.products.values():
            state = digest_product(self.root / path, known.get(path))
            found[path] = None if state is None else state.digest
        return found

    def only_products(self, task: Task, products: dict[str, str | None]) -> Facts:
        """Facts about products alone, for what consumers see."""
        return Facts(inputs=self._bare_inputs(task), products=products)

    def take(self, task: Task, record: Record | None, offers: Mapping[str, str | None]) -> Taken:
        """Read a source in one go, to run just what was read.

        Args:
            task: the task.
            record: what is remembered.
            offers: the digest that each upstream offers.

        Raises:
            SpecError: the source cannot be read.
        """
        text = self.text(task)
        source = parse_source(text, task.source) if task.kind == "notebook" else None
        inputs = self._inputs(task, text, source, None, None)
        before = {path: digest_product(self.root / path) for path in task.data.values()}
        return Taken(
            text=text,
            source=source,
            declared=self._declared(task, text, None),
            facts=Facts(
                inputs=msgspec.structs.replace(inputs, upstream=dict(offers)),
                products=self.products(task, record),
            ),
            before={path: state for path, state in before.items() if state is not None},
        )

    def code_files(self, task: Task, taken: Taken) -> list[Path]:
        """The files of the project that a run of a task imports, as far as reading tells."""
        files = dict.fromkeys(path.partition("::")[0] for path in taken.facts.inputs.modules)
        own = [self._path(task)] if task.kind == "function" else []
        return [self.root / path for path in (*own, *files)]

    def kernel(self, task: Task) -> str:
        """The kernel that runs a task: the spec's, else the source's, else that of its language.

        Raises:
            SpecError: the source cannot be read.
        """
        if task.kernel is not None:
            return task.kernel
        return kernel_of(parse_source(self.text(task), task.source))

    def strict_problems(self, task: Task) -> list[Problem]:
        """What a check that is strict finds in a task's notebook; nothing unless it asks for one.

        Raises:
            SpecError: the source cannot be read.
        """
        if task.kind != "notebook" or task.options.analysis != "strict":
            return []
        source = parse_source(self.text(task), task.source)
        return check_notebook(source, task.params, "strict")

    def _regular_problems(self, task: Task, source: Source) -> list[Problem]:
        regular = task.options.analysis == "regular"
        return check_notebook(source, task.params, "regular") if regular else []

    def notebook(
        self, task: Task, taken: Taken, upstream: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], tuple[int, ...], str]:
        """The notebook to execute, the script line of each cell, and the kernel.

        Raises:
            SpecError: a param cannot be written in the source's language, or a check of the code
                fails.
        """
        assert taken.source is not None
        kernel = task.kernel or kernel_of(taken.source)
        problems = self._regular_problems(task, taken.source)
        if problems:
            raise SpecError(problems)
        given = given_values(task, upstream)
        notebook, lines = to_notebook(
            taken.source,
            upstream=given.upstream,
            product=given.product,
            params=given.params,
            kernel=kernel,
            provenance={"task": task.name, "source": task.source},
        )
        return notebook, lines, kernel

    def diff(self, task: Task, record: Record | None) -> str:
        """Unified diff of the source since the last good run; "" where there is none."""
        if record is None or record.good is None:
            return ""
        now, then = self.text(task).splitlines(), record.good.text.splitlines()
        names = (f"{task.source} (last good run)", f"{task.source} (now)")
        return "".join(f"{line}\n" for line in difflib.unified_diff(then, now, *names, lineterm=""))

    def _path(self, task: Task) -> str:
        return module_file(self.root, task.source) if task.kind == "function" else task.source

    def _declared(self, task: Task, text: str, record: Record | None) -> Declared:
        good = record.good if record is not None else None
        same = good is not None and good.inputs.source == task.source
        extracts = self.spec.meta.extract_product
        knows = good is not None and not (extracts and good.declared.product is None)
        if good is not None and knows and same and good.inputs.text == text_digest(text):
            return good.declared
        if task.work is not None:
            return script_declared(text, task)
        if task.kind == "function":
            return function_declared(text, task.source, self._path(task))
        if not extracts:
            return declared(text, task.source)
        cells, language = quick_cells(text, task.source)
        product = declared_product(cells, task.source, language)
        return msgspec.structs.replace(declared(text, task.source), product=product)

    def _inputs(
        self,
        task: Task,
        text: str,
        source: Source | None,
        record: Record | None,
        follower: ImportFollower | None,
    ) -> Inputs:
        digest = text_digest(text)
        good = record.good if record is not None else None
        follower = follower or ImportFollower(self.root)
        modules = around_digests(self.root, task, follower)
        if not self.spec.meta.outdated_by_code:
            code = ""
        elif good is not None and (good.inputs.source, good.inputs.text) == (task.source, digest):
            code = good.inputs.code or code_of(task, text, source)
        else:
            code = code_of(task, text, source)
        if self.spec.meta.outdated_by_code:
            modules |= self._modules(task, text, source, follower)
        return msgspec.structs.replace(
            self._bare_inputs(task),
            text=digest,
            code=code,
            modules=modules,
            files={path: self._file(path) for path in task.files.values()},
        )

    def _file(self, path: str) -> str | None:
        state = digest_product(self.root / path)
        return None if state is None else state.digest

    def _bare_inputs(self, task: Task) -> Inputs:
        return Inputs(
            source=task.source,
            text="",
            code="",
            params=task.params,
            product=task.product,
            kernel=task.kernel or "",
            options=shaping(task),
        )

    def _modules(
        self, task: Task, text: str, source: Source | None, follower: ImportFollower
    ) -> dict[str, str | None]:
        if task.work is not None:
            return template_digests(self.root, task, text)
        if source is None:
            path = self._path(task)
            module = task.source.rpartition(".")[0]
            found = {
                **follower.digests(f"import {module}", ""),
                **follower.digests(text, path),
            }
            found.pop(path, None)
            return dict(found)
        if source.language != "python":
            return {}
        beside = (self.root / task.source).parent if task.options.beside_source else None
        return dict(follower.digests(source.cells, task.source, beside))


def _is_of(record: Record, task: Task) -> bool:
    good = record.good
    return (
        good is not None
        and good.inputs.source == task.source
        and good.inputs.product == task.product
    )
