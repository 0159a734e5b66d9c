"""Exporter for Argo Workflows: a WorkflowTemplate, and a CronWorkflow that runs it by the clock.

The form is that of Argo's own schema, version ``argoproj.io/v1alpha1``; what Kubernetes wants of
names stands in https://kubernetes.io/docs/concepts/overview/working-with-objects/names/.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import msgspec
import yaml

from nbpipe.errors import UsageError
from nbpipe.exporters.argo_settings import ArgoSettings, check, spec_of
from nbpipe.exporters.base import GraphDocument, TaskDocument, read_volumes, task_command

API = "argoproj.io/v1alpha1"
HEAD = "# Made by nbpipe export argo.\n"

LABEL = 63
"""Characters of a DNS-1123 label, at most."""

CRON_LABEL = 52
"""Characters of a CronWorkflow's name, at most: what it starts has a time behind the name."""


class ArgoExporter:
    """Writes ``NAME-workflow-template.yaml``, and with a schedule ``NAME-cron-workflow.yaml``."""

    settings = ArgoSettings

    def export(self, document: GraphDocument, settings: ArgoSettings) -> dict[str, str]:
        """The files' texts by their names.

        Raises:
            UsageError: Kubernetes cannot tell two names apart, or a setting does not fit.
        """
        check(document, settings)
        most = LABEL if settings.schedule is None else CRON_LABEL
        name = dns_label(settings.template or document.name, most)
        found = {f"{name}-workflow-template.yaml": workflow_template(name, document, settings)}
        if settings.schedule is not None:
            found[f"{name}-cron-workflow.yaml"] = cron_workflow(name, settings)
        return {path: _text(resource) for path, resource in found.items()}


def workflow_template(name: str, document: GraphDocument, settings: ArgoSettings) -> dict[str, Any]:
    """The pipeline as a WorkflowTemplate: a DAG, and a template with a container for each task."""
    ids = labels("tasks", (task.name for task in document.tasks))
    entry = "pipeline"
    while entry in ids.values():
        entry += "-dag"
    spec: dict[str, Any] = {
        "entrypoint": entry,
        "arguments": {"parameters": _parameters(document, settings)},
    }
    if volumes := labels("claims", (claim for claim, _ in read_volumes(settings.volumes))):
        spec["volumes"] = [
            {"name": volume, "persistentVolumeClaim": {"claimName": claim}}
            for claim, volume in volumes.items()
        ]
        if settings.group is not None:
            spec["securityContext"] = {"fsGroup": settings.group}
    dag = {"name": entry, "dag": {"tasks": [_node(task, ids) for task in document.tasks]}}
    tasks = (_template(task, ids, document, settings) for task in document.tasks)
    spec |= {**spec_of(settings), "templates": [dag, *tasks]}
    return _resource("WorkflowTemplate", name, settings, spec)


def cron_workflow(name: str, settings: ArgoSettings) -> dict[str, Any]:
    """What runs the WorkflowTemplate by the clock, one at a time."""
    spec: dict[str, Any] = {"schedules": [settings.schedule]}
    if settings.timezone is not None:
        spec["timezone"] = settings.timezone
    spec |= {
        "concurrencyPolicy": "Forbid",
        "workflowSpec": {"workflowTemplateRef": {"name": name}},
    }
    return _resource("CronWorkflow", name, settings, spec)


def labels(what: str, names: Iterable[str]) -> dict[str, str]:
    """The DNS-1123 label of each name.

    Raises:
        UsageError: two have the same.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        label = dns_label(name)
        for other, taken in found.items():
            if taken == label:
                text = f"Kubernetes cannot tell the {what} '{other}' and '{name}' apart"
                raise UsageError(f"{text}: both would be '{label}'", "rename one of them")
        found[name] = label
    return found


def dns_label(name: str, most: int = LABEL) -> str:
    """A name as Kubernetes takes it: small ASCII letters, digits and dashes, a letter first.

    Letters beyond ASCII become ``u`` and their number, everything else a dash.

    Raises:
        UsageError: it is too long.
    """
    plain = re.sub(r"[^\x00-\x7f]", lambda found: f"u{ord(found[0]):x}", name.lower())
    label = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    label = label if label[:1].isalpha() else f"t-{label}".strip("-")
    if len(label) > most:
        raise UsageError(f"'{name}' has more than {most} characters as '{label}'", "shorten it")
    return label


def _parameters(document: GraphDocument, settings: ArgoSettings) -> list[dict[str, Any]]:
    return [
        {
            "name": "store",
            "description": "Where the tasks share their results; empty: nowhere.",
            "value": settings.store or document.store or "",
        },
        {
            "name": "force",
            "description": "Whether fresh tasks are run too.",
            "value": "true" if settings.mode == "force" else "false",
            "enum": ["false", "true"],
        },
    ]


def _node(task: TaskDocument, ids: dict[str, str]) -> dict[str, Any]:
    node: dict[str, Any] = {"name": ids[task.name], "template": ids[task.name]}
    if task.upstream:
        node["dependencies"] = [ids[up] for up in task.upstream]
    return node


def _template(
    task: TaskDocument, ids: dict[str, str], document: GraphDocument, settings: ArgoSettings
) -> dict[str, Any]:
    found: dict[str, Any] = {"name": ids[task.name]}
    if task.timeout is not None:
        found["activeDeadlineSeconds"] = math.ceil(task.timeout + settings.grace)
    if task.retries:
        found["retryStrategy"] = {"limit": task.retries, "retryPolicy": "Always"}
    return {**found, "container": _container(task, document, settings)}


def _container(
    task: TaskDocument, document: GraphDocument, settings: ArgoSettings
) -> dict[str, Any]:
    # What the workflow's parameters say comes with them.
    plain = msgspec.structs.replace(settings, store=None, mode="incremental")
    found: dict[str, Any] = {
        "image": settings.image,
        "command": [_literal(word) for word in task_command(document, task.name, plain)],
        "env": [
            {"name": "NBPIPE_STORE", "value": "{{workflow.parameters.store}}"},
            {"name": "NBPIPE_FORCE", "value": "{{workflow.parameters.force}}"},
            *({"name": n, "value": _literal(v)} for n, v in settings.environ.items()),
        ],
    }
    if settings.folder is not None:
        found["workingDir"] = settings.folder
    if settings.secrets:
        found["envFrom"] = [{"secretRef": {"name": name}} for name in settings.secrets]
    if resources := _resources(task, settings):
        found["resources"] = resources
    if mounts := read_volumes(settings.volumes):
        found["volumeMounts"] = [{"name": dns_label(c), "mountPath": p} for c, p in mounts]
    return found


def _literal(text: str) -> str:
    """A text in which Argo has nothing to fill in.

    Raises:
        UsageError: it would fill something in.
    """
    if "{{" in text:
        raise UsageError(f"Argo would fill in what stands in '{text}'", "avoid '{{' in it")
    return text


def _resources(task: TaskDocument, settings: ArgoSettings) -> dict[str, dict[str, str]]:
    """What the scheduler sets aside, and what ends the pod: a core more does not, memory does."""
    cpu, gpu, memory = (task.resources.get(key) for key in ("cpu", "gpu", "memory"))
    requests = {} if cpu is None else {"cpu": _cores(cpu)}
    limits = {} if gpu is None else {settings.gpu: str(math.ceil(gpu))}
    if memory is not None:
        requests["memory"] = limits["memory"] = _bytes(int(memory))
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def _cores(cpu: float) -> str:
    return str(int(cpu)) if cpu == int(cpu) else f"{math.ceil(cpu * 1000)}m"


def _bytes(memory: int) -> str:
    for power, unit in ((4, "Ti"), (3, "Gi"), (2, "Mi"), (1, "Ki")):
        if memory and memory % 1024**power == 0:
            return f"{memory // 1024**power}{unit}"
    return str(memory)


def _resource(kind: str, name: str, settings: ArgoSettings, spec: dict[str, Any]) -> dict[str, Any]:
    place = {"namespace": settings.namespace} if settings.namespace else {}
    metadata = {"name": name, **place}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


def _text(resource: dict[str, Any]) -> str:
    """As YAML; several in a row are a stream, as ``kubectl`` reads it."""
    text: str = yaml.safe_dump(
        resource, sort_keys=False, allow_unicode=True, explicit_start=True, width=math.inf
    )
    return HEAD + text
