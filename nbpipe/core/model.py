"""The values that every floor shares. All are frozen; paths are relative to the root and POSIX.

"Root" is the folder of pipeline.yaml. Seconds are floats, sizes are bytes, times are seconds
since the epoch (UTC).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import msgspec

from nbpipe.core.options import NO_HOOKS, PLAIN, Call, HookCall, Hooks, NotebookOptions
from nbpipe.core.work import LINKS, PLAIN_FUNCTION, READS_FILE, Relation, ScriptWork, Serializing

State = Literal["new", "stale", "fresh", "queued", "running", "failed", "blocked"]
"""What a view can say of a task."""

STATES: tuple[State, ...] = get_args(State)

Kind = Literal["notebook", "function", "script"]
"""How a source runs: as a notebook, called as ``module.function``, or as its `ScriptWork` says."""

Product = str | dict[str, str] | None
"""One unnamed path, named paths, or nothing."""

NOTEBOOK_SUFFIXES = frozenset(
    {".ipynb", ".html", ".md", ".pdf", ".rst", ".tex", ".asciidoc", ".webpdf"}
)
"""A single unnamed product of a notebook task with one of these is the executed notebook."""


RESOURCES = "resources_"
"""The param that names files whose content counts as an input of the task."""


class Location(msgspec.Struct, frozen=True):
    """A place in a text file.

    Attributes:
        file: path as a reader would type it.
        line: 1-based; 0 when the whole file is meant.
        column: 1-based; 0 when the whole line is meant.
    """

    file: str
    line: int = 0
    column: int = 0


class Resources(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a task asks of the machine. None: no wish.

    Attributes:
        cpu: cores.
        gpu: devices.
        memory: bytes.
    """

    cpu: float | None = None
    gpu: int | None = None
    memory: int | None = None


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step: a source and the products that it promises.

    Attributes:
        name: unique in the pipeline.
        source: path of the script, or a dotted function.
        kind: how the source runs.
        product: declared products.
        params: JSON-like values given to the source.
        upstream: names (wildcards allowed) when the spec itself declares them; None: the
            source does.
        timeout: seconds for the whole task; None: no limit.
        retries: how often it is tried again after a failure.
        resources: what it asks of the machine.
        group: a label for views; None: none.
        kernel: name of the Jupyter kernel; None: what the source says, else ``python3``.
        hooks: functions that are called around its run.
        options: of a notebook.
        calls: the params that a function of the project gives, by name; until it has been
            called, ``params`` holds what the spec says of it.
        serializing: of a function: what stands between it and the disk.
        work: of a script: what runs it; None for the other kinds.
        relations: the tables and views among the products, by the paths of the notes for them.
        client: gives hooks a client of the task's database; None: it has none.
        at: where the spec declares it.
    """

    name: str
    source: str
    kind: Kind = "notebook"
    product: Product = None
    params: dict[str, Any] = {}
    upstream: tuple[str, ...] | None = None
    timeout: float | None = None
    retries: int = 0
    resources: Resources = Resources()
    group: str | None = None
    kernel: str | None = None
    hooks: Hooks = NO_HOOKS
    options: NotebookOptions = PLAIN
    calls: dict[str, Call] = {}
    serializing: Serializing = PLAIN_FUNCTION
    work: ScriptWork | None = None
    relations: dict[str, Relation] = {}
    client: Call | None = None
    at: Location | None = None

    @property
    def products(self) -> dict[str, str]:
        """Every product by its name; an unnamed one has the name ""."""
        if self.product is None:
            return {}
        return {"": self.product} if isinstance(self.product, str) else self.product

    @property
    def notebook(self) -> str | None:
        """Path of the executed notebook among the products; None: it is not a product."""
        return next(iter(self.notebooks.values()), None)

    @property
    def notebooks(self) -> dict[str, str]:
        """The products that are the executed notebook, each in its own format, by their names."""
        if self.kind != "notebook" or self.product is None:
            return {}
        if isinstance(self.product, str):
            suffix = self.product[self.product.rfind(".") :] if "." in self.product else ""
            known = suffix.lower() in NOTEBOOK_SUFFIXES or "" in self.options.exporters
            return {"": self.product} if known and self.options.keys else {}
        return {key: self.product[key] for key in self.options.keys if key in self.product}

    @property
    def data(self) -> dict[str, str]:
        """The products that consumers read: all but the executed notebook."""
        notebooks = self.notebooks
        return {key: path for key, path in self.products.items() if key not in notebooks}

    @property
    def files(self) -> dict[str, str]:
        """Files that the task reads, by their names.

        They are those that its params name as ``resources_``, and a source that is no code.
        """
        found = self.params.get(RESOURCES)
        files = found if isinstance(found, dict) else {}
        if self.work is not None and self.work.tool in READS_FILE:
            return {**files, "": self.source}
        return files

    def given(self, place: Callable[[str], str] = str) -> Product:
        """The products as sources are told of them: of a relation its name in SQL.

        Args:
            place: turns a path relative to the root into the path that is wanted.
        """
        known = self.relations
        told = {k: known[p].text if p in known else place(p) for k, p in self.products.items()}
        return told.get("") if not isinstance(self.product, dict) else told

    def shown(self, path: str) -> str:
        """A product as a reader knows it: its path, or of a table or view its name."""
        relation = self.relations.get(path)
        return path if relation is None else f"{relation.kind} {relation.text}"

    @property
    def is_link(self) -> bool:
        """Whether its products are files that others make."""
        return self.work is not None and self.work.tool in LINKS

    @property
    def is_input(self) -> bool:
        """Whether its products count as new in every build."""
        return self.work is not None and self.work.tool == "input"


KernelStart = Literal["fork", "pool", "cold"]
"""How a kernel starts: forked from a process that has it ready, started ahead, or anew."""

KERNEL_STARTS: tuple[KernelStart, ...] = get_args(KernelStart)


class Kernels(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the kernels of notebooks start.

    Attributes:
        start: ``fork``, ``pool`` or ``cold``; None: the fastest way that the system has.
        preload: modules that every kernel finds imported; None: those that several notebooks
            import before they do anything else.
    """

    start: KernelStart | None = None
    preload: tuple[str, ...] | None = None


class Meta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The spec's ``meta`` section.

    Attributes:
        extract_upstream: True: sources declare ``upstream``; False: the spec's tasks do.
        product_relative_to_source: True: product paths are relative to their source's folder.
        jupyter_hot_reload: True: an open notebook follows edits of the spec.
        jupyter_functions_as_notebooks: True: a module that is opened as a notebook shows each
            function of a task with what it is given.
        extract_product: True: sources declare ``product``; False: the spec's tasks do.
        outdated_by_code: False: a change of code makes no task stale.
        store: address of the store in which results are shared; None: they are not.
        compat: the package whose imports nbpipe answers in the processes of tasks; None: none.
    """

    extract_upstream: bool = True
    product_relative_to_source: bool = False
    jupyter_hot_reload: bool = True
    jupyter_functions_as_notebooks: bool = False
    extract_product: bool = False
    outdated_by_code: bool = True
    kernels: Kernels = Kernels()
    store: str | None = None
    compat: str | None = None


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """A whole pipeline.yaml.

    Attributes:
        tasks: in the order of the file.
        meta: settings of the whole pipeline.
        file: name of the spec file in the root folder.
        hooks: functions that are called around a build.
        jobs: how many tasks run at once unless the caller says; None: as many as there are cores.
    """

    tasks: tuple[Task, ...]
    meta: Meta = Meta()
    file: str = "pipeline.yaml"
    hooks: Hooks = NO_HOOKS
    jobs: int | None = None

    @property
    def calls(self) -> bool:
        """Whether functions of the project give values to it."""
        return any(task.calls for task in self.tasks)


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What a source itself says, read without running it.

    Attributes:
        upstream: names and wildcards in their order; empty when it declares none.
        at: where each name of ``upstream`` stands (same length).
        problem: why it could not be read whole (a syntax error), with script and line;
            None: it could.
        warnings: what is doubtful, one sentence each.
        product: what it says of its products, where it is asked; None: nothing.
        relations: those of them that are tables or views, by the paths of the notes for them.
    """

    upstream: tuple[str, ...] = ()
    at: tuple[Location, ...] = ()
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    product: Product = None
    relations: dict[str, Relation] = {}


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a source.

    Attributes:
        kind: ``code``, ``markdown`` or ``raw``.
        text: without the format's own markers.
        line: 1-based line of the script where ``text`` starts; 0: not in the script.
        tags: as in the cell's metadata.
    """

    kind: Literal["code", "markdown", "raw"]
    text: str
    line: int = 0
    tags: tuple[str, ...] = ()


class FileState(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder as it was when its digest was taken.

    Attributes:
        digest: SHA-256, hexadecimal; of a folder: over its sorted relative paths and digests.
        size: bytes; of a folder: the sum of its files.
        mtime_ns: modification time, nanoseconds; of a folder: the latest.
        ctime_ns: change time, nanoseconds; of a folder: the latest.
        inode: inode number; of a folder: a digest over all of its files' signatures.
        seen_ns: wall clock when the signature was read, nanoseconds.
    """

    digest: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    seen_ns: int


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides the result of a task. Two equal values promise equal products.

    Attributes:
        source: as the spec says.
        text: digest of the source's raw text.
        code: digest of its code alone (no comments, formatting, markdown).
        modules: digest of every project-local module that it imports, by path; None: it was
            edited while the task ran, so nobody knows what was read.
        params: the values themselves, JSON-like.
        product: as declared.
        kernel: name of the kernel; "" for a function.
        upstream: digest of what each upstream task offers; None: not known, or edited during
            the run.
        files: digest of each file that ``resources_`` names, by path; None: it is not there, or
            was edited while the task ran.
        options: what else the spec says that shapes the products, JSON-like.
    """

    source: str
    text: str
    code: str
    modules: dict[str, str | None] = {}
    params: dict[str, Any] = {}
    product: Product = None
    kernel: str = ""
    upstream: dict[str, str | None] = {}
    files: dict[str, str | None] = {}
    options: dict[str, Any] = {}


class Good(msgspec.Struct, frozen=True, kw_only=True):
    """A run that succeeded.

    Attributes:
        inputs: what it consumed.
        products: the state of every product, by path.
        output: digest that consumers see.
        text: the source's raw text.
        declared: what that text declares, so that an unchanged script is not parsed again.
        started: seconds since the epoch, UTC.
        seconds: duration.
        run: id of the run.
        versions: of Python and nbpipe.
    """

    inputs: Inputs
    products: dict[str, FileState]
    output: str
    text: str
    declared: Declared
    started: float
    seconds: float
    run: str
    versions: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """All that is remembered of one task.

    Attributes:
        task: its name.
        state: of the latest try: begun, succeeded or failed.
        run: id of the latest run.
        started: start of the latest try, seconds since the epoch, UTC.
        good: the last run that succeeded; None: none ever did.
        error: why the latest try failed; None unless ``state`` is ``failed``.
        durations: seconds of the latest successful runs, newest last, 20 at most.
    """

    task: str
    state: Literal["started", "done", "failed"]
    run: str
    started: float
    good: Good | None = None
    error: str | None = None
    durations: tuple[float, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of a task today, gathered from the disk.

    Attributes:
        inputs: what a run would consume; its ``upstream`` is left empty, the plan fills it.
        products: digest of every declared product by path; None: it does not exist.
        problem: why the source cannot be read; None: it can.
    """

    inputs: Inputs
    products: dict[str, str | None]
    problem: str | None = None


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """One difference between a record and today.

    Attributes:
        code: what kind, such as ``source``, ``module``, ``param``, ``product-missing``.
        text: one sentence for a reader, without a full stop.
        old: the recorded value, where one can be shown.
        new: today's value, where one can be shown.
    """

    code: str
    text: str
    old: str | None = None
    new: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a task runs, and why.

    Attributes:
        task: its name.
        action: ``run``, ``skip``, or ``maybe``: runs only if an upstream that will run
            offers other bytes than before.
        state: what views show before the build.
        reasons: why it is not fresh; of a ``maybe``, the upstreams that it waits for.
        notes: what changed without making it stale, such as a cosmetic edit.
    """

    task: str
    action: Literal["run", "skip", "maybe"]
    state: State
    reasons: tuple[Reason, ...] = ()
    notes: tuple[Reason, ...] = ()


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a task failed.

    Attributes:
        error: name of the exception, or what befell the kernel, such as ``ValueError``,
            ``KernelDied``, ``Timeout``, ``ProductMissing``.
        message: one or a few lines.
        cell: 1-based index of the failing cell in the executed notebook; None: no cell.
        file: the script.
        line: 1-based line of the script; None: not known.
        excerpt: the failing lines of the script with their numbers, the failing one marked.
        traceback: as plain text, without colours; long ones are cut in the middle.
        hint: what to do.
        notebook: the failed notebook, relative to the root; None: there is none.
    """

    error: str
    message: str
    cell: int | None = None
    file: str | None = None
    line: int | None = None
    excerpt: str = ""
    traceback: str = ""
    hint: str | None = None
    notebook: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """All that an executor needs to run a task once: plain data.

    Attributes:
        task: its name.
        kind: how it runs.
        source: path of the script relative to the root, or the dotted function.
        root: absolute folder of pipeline.yaml; the task runs with it as working directory.
        folder: absolute folder of this run, which exists; the partial and the failed notebook
            and logs go there.
        stem: a safe file name (without suffix) for this task's files in ``folder``.
        product: value given to the source as ``product``, paths relative to the root.
        upstream: value given to the source as ``upstream``; None: it has none.
        params: values given to the source.
        notebook: the notebook to execute (nbformat 4 JSON), injected cell included; None for
            a function.
        lines: for each cell of ``notebook`` the 1-based line of the script where its text
            starts; 0: not in the script.
        kernel: name of the Jupyter kernel; "" for a function.
        result: path of the executed notebook among the products, relative to the root; its
            suffix tells the format; None: it is no product.
        results: every such path, with the name of nbconvert's exporter ("": its suffix tells);
            empty: ``result`` alone.
        exporter_options: given to nbconvert's exporter.
        cwd: absolute folder in which a notebook runs; "": the root.
        hooks: what is called in the place of ``source``; empty: nothing is.
        serializing: what stands between a function and the disk.
        work: of a script: what runs it.
        relations: the tables and views among the products.
        text: of a script: its source's text.
        timeout: seconds for the whole task; None: no limit.
        attempt: 1 for the first try.
        environ: environment variables to add for the task's process.
        resources: what the task asks of the machine.
        command: for an executor that sends whole tasks off: the arguments of ``nbpipe`` that run
            this task, in the folder ``root``; empty for the others.
    """

    task: str
    kind: Kind
    source: str
    root: str
    folder: str
    stem: str
    product: Product = None
    upstream: dict[str, Any] | None = None
    params: dict[str, Any] = {}
    notebook: dict[str, Any] | None = None
    lines: tuple[int, ...] = ()
    kernel: str = ""
    result: str | None = None
    results: dict[str, str] = {}
    exporter_options: dict[str, Any] = {}
    cwd: str = ""
    hooks: tuple[HookCall, ...] = ()
    serializing: Serializing = PLAIN_FUNCTION
    work: ScriptWork | None = None
    relations: tuple[Relation, ...] = ()
    text: str = ""
    timeout: float | None = None
    attempt: int = 1
    environ: dict[str, str] = {}
    resources: Resources = Resources()
    command: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a job.

    Attributes:
        failure: why it failed; None: it succeeded.
        notebook: absolute path, in the job's folder, of the executed notebook in the format
            of ``Job.result`` (``.ipynb`` where that is None); None for a function.
        notebooks: absolute path, in the job's folder, for each of ``Job.results``.
        versions: of what ran it, such as ``{"kernel": "ipykernel 7.4"}``.
    """

    failure: Failure | None = None
    notebook: str | None = None
    notebooks: dict[str, str] = {}
    versions: dict[str, str] = {}
