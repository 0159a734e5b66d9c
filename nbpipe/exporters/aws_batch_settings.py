"""What the exporter for AWS Batch can be told."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import msgspec
import yaml

from nbpipe.core.model import Resources
from nbpipe.core.units import bytes_of
from nbpipe.errors import UsageError, did_you_mean
from nbpipe.exporters.aws_batch_limits import Platform
from nbpipe.exporters.base import ExportSettings, TaskDocument

T = TypeVar("T")

OURS = (
    "command",
    "environment",
    "executionRoleArn",
    "image",
    "jobRoleArn",
    "resourceRequirements",
)
"""Container properties that have a setting or follow from the task."""


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Resources as a setting gives them; None: as the task says.

    Attributes:
        cpu: vCPUs.
        gpu: devices.
        memory: bytes, or text such as ``16 GiB``.
    """

    cpu: float | None = None
    gpu: int | None = None
    memory: int | str | None = None


class BatchSettings(ExportSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the exporter for AWS Batch can be told, beside what all can.

    Attributes:
        queue: name or ARN of the job queue; None: it is named when the jobs are submitted.
        region: where the queue is, for submission; None: as AWS's own settings say.
        platform: what the queue's machines are.
        job_role: ARN of the role that the tasks have, such as to read the store; None: none.
        execution_role: ARN of the role that pulls the image and writes the logs; Fargate needs it.
        cpu: vCPUs of a task that does not say.
        memory: bytes of a task that does not say, or text such as ``2 GiB``.
        resources: wishes by wildcard of task names, which go before those of the tasks; where
            several match, the later goes before the earlier. A mapping, or one as YAML or JSON;
            "": none.
        container: further container properties under AWS's names, such as ``mountPoints``. A
            mapping, or one as YAML or JSON; "": none.
    """

    queue: str | None = None
    region: str | None = None
    platform: Platform = "EC2"
    job_role: str | None = None
    execution_role: str | None = None
    cpu: float = 1.0
    memory: int | str = "2 GiB"
    resources: dict[str, Wish] | str = ""
    container: dict[str, Any] | str = ""


def container_of(settings: BatchSettings) -> dict[str, Any]:
    """The further container properties.

    Raises:
        UsageError: they are no mapping, or one has a setting of its own.
    """
    found = _mapping("container", settings.container, dict[str, Any])
    for key in found:
        if key in OURS:
            raise UsageError(f"setting 'container': {key} is not given here", _HINTS.get(key))
    return found


_HINTS = {
    "environment": "--env NAME=VALUE",
    "executionRoleArn": "--set execution_role=ARN",
    "image": "--image IMAGE",
    "jobRoleArn": "--set job_role=ARN",
    "resourceRequirements": "--set resources='{fit-*: {cpu: 4, memory: 16 GiB}}'",
}


def wishes(tasks: Iterable[TaskDocument], settings: BatchSettings) -> dict[str, Resources]:
    """What each task asks for, with cores and memory given.

    Raises:
        UsageError: a wildcard means no task, or a size is none.
    """
    rules = _mapping("resources", settings.resources, dict[str, Wish])
    listed = list(tasks)
    names = [task.name for task in listed]
    for pattern in rules:
        if not any(fnmatchcase(name, pattern) for name in names):
            what = f"setting 'resources': no task '{pattern}'"
            raise UsageError(what, did_you_mean(pattern, names))
    return {task.name: _wish(task, rules, settings) for task in listed}


def _wish(task: TaskDocument, rules: dict[str, Wish], settings: BatchSettings) -> Resources:
    said = task.resources
    cpu, memory, gpu = said.get("cpu"), said.get("memory"), said.get("gpu")
    for pattern, rule in rules.items():
        if fnmatchcase(task.name, pattern):
            cpu = cpu if rule.cpu is None else rule.cpu
            gpu = gpu if rule.gpu is None else rule.gpu
            memory = memory if rule.memory is None else _bytes("resources", rule.memory)
    if memory is None:
        memory = _bytes("memory", settings.memory)
    cores = settings.cpu if cpu is None else cpu
    return Resources(cpu=cores, gpu=None if gpu is None else int(gpu), memory=int(memory))


def _bytes(setting: str, said: int | str) -> int:
    size = said if isinstance(said, int) else bytes_of(said)
    if not size or size < 0:
        raise UsageError(f"setting '{setting}': {said!r} is no size", "write bytes, or '16 GiB'")
    return size


def _mapping(setting: str, said: dict[str, Any] | str, kind: type[dict[str, T]]) -> dict[str, T]:
    try:
        value = yaml.safe_load(said) if isinstance(said, str) else said
        return msgspec.convert({} if said == "" else value, kind, strict=False)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        reason = str(error).splitlines()[0]
        hint = "write a mapping as YAML or JSON, such as {fit-*: {cpu: 4}}"
        raise UsageError(f"setting '{setting}' does not fit: {reason}", hint) from None
