"""Walks a WorkflowTemplate as Argo would, each task as a pod of podman's: no cluster is needed.

``python -m tests.argo_walk`` prints what a task costs so, beside a local build.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from tests import engines
from tests.cli import nbpipe
from tests.podman_rig import USER, Podman

CLAIM = "results"
STORE = "/store"


@dataclass(frozen=True)
class Ended:
    """How a pod has ended: the exit code of its task, and what it has printed."""

    task: str
    code: int
    log: str


class Workflow:
    """A workflow that is started from a WorkflowTemplate's file.

    Args:
        file: the template.
        values: of its parameters, where they are not the default ones.
    """

    def __init__(self, file: Path, values: dict[str, str] | None = None) -> None:
        self.spec = yaml.safe_load(file.read_text())["spec"]
        said = self.spec["arguments"]["parameters"]
        self._values = {p["name"]: p["value"] for p in said} | (values or {})
        self._templates = {template["name"]: template for template in self.spec["templates"]}
        nodes = self._templates[self.spec["entrypoint"]]["dag"]["tasks"]
        self._nodes = {node["name"]: node for node in nodes}

    def run(self, podman: Podman) -> list[Ended]:
        """Every task after those that it depends on, and again where its template says so.

        What depends on a task that has failed is not run.
        """
        ended: list[Ended] = []
        good: set[str] = set()
        above = {name: node.get("dependencies", []) for name, node in self._nodes.items()}
        for name in TopologicalSorter(above).static_order():
            if set(above[name]) <= good:
                tries = list(self._tries(name, podman))
                ended += tries
                good |= {name} if tries[-1].code == 0 else set()
        return ended

    def _tries(self, name: str, podman: Podman) -> Iterator[Ended]:
        template = self._templates[self._nodes[name]["template"]]
        for _ in range(template.get("retryStrategy", {}).get("limit", 0) + 1):
            end = play(podman, self.pod(name))
            yield end
            if end.code == 0:
                return

    def pod(self, name: str) -> dict[str, Any]:
        """What Argo's controller would ask Kubernetes for."""
        template = self._templates[self._nodes[name]["template"]]
        above = {key: self.spec[key] for key in ("volumes", "securityContext") if key in self.spec}
        containers = [{**template["container"], "name": "main"}]
        more = {"restartPolicy": "Never", "hostNetwork": True, "containers": containers}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}
        return self._filled({**pod, "spec": {**above, **more}})

    def _filled(self, value: Any) -> Any:
        """A value with the workflow's parameters in the place of their names."""
        if isinstance(value, dict):
            return {key: self._filled(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self._filled(part) for part in value]
        if isinstance(value, str):
            for name, said in self._values.items():
                value = value.replace(f"{{{{workflow.parameters.{name}}}}}", said)
            assert "{{" not in value, value
        return value


def play(podman: Podman, pod: dict[str, Any]) -> Ended:
    """Run a pod to its end, and remove it."""
    name = pod["metadata"]["name"]
    file = podman.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(pod))
    podman.call("kube", "play", str(file))
    try:
        code = int(podman.call("wait", f"{name}-main"))
        return Ended(name, code, podman.call("logs", f"{name}-main"))
    finally:
        podman.call("kube", "down", str(file))


def volume(podman: Podman, claim: str = CLAIM) -> Path:
    """An empty volume for a claim of that name; gives the folder in which its files are.

    It belongs to the group that Kubernetes would give it to, which podman does not.
    """
    podman.call("volume", "rm", "--force", claim, check=False)
    podman.call("volume", "create", claim)
    folder = Path(podman.call("volume", "inspect", "--format={{.Mountpoint}}", claim).strip())
    os.chown(folder, -1, USER)
    folder.chmod(0o2770)
    return folder


def export(root: Path, image: str, *more: str) -> Path:
    """Export a pipeline whose tasks share a volume; gives the WorkflowTemplate's file."""
    told = ("--image", image, "--store", STORE, "--set", f"volumes={CLAIM}:{STORE}", *more)
    nbpipe("export", "argo", "--to", "argo", "--force", *told, cwd=root)
    (file,) = (root / "argo").glob("*-workflow-template.yaml")
    return file


def main() -> None:
    """Print the seconds a task of a local build, of a walk, and of a pod that does nothing."""
    local, walks, idle = [], [], []
    with tempfile.TemporaryDirectory() as place, Podman() as podman:
        root = engines.grid(Path(place) / "image")
        podman.prepare(root, needed=())
        image = podman.build(root, "overhead:1")
        for number in range(3):
            root = engines.grid(Path(place) / str(number))
            file = export(root, image)
            began = time.monotonic()
            nbpipe("build", cwd=root)
            local.append(time.monotonic() - began)
            volume(podman)
            began = time.monotonic()
            ended = Workflow(file).run(podman)
            walks.append(time.monotonic() - began)
            idle += [_seconds_of_nothing(podman, Workflow(file)) for _ in ended]
        print(f"local: {statistics.median(local) / len(ended):.2f} s a task")
        print(f"a pod a task: {statistics.median(walks) / len(ended):.2f} s a task")
        print(f"a pod that does nothing: {statistics.median(idle):.2f} s")


def _seconds_of_nothing(podman: Podman, workflow: Workflow) -> float:
    pod = workflow.pod("total")
    pod["spec"]["containers"][0]["command"] = ["true"]
    began = time.monotonic()
    play(podman, pod)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
