"""What runs a task in Airflow: a shell on the worker, Docker, or a pod of Kubernetes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import msgspec

from nbpipe.exporters.airflow_settings import AirflowSettings, Preset
from nbpipe.exporters.base import TaskDocument, read_volumes
from nbpipe.exporters.pysource import Call, Code, source

IN_FOLDER = 'cd "$0" && exec "$@"'
"""A shell's command that runs another one, given after a folder, in that folder."""


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """An operator of Airflow.

    Attributes:
        name: of its class.
        imports: statements that bring the class.
        attempt: the same, for where its place depends on the version.
        rendered: the argument with the variables, in which Airflow's templates work.
        common: arguments of every task.
        own: arguments of one task, by the task and its command.
    """

    name: str
    imports: tuple[str, ...] = ()
    attempt: str = ""
    rendered: str
    common: dict[str, Any]
    own: Callable[[TaskDocument, list[str]], dict[str, Any]]


def operator(settings: AirflowSettings) -> Operator:
    """The operator of the preset.

    Raises:
        UsageError: a volume is none.
    """
    makers: dict[Preset, Callable[[AirflowSettings], Operator]] = {
        "bash": _bash,
        "docker": _docker,
        "kubernetes": _kubernetes,
    }
    return makers[settings.preset](settings)


def _bash(settings: AirflowSettings) -> Operator:
    told = settings.folder
    beside = told is None or not PurePosixPath(told).is_absolute()
    below = f" / {source(told)}" if told is not None else ""
    return Operator(
        name="BashOperator",
        attempt=(
            "try:\n"
            "    from airflow.providers.standard.operators.bash import BashOperator\n"
            "except ImportError:  # Airflow 2, which need not have that provider\n"
            "    from airflow.operators.bash import BashOperator"
        ),
        rendered="env",
        common={
            "cwd": Code(f"str(Path(__file__).resolve().parent{below})") if beside else told,
            "env": settings.environ,
            "append_env": True,
        },
        own=lambda task, command: {"bash_command": f"exec {shlex.join(command)}"},
    )


def _docker(settings: AirflowSettings) -> Operator:
    common: dict[str, Any] = {"image": settings.image, "environment": settings.environ}
    if settings.pass_env:
        names = source(list(settings.pass_env))
        passed = f"{{name: os.environ[name] for name in {names} if name in os.environ}}"
        common["private_environment"] = Code(passed)
    if settings.folder is not None:
        common["working_dir"] = settings.folder
    if settings.volumes:
        common["mounts"] = [_mount(*volume) for volume in read_volumes(settings.volumes)]
    first = len(settings.program)

    def own(task: TaskDocument, command: list[str]) -> dict[str, Any]:
        wish = task.resources
        found: dict[str, Any] = {"entrypoint": command[:first], "command": command[first:]}
        if wish["cpu"]:
            found["cpus"] = wish["cpu"]
        if wish["memory"]:
            found["mem_limit"] = int(wish["memory"])
        if wish["gpu"]:
            request = {"count": int(wish["gpu"]), "capabilities": [["gpu"]]}
            found["device_requests"] = [Call("types.DeviceRequest", request)]
        return found

    return Operator(
        name="DockerOperator",
        imports=("from airflow.providers.docker.operators.docker import DockerOperator",),
        rendered="environment",
        common={**common, "mount_tmp_dir": False, "auto_remove": "success"},
        own=own,
    )


def _mount(what: str, path: str) -> Call:
    kind = "bind" if what.startswith("/") else "volume"
    return Call("types.Mount", {"source": what, "target": path, "type": kind})


def _kubernetes(settings: AirflowSettings) -> Operator:
    common: dict[str, Any] = {"image": settings.image, "env_vars": settings.environ}
    if settings.secrets:
        common["env_from"] = [_secret(name) for name in settings.secrets]
    if settings.volumes:
        volumes = list(enumerate(read_volumes(settings.volumes)))
        common["volumes"] = [_claim(number, claim) for number, (claim, _) in volumes]
        common["volume_mounts"] = [_mounted(number, path) for number, (_, path) in volumes]
    first = len(settings.program)

    def own(task: TaskDocument, command: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {"cmds": command[:first], "arguments": command[first:]}
        if settings.folder is not None:
            shell = ["sh", "-c", IN_FOLDER, settings.folder]
            found = {"cmds": shell, "arguments": command}
        asked = _asked(task.resources)
        return {**found, "container_resources": asked} if asked is not None else found

    return Operator(
        name="KubernetesPodOperator",
        imports=(
            "from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator",
        ),
        rendered="env_vars",
        common=common,
        own=own,
    )


def _asked(wish: dict[str, float | None]) -> Call | None:
    """A pod's share: cores are what it gets at least, memory and devices what it gets at most."""
    memory = {"memory": f"{wish['memory']:.0f}"} if wish["memory"] else {}
    requests = {**({"cpu": f"{wish['cpu']:g}"} if wish["cpu"] else {}), **memory}
    limits = {**memory, **({"nvidia.com/gpu": f"{wish['gpu']:.0f}"} if wish["gpu"] else {})}
    said = {name: part for name, part in (("requests", requests), ("limits", limits)) if part}
    return Call("k8s.V1ResourceRequirements", said) if said else None


def _secret(name: str) -> Call:
    return Call(
        "k8s.V1EnvFromSource", {"secret_ref": Call("k8s.V1SecretEnvSource", {"name": name})}
    )


def _claim(number: int, claim: str) -> Call:
    kind = Call("k8s.V1PersistentVolumeClaimVolumeSource", {"claim_name": claim})
    return Call("k8s.V1Volume", {"name": f"volume-{number}", "persistent_volume_claim": kind})


def _mounted(number: int, path: str) -> Call:
    return Call("k8s.V1VolumeMount", {"name": f"volume-{number}", "mount_path": path})
