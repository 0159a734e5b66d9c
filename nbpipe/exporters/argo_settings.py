"""What the exporter for Argo Workflows can be told."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from nbpipe.errors import UsageError
from nbpipe.exporters.base import ExportSettings, GraphDocument

OURS = {
    "arguments": "they are the parameters 'store' and 'force'",
    "entrypoint": "it is the pipeline",
    "templates": "they are the tasks",
    "volumes": "say --set volumes=CLAIM:PATH",
    "workflowTemplateRef": "the tasks are here",
}
"""Fields of a workflow that have a setting or follow from the pipeline."""

PARAMETERS = {"NBPIPE_STORE": "--store URL", "NBPIPE_FORCE": "--mode force"}
"""Variables of the tasks that are parameters of the workflow, and the option for each."""


class ArgoSettings(ExportSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the exporter for Argo Workflows can be told, beside what all can.

    Attributes:
        template: name of the WorkflowTemplate; None: made from the pipeline's.
        namespace: of Kubernetes; None: the one that it is applied to.
        folder: the pipeline's, in the image; None: where the image starts.
        schedule: five fields of cron, for a CronWorkflow beside it; None: none is made.
        timezone: of the schedule, such as Europe/Berlin; None: the cluster's.
        volumes: CLAIM:PATH each: a volume claim, and where the tasks see it.
        group: number of the group that may write to the volumes; None: as they are.
        secrets: of Kubernetes, whose keys become variables.
        gpu: what the cluster calls a GPU.
        grace: seconds that a task is left beyond its own timeout, to start and to fetch.
        spec: further fields of the workflow's spec under Argo's names, such as
            ``serviceAccountName``. A mapping, or one as YAML or JSON; "": none.
    """

    template: str | None = None
    namespace: str | None = None
    folder: str | None = None
    schedule: str | None = None
    timezone: str | None = None
    volumes: tuple[str, ...] = ()
    group: int | None = 1000
    secrets: tuple[str, ...] = ()
    gpu: str = "nvidia.com/gpu"
    grace: float = 300.0
    spec: dict[str, Any] | str = ""


def check(document: GraphDocument, settings: ArgoSettings) -> None:
    """Refuse what does not go together.

    Raises:
        UsageError: a setting is missing, or does not fit.
    """
    if not settings.image:
        raise UsageError("Argo needs an image with the project", "say --image IMAGE")
    for variable, option in PARAMETERS.items():
        if variable in settings.environ:
            raise UsageError(f"{variable} is a parameter of the workflow", f"say it with {option}")
    if not (settings.store or document.store or settings.volumes):
        raise UsageError(
            "pods share no folder, so products would be lost",
            "say --store URL, or mount a claim with --set volumes=CLAIM:PATH",
        )
    if settings.schedule is not None and len(settings.schedule.split()) != 5:
        what = f"'{settings.schedule}' is no schedule"
        raise UsageError(what, "write five fields of cron, such as '0 6 * * *'")
    if settings.timezone is not None and settings.schedule is None:
        raise UsageError("a timezone is of use to a schedule only", "say --set schedule=CRON")


def spec_of(settings: ArgoSettings) -> dict[str, Any]:
    """The further fields of the workflow's spec.

    Raises:
        UsageError: they are no mapping, or one follows from something else.
    """
    said = settings.spec
    try:
        value = yaml.safe_load(said) if isinstance(said, str) else said
        found = msgspec.convert({} if said == "" else value, dict[str, Any])
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        reason = str(error).splitlines()[0]
        hint = "write a mapping as YAML or JSON, such as {serviceAccountName: workflow}"
        raise UsageError(f"setting 'spec' does not fit: {reason}", hint) from None
    for key in found:
        if key in OURS:
            raise UsageError(f"setting 'spec': {key} is not given here", OURS[key])
    return found
