"""What the exporter for Airflow can be told."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import yaml

from nbpipe.errors import UsageError, did_you_mean
from nbpipe.exporters.airflow_names import is_id
from nbpipe.exporters.base import ExportSettings, GraphDocument

Preset = Literal["bash", "docker", "kubernetes"]

PRESETS: Mapping[str, tuple[Preset, ...]] = {
    "image": ("docker", "kubernetes"),
    "volumes": ("docker", "kubernetes"),
    "pass_env": ("docker",),
    "secrets": ("kubernetes",),
}
"""Those in which a setting means something, of settings that do not in all."""

SCHEDULES = (
    "@once",
    "@continuous",
    "@hourly",
    "@daily",
    "@weekly",
    "@monthly",
    "@quarterly",
    "@yearly",
)


class AirflowSettings(ExportSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the exporter for Airflow can be told, beside what all can.

    Attributes:
        preset: what runs a task: a shell on Airflow's worker, Docker on it, or a pod.
        folder: the pipeline's, where a task runs: on the worker, where a relative one starts from
            the DAG file's and None is that one; in the image, where None is the one it names.
        dag_id: None: the pipeline's name.
        schedule: five fields of cron, in UTC, or one of Airflow's names such as ``@daily``; None:
            runs are only triggered.
        start_date: from when on it is scheduled, in UTC.
        catchup: True: what was due between the start and now is made up for.
        tags: of the DAG.
        pool: Airflow's pool, of which a task takes as many slots as it asks for cores; None: the
            default pool, one slot.
        retry_delay: seconds between two tries; None: as Airflow is configured.
        grace: seconds that Airflow leaves a task beyond its own timeout, to start and to fetch.
        volumes: SOURCE:PATH each: a volume or a folder of Docker's host, or a claim of Kubernetes,
            and where the container sees it.
        pass_env: variables of Airflow's worker that Docker's containers are given, unseen.
        secrets: of Kubernetes, whose keys become variables.
        options: further arguments of the operator. A mapping, or one as YAML or JSON; "": none.
    """

    preset: Preset = "bash"
    folder: str | None = None
    dag_id: str | None = None
    schedule: str | None = None
    start_date: datetime.date = datetime.date(2020, 1, 1)
    catchup: bool = False
    tags: tuple[str, ...] = ("nbpipe",)
    pool: str | None = None
    retry_delay: float | None = None
    grace: float = 300.0
    volumes: tuple[str, ...] = ()
    pass_env: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    options: dict[str, Any] | str = ""


def check(document: GraphDocument, settings: AirflowSettings) -> None:
    """Refuse what does not go together.

    Raises:
        UsageError: a setting has no meaning here, or one is missing.
    """
    for key, presets in PRESETS.items():
        if getattr(settings, key) and settings.preset not in presets:
            raise UsageError(
                f"preset '{settings.preset}' has no use for '{key}'",
                f"say --set preset={presets[0]}, or leave it out",
            )
    if settings.preset != "bash":
        _check_container(document, settings)
    if settings.dag_id is not None and not is_id(settings.dag_id):
        hint = "use letters, digits, '-', '_' and '.', 250 at most"
        raise UsageError(f"Airflow does not take '{settings.dag_id}' for a dag_id", hint)
    if settings.schedule is not None:
        _check_schedule(settings.schedule)


def _check_container(document: GraphDocument, settings: AirflowSettings) -> None:
    preset = settings.preset
    if not settings.image:
        raise UsageError(f"preset '{preset}' needs an image with the project", "say --image IMAGE")
    shared = settings.store or document.store or settings.environ.get("NBPIPE_STORE")
    if not (shared or settings.volumes or "NBPIPE_STORE" in settings.pass_env):
        raise UsageError(
            f"preset '{preset}': containers share no folder, so products would be lost",
            "say --store URL, or mount a folder with --set volumes=SOURCE:PATH",
        )


def _check_schedule(schedule: str) -> None:
    if schedule.startswith("@"):
        if schedule not in SCHEDULES:
            raise UsageError(f"no schedule '{schedule}'", did_you_mean(schedule, SCHEDULES))
    elif len(schedule.split()) != 5:
        hint = "write five fields of cron, such as '0 6 * * *', or a name such as @daily"
        raise UsageError(f"'{schedule}' is no schedule", hint)


def options_of(settings: AirflowSettings) -> dict[str, Any]:
    """The further arguments of the operator.

    Raises:
        UsageError: they are no mapping from names to plain values.
    """
    said = settings.options
    try:
        found = yaml.safe_load(said) if isinstance(said, str) else said
        options = msgspec.convert(found or {}, dict[str, Any])
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        reason = str(error).splitlines()[0]
        hint = "write a mapping as YAML or JSON, such as {queue: long}"
        raise UsageError(f"setting 'options' does not fit: {reason}", hint) from None
    for key in options:
        if not key.isidentifier():
            raise UsageError(f"setting 'options': '{key}' is no argument of an operator")
    return options
