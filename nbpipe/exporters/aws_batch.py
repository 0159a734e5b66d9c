"""AWS Batch: job definitions and jobs that wait for each other.

Tasks that need the same share a job definition, whose command has the task's name as a parameter.
A definition is named by what is in it, so a changed one never takes the place of one that jobs in
the queue still use. A job can wait for 20 others: where a task has more upstreams, jobs that do
nothing stand between.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from nbpipe.errors import UsageError
from nbpipe.exporters import aws_batch_limits as limits
from nbpipe.exporters.aws_batch_settings import BatchSettings, container_of, wishes
from nbpipe.exporters.base import ExportSettings, GraphDocument, TaskDocument, task_command

TASK = "task"
"""The parameter that names the task."""

GRACE = 60
"""Seconds that Batch gives a task beyond its timeout, so that it can say itself where it was."""

JOIN = "join"
"""What jobs that only wait are called."""

JOIN_TRIES = 3
"""Of a job that only waits: it can fail only with its machine."""

BAD_USAGE = {"onExitCode": "2", "action": "EXIT"}
"""A mistake in the pipeline is not mended by another try."""


class BatchJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is submitted.

    Attributes:
        name: unique among the jobs of the pipeline.
        definition: name of its job definition.
        task: what it runs; None: nothing, it joins others.
        after: names of the jobs that must have succeeded before.
    """

    name: str
    definition: str
    task: str | None
    after: tuple[str, ...]

    @property
    def parameters(self) -> dict[str, str]:
        """What stands for the placeholders in the command of the definition."""
        return {} if self.task is None else {TASK: self.task}


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline as AWS Batch takes it.

    Attributes:
        definitions: requests of ``RegisterJobDefinition`` by name.
        jobs: in an order in which they can be submitted.
    """

    definitions: dict[str, dict[str, Any]]
    jobs: tuple[BatchJob, ...]


class BatchExporter:
    """Writes ``job-definitions/NAME.json`` for each definition, and ``jobs.json``."""

    settings: type[ExportSettings] = BatchSettings

    def export(self, document: GraphDocument, settings: BatchSettings) -> dict[str, str]:
        """The files' texts by their paths.

        Raises:
            UsageError: AWS Batch does not take it.
        """
        found = workload(document, settings)
        queue = {} if settings.queue is None else {"jobQueue": settings.queue}
        jobs = [
            {
                "jobName": job.name,
                **queue,
                "jobDefinition": job.definition,
                "parameters": job.parameters,
                "dependsOn": list(job.after),
            }
            for job in found.jobs
        ]
        texts = {f"job-definitions/{n}.json": _text(d) for n, d in found.definitions.items()}
        return {**texts, "jobs.json": _text(jobs)}


def workload(document: GraphDocument, settings: BatchSettings) -> Workload:
    """The definitions and jobs of a pipeline.

    Raises:
        UsageError: AWS Batch does not take it, or what a task needs is not named.
    """
    base = _container(document, settings)
    asked = wishes(document.tasks, settings)
    command = task_command(document, f"Ref::{TASK}", settings)
    definitions: dict[str, dict[str, Any]] = {}
    named: dict[str, str] = {}
    for task in document.tasks:
        needs = limits.needs(asked[task.name], settings.platform, task.name)
        tries = limits.attempts(task.retries, task.name)
        body = _definition(base, command, needs, tries, settings, task.timeout)
        named[task.name] = _add(definitions, document.name, body)
    jobs, has_joins = _jobs(document, named)
    if has_joins:
        needs = limits.JOIN_NEEDS[settings.platform]
        body = _definition(base, [*settings.program, "--version"], needs, JOIN_TRIES, settings)
        name = _add(definitions, document.name, body)
        jobs = [job if job.task else msgspec.structs.replace(job, definition=name) for job in jobs]
    return Workload(definitions=definitions, jobs=tuple(jobs))


# -- definitions -------------------------------------------------------------------------------


def _container(document: GraphDocument, settings: BatchSettings) -> dict[str, Any]:
    """The container properties that all tasks have in common."""
    if settings.image is None:
        raise UsageError("AWS Batch runs containers: name an image that has the project", "--image")
    limits.check_image(settings.image)
    limits.check_environ(settings.environ)
    if settings.platform == "FARGATE" and settings.execution_role is None:
        hint = "--set execution_role=ARN"
        raise UsageError("Fargate needs a role that pulls the image and writes the logs", hint)
    more = container_of(settings)
    store = settings.store if settings.store is not None else document.store
    if not (store and "://" in store) and "mountPoints" not in more:
        what = f"the folder {store} is not seen" if store else "nothing is shared"
        hint = "--store s3://bucket/folder, or mountPoints in --set container=…"
        raise UsageError(f"{what} by jobs on AWS Batch, each in a container of its own", hint)
    roles = {"jobRoleArn": settings.job_role, "executionRoleArn": settings.execution_role}
    variables = [{"name": n, "value": v} for n, v in sorted(settings.environ.items())]
    return {
        "image": settings.image,
        "environment": variables,
        **{key: role for key, role in roles.items() if role is not None},
        **more,
    }


def _definition(
    base: Mapping[str, Any],
    command: list[str],
    needs: limits.Needs,
    tries: int,
    settings: BatchSettings,
    timeout: float | None = None,
) -> dict[str, Any]:
    """A request of ``RegisterJobDefinition``, without the name."""
    retry: dict[str, Any] = {"attempts": tries}
    if tries > 1:
        retry["evaluateOnExit"] = [BAD_USAGE]
    body = {
        "type": "container",
        "platformCapabilities": [settings.platform],
        "containerProperties": {
            **base,
            "command": command,
            "resourceRequirements": needs.requirements(),
        },
        "retryStrategy": retry,
    }
    if timeout is not None:
        seconds = max(limits.SHORTEST_TIMEOUT, math.ceil(timeout) + GRACE)
        body["timeout"] = {"attemptDurationSeconds": seconds}
    return body


def _add(definitions: dict[str, dict[str, Any]], pipeline: str, body: dict[str, Any]) -> str:
    """Put a definition to the others under a name that tells its content; returns the name."""
    digest = hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest()[:12]
    name = f"{_prefix(pipeline)}-{digest}"
    definitions[name] = {"jobDefinitionName": name, **body}
    limits.check_size(definitions[name])
    return name


# -- jobs --------------------------------------------------------------------------------------


def _jobs(document: GraphDocument, definitions: Mapping[str, str]) -> tuple[list[BatchJob], bool]:
    """The jobs, and whether some of them only join others; those have no definition yet."""
    names = _job_names(document.name, document.tasks)
    joins = _Joins(document.name, set(names.values()))
    jobs = []
    for task in document.tasks:
        after, made = joins.reduce(names[up] for up in task.upstream)
        job = BatchJob(
            name=names[task.name],
            definition=definitions[task.name],
            task=task.name,
            after=after,
        )
        jobs += [*made, job]
    return jobs, any(job.task is None for job in jobs)


def _job_names(pipeline: str, tasks: Iterable[TaskDocument]) -> dict[str, str]:
    """The name of each task's job."""
    found: dict[str, str] = {}
    takers: dict[str, str] = {}
    for task in tasks:
        name = limits.batch_name(f"{_prefix(pipeline)}-{task.name}")
        other = takers.setdefault(name, task.name)
        if other != task.name:
            what = f"tasks '{other}' and '{task.name}' would both be the job '{name}'"
            hint = "names of jobs have letters, digits, - and _, 128 at most: rename one"
            raise UsageError(what, hint)
        found[task.name] = name
    return found


class _Joins:
    """Jobs that wait for up to 20 others each, shared by the tasks that need the same ones."""

    def __init__(self, pipeline: str, taken: set[str]) -> None:
        self._pipeline = pipeline
        self._taken = taken
        self._known: dict[tuple[str, ...], str] = {}

    def reduce(self, names: Iterable[str]) -> tuple[tuple[str, ...], list[BatchJob]]:
        """At most 20 jobs that stand for all of ``names``, and the new jobs among them."""
        waiting, made = list(names), []
        while len(waiting) > limits.MOST_UPSTREAM:
            group = tuple(waiting[: limits.MOST_UPSTREAM])
            if group not in self._known:
                self._known[group] = self._new_name()
                made.append(
                    BatchJob(name=self._known[group], definition="", task=None, after=group)
                )
            # At the end: so no job is joined again before all have been joined once.
            waiting = [*waiting[limits.MOST_UPSTREAM :], self._known[group]]
        return tuple(waiting), made

    def _new_name(self) -> str:
        number = len(self._known) + 1
        while (name := f"{_prefix(self._pipeline)}-{JOIN}-{number}") in self._taken:
            number += 1
        self._taken.add(name)
        return name


def _prefix(pipeline: str) -> str:
    """What names begin with; leaves half of the room to what follows."""
    return limits.batch_name(pipeline, room=limits.LONGEST_NAME // 2)


def _text(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
