"""What AWS Batch allows: names, sizes, and the shapes of its machines.

The figures are those of the Batch API reference (``RegisterJobDefinition``, ``SubmitJob``) and of
the service quotas in the Batch user guide.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from nbpipe.core.model import Resources
from nbpipe.errors import UsageError

Platform = Literal["EC2", "FARGATE"]

LONGEST_NAME = 128
"""Characters of the name of a job or of a job definition."""

MOST_UPSTREAM = 20
"""Jobs that a job can wait for."""

MOST_ATTEMPTS = 10
"""Tries of a job."""

SHORTEST_TIMEOUT = 60
"""Seconds."""

LARGEST_DEFINITION = 24 * 1024
"""Bytes of a job definition."""

LONGEST_IMAGE = 255
"""Characters."""

SMALLEST_MEMORY = 4
"""MiB of a job on EC2."""

RESERVED = "AWS_BATCH"
"""No variable's name may begin so."""

MIB = 2**20

_GIB = 1024

FARGATE: dict[float, tuple[int, ...]] = {
    0.25: (512, 1 * _GIB, 2 * _GIB),
    0.5: tuple(range(1 * _GIB, 5 * _GIB, _GIB)),
    1: tuple(range(2 * _GIB, 9 * _GIB, _GIB)),
    2: tuple(range(4 * _GIB, 17 * _GIB, _GIB)),
    4: tuple(range(8 * _GIB, 31 * _GIB, _GIB)),
    8: tuple(range(16 * _GIB, 61 * _GIB, 4 * _GIB)),
    16: tuple(range(32 * _GIB, 121 * _GIB, 8 * _GIB)),
    32: (60 * _GIB, 120 * _GIB, 244 * _GIB),
}
"""MiB that a job on Fargate can have, by its vCPUs."""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a job reserves.

    Attributes:
        cpu: vCPUs.
        memory: MiB.
        gpu: devices.
    """

    cpu: float
    memory: int
    gpu: int = 0

    def requirements(self) -> list[dict[str, str]]:
        """As ``resourceRequirements`` of a job definition."""
        said = [("VCPU", f"{self.cpu:g}"), ("MEMORY", str(self.memory))]
        said += [("GPU", str(self.gpu))] if self.gpu else []
        return [{"type": kind, "value": value} for kind, value in said]


JOIN_NEEDS: dict[Platform, Needs] = {
    "EC2": Needs(cpu=1, memory=512),
    "FARGATE": Needs(cpu=0.25, memory=512),
}
"""What a job reserves that only waits for others."""


def needs(wish: Resources, platform: Platform, task: str) -> Needs:
    """What a task reserves: the least that the platform has and that holds its wish.

    Args:
        wish: of the task; ``cpu`` and ``memory`` are given.
        platform: where it runs.
        task: its name, for errors.

    Raises:
        UsageError: the platform has nothing like it.
    """
    cpu, memory = wish.cpu or 1.0, math.ceil((wish.memory or 0) / MIB)
    if platform == "EC2":
        return Needs(
            cpu=max(1, math.ceil(cpu)), memory=max(SMALLEST_MEMORY, memory), gpu=wish.gpu or 0
        )
    if wish.gpu:
        raise UsageError(f"task '{task}' asks for a GPU: Fargate has none", "--set platform=EC2")
    for has, sizes in FARGATE.items():
        fitting = [size for size in sizes if size >= memory]
        if has >= cpu and fitting:
            return Needs(cpu=has, memory=fitting[0])
    asked = f"{cpu:g} vCPUs and {memory} MiB"
    raise UsageError(f"task '{task}' asks for {asked}: Fargate has no such", "--set platform=EC2")


def batch_name(text: str, *, room: int = 0) -> str:
    """A text as a name that Batch takes; other texts may give the same.

    Args:
        text: any.
        room: characters to leave free.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", text).lstrip("-_")
    return plain[: LONGEST_NAME - room] or "unnamed"


def attempts(retries: int, task: str) -> int:
    """How often a task is tried.

    Raises:
        UsageError: more often than Batch tries.
    """
    if retries + 1 > MOST_ATTEMPTS:
        hint = f"give it 'retries: {MOST_ATTEMPTS - 1}' at most"
        raise UsageError(f"task '{task}': AWS Batch tries a job {MOST_ATTEMPTS} times", hint)
    return retries + 1


def check_image(image: str) -> None:
    """Make sure that Batch takes an image's name.

    Raises:
        UsageError: it does not.
    """
    if len(image) > LONGEST_IMAGE or not re.fullmatch(r"[A-Za-z0-9@_:./#-]+", image):
        raise UsageError(
            f"image '{image}': not a name that AWS Batch takes", "--image repo/name:tag"
        )


def check_environ(environ: Mapping[str, str]) -> None:
    """Make sure that Batch takes these variables.

    Raises:
        UsageError: one has a name that Batch keeps for itself.
    """
    for name in environ:
        if name.startswith(RESERVED):
            raise UsageError(f"variable '{name}': AWS Batch reserves names with {RESERVED}")


def check_size(definition: Mapping[str, Any]) -> None:
    """Make sure that a definition is not too large.

    Raises:
        UsageError: it is.
    """
    size = len(msgspec.json.encode(definition))
    if size > LARGEST_DEFINITION:
        what = f"a job definition would have {size} bytes: AWS Batch takes {LARGEST_DEFINITION}"
        raise UsageError(what, "give the tasks fewer or shorter variables")
