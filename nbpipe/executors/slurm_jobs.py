"""What SLURM is told and what it tells: options, scripts, arrays, states. Nothing here calls it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from nbpipe.core.model import Job
from nbpipe.executors.sentoff import Ending, command

GRACE = 60.0
"""Seconds that SLURM leaves a task beyond its own timeout, of which nbpipe tells more."""

MOST = 1000
"""Tasks in one array: SLURM's own limit, unless a site has changed it."""

_GOING_ON = frozenset(
    {
        *("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"),
        *("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"),
        *("COMPLETING", "STAGE_OUT"),
    }
)

UPSTREAM_FAILED = "DependencyNeverSatisfied"
"""SLURM's reason for ending a job that has not begun: one that it waited for did not end well."""

FIELDS = ("JobArrayID", "State", "exit_code", "Reason")
"""What ``squeue`` is asked for; a bar ends each."""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster wants to be told with every job.

    Attributes:
        partition: None: the cluster's own, or that of ``SBATCH_PARTITION``; so with the others.
        account: to which the time is charged.
        time: limit of a task that has no ``timeout``, as ``sbatch`` reads it.
        options: any others of ``sbatch``.
        setup: a line of shell before the task, such as ``module load python``.
        python: an interpreter on the nodes that has nbpipe.
    """

    partition: str | None = None
    account: str | None = None
    time: str | None = None
    options: tuple[str, ...] = ()
    setup: str = ""
    python: str


class State(msgspec.Struct, frozen=True):
    """What SLURM says of a job.

    Attributes:
        name: of the state, such as ``RUNNING``.
        status: as of ``wait``: an exit code times 256, or a signal.
        reason: why it waits or has ended.
    """

    name: str
    status: int
    reason: str

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self.name not in _GOING_ON

    @property
    def code(self) -> int:
        """Exit code of its script, negative for a signal."""
        return -(self.status & 127) if self.status & 127 else self.status >> 8


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A job that can be handed over.

    Attributes:
        job: what runs.
        after: ids of the SLURM jobs that must have ended well before.
    """

    job: Job
    after: tuple[str, ...] = ()


def sbatch(ready: Sequence[Ready], site: Site) -> list[str]:
    """The command that hands jobs over; several become an array. They differ in the task alone."""
    first = ready[0]
    words = ["sbatch", "--parsable", f"--chdir={first.job.root}", *_named(ready)]
    if first.after:
        words += [f"--dependency=afterok:{':'.join(first.after)}", "--kill-on-invalid-dep=yes"]
    return [*words, *_wishes(first.job, site), *site.options]


def _named(ready: Sequence[Ready]) -> list[str]:
    job = ready[0].job
    if len(ready) == 1:
        return [f"--job-name={job.task}", f"--output={_literal(log_of(job))}"]
    output = Path(_literal(Path(job.folder))) / "slurm-%A_%a.log"
    return [f"--job-name={job.source}", f"--array=0-{len(ready) - 1}", f"--output={output}"]


def _wishes(job: Job, site: Site) -> list[str]:
    asks = job.resources
    words = [f"--cpus-per-task={max(1, math.ceil(asks.cpu))}"] if asks.cpu is not None else []
    words += [f"--mem={math.ceil(asks.memory / 2**20)}M"] if asks.memory else []
    words += [f"--gres=gpu:{asks.gpu}"] if asks.gpu else []
    words += [f"--partition={site.partition}"] if site.partition else []
    words += [f"--account={site.account}"] if site.account else []
    limit = str(math.ceil((job.timeout + GRACE) / 60)) if job.timeout else site.time
    return [*words, f"--time={limit}"] if limit else words


def _literal(path: Path) -> str:
    """A path as ``--output`` wants it, where a percent sign begins a pattern."""
    return str(path).replace("%", "%%")


def script(ready: Sequence[Ready], site: Site) -> str:
    """What a node runs. The task takes the shell's place, so that signals reach it."""
    first = ready[0].job
    lines = ["#!/bin/sh", f"cd {shlex.quote(first.root)} || exit 2", site.setup]
    # The store's address stays out of the script: it comes with the environment.
    lines += [f"export {k}={shlex.quote(v)}" for k, v in first.environ.items() if "STORE" not in k]
    if len(ready) == 1:
        lines.append(f"exec {_line(first, site)}")
    else:
        lines.append("case $SLURM_ARRAY_TASK_ID in")
        lines += [f"{n}) exec {_line(one.job, site)} ;;" for n, one in enumerate(ready)]
        lines.append("esac")
    return "\n".join(line for line in lines if line) + "\n"


def _line(job: Job, site: Site) -> str:
    return shlex.join(command(job, "--events", str(events_of(job)), python=site.python))


def log_of(job: Job) -> Path:
    """Where what a job prints goes."""
    return Path(job.folder) / f"{_tried(job)}.log"


def events_of(job: Job) -> Path:
    """Where a job tells what happens."""
    return Path(job.folder) / f"{_tried(job)}.events.jsonl"


def _tried(job: Job) -> str:
    return job.stem if job.attempt == 1 else f"{job.stem}-{job.attempt}"


def arrays(ready: Iterable[Ready]) -> list[list[Ready]]:
    """Jobs that can be handed over as one: same source, wishes, time limit and upstreams.

    The parts of a grid are. What comes after them waits for each by its own number.
    """
    groups: dict[object, list[Ready]] = {}
    for one in ready:
        job = one.job
        groups.setdefault((job.source, job.resources, job.timeout, one.after), []).append(one)
    found = groups.values()
    return [group[n : n + MOST] for group in found for n in range(0, len(group), MOST)]


def read_states(text: str) -> Mapping[str, State]:
    """What ``squeue`` says of each job, by its id."""
    found = {}
    for line in text.splitlines():
        *parts, _ = line.split("|")
        if len(parts) == len(FIELDS):
            name, state, status, reason = (part.strip() for part in parts)
            found[name] = State(state, int(status) if status.isdecimal() else 0, reason)
    return found


ENDS = {
    "TIMEOUT": "SLURM's time limit was reached",
    "OUT_OF_MEMORY": "it took more memory than it had asked for",
    "CANCELLED": "it was cancelled",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not come up",
    "DEADLINE": "its deadline passed",
    "PREEMPTED": "it had to make room for another job",
}
"""Ends that are not the task's own."""


def not_by_itself(state: State, ending: Ending) -> str | None:
    """Why SLURM ended a job; None: the job ended by itself."""
    if ending.failure is not None or state.name not in ENDS:
        return None
    return ENDS[state.name]
