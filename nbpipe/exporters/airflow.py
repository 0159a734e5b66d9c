"""The exporter for Airflow: one Python file with the DAG, for Airflow 2.10 and later.

The file stands alone: who parses it needs Airflow and the operator's provider, not nbpipe. Airflow
orders, retries and times out; each task is ``nbpipe task NAME --only`` on a worker.
"""

from __future__ import annotations

import math
from typing import Any

from nbpipe.errors import UsageError
from nbpipe.exporters import airflow_names as names
from nbpipe.exporters.airflow_operators import Operator, operator
from nbpipe.exporters.airflow_settings import AirflowSettings, check, options_of
from nbpipe.exporters.base import GraphDocument, TaskDocument, task_command
from nbpipe.exporters.pysource import Call, Code, assignment, source

ABOUT = '''"""The pipeline {name} as a DAG for Airflow 2.10 and later.

Written by `nbpipe export airflow`. To change it, change the pipeline or the settings, and export it
again. nbpipe is needed where the tasks run, not where this file is read.
"""

from __future__ import annotations'''

ATTEMPT = """try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG"""

ATTEMPT_WITH_GROUPS = """try:
    from airflow.sdk import DAG, TaskGroup
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.utils.task_group import TaskGroup"""

CLASS = '''class NbpipeTask({operator}):
    """Runs one task. Of its arguments only the variables are templates; the rest is meant as is."""

    template_fields = ("{rendered}",)
    template_ext = ()'''

STANDARD = {
    "os.environ[": "import os",
    "timedelta(": "from datetime import timedelta",
    "Path(": "from pathlib import Path",
}
"""Imports from Python's library that are written where the text before them occurs."""

FURTHER = {
    "types.": "from docker import types",
    "k8s.": "from kubernetes.client import models as k8s",
}
"""The same of the operators' libraries."""


class AirflowExporter:
    """Writes ``NAME_dag.py``."""

    settings = AirflowSettings

    def export(self, document: GraphDocument, settings: AirflowSettings) -> dict[str, str]:
        """The file's text by its name.

        Raises:
            UsageError: Airflow cannot do what the pipeline or a setting asks for.
        """
        check(document, settings)
        dag_id = settings.dag_id or names.task_id(document.name)
        return {f"{dag_id}_dag.py": _File(document, settings, dag_id).text()}


class _File:
    """The DAG file of a pipeline.

    Args:
        document: the pipeline.
        settings: already checked.
        dag_id: of the DAG.
    """

    def __init__(self, document: GraphDocument, settings: AirflowSettings, dag_id: str) -> None:
        self.document = document
        self.settings = settings
        self.dag_id = dag_id
        self.operator: Operator = operator(settings)
        self.options = options_of(settings)
        self.groups = names.group_ids(document.tasks)

    def text(self) -> str:
        """All of it."""
        common = assignment("COMMON", self._common())
        dag = self._dag()
        used = f"{common}\n{dag}"
        operator = self.operator
        parts = [
            ABOUT.format(name=source(self.document.name)),
            "\n".join(_needed(STANDARD, used)),
            "\n".join(["import pendulum", *operator.imports, *_needed(FURTHER, used)]),
            ATTEMPT_WITH_GROUPS if self.groups else ATTEMPT,
            operator.attempt,
            common,
        ]
        head = "\n\n".join(part for part in parts if part)
        one = CLASS.format(operator=operator.name, rendered=operator.rendered)
        return f"{head}\n\n\n{one}\n\n\n{dag}\n"

    def _common(self) -> dict[str, Any]:
        """Arguments of all tasks."""
        settings = self.settings
        found = {**self.operator.common, "do_xcom_push": False}
        if settings.pool is not None:
            found["pool"] = settings.pool
        if settings.retry_delay is not None:
            found["retry_delay"] = _seconds(settings.retry_delay)
        taken = found.keys() | set().union(*(self._own(task) for task in self.document.tasks))
        for key in self.options:
            if key in taken:
                raise UsageError(f"setting 'options': {key} follows from the pipeline or a setting")
        return {**found, **self.options}

    def _own(self, task: TaskDocument) -> dict[str, Any]:
        """Arguments of one task."""
        task_id = names.task_id(task.name)
        found: dict[str, Any] = {"task_id": task_id}
        if task_id != task.name:
            found["task_display_name"] = task.name
        if task.group in self.groups:
            found["task_group"] = Code(f"groups[{source(self.groups[task.group])}]")
        command = task_command(self.document, task.name, self.settings)
        found |= {"doc": task.source, **self.operator.own(task, command), "retries": task.retries}
        if task.timeout is not None:
            found["execution_timeout"] = _seconds(task.timeout + self.settings.grace)
        if self.settings.pool is not None:
            found["pool_slots"] = max(1, math.ceil(task.resources["cpu"] or 1))
        return found

    def _dag(self) -> str:
        """The statement that makes it."""
        day = self.settings.start_date
        told: dict[str, Any] = {"dag_id": self.dag_id}
        if self.settings.dag_id is None and self.dag_id != self.document.name:
            told["dag_display_name"] = self.document.name
        told |= {
            "doc_md": Code("__doc__"),
            "schedule": self.settings.schedule,
            "start_date": Code(f'pendulum.datetime({day.year}, {day.month}, {day.day}, tz="UTC")'),
            "catchup": self.settings.catchup,
            "max_active_runs": 1,
            "tags": list(self.settings.tags),
        }
        lines = [f"with {source(Call('DAG', told), before=5)}:"]
        if self.groups:
            groups = {group: _group(label, group) for label, group in self.groups.items()}
            lines.append(f"    groups = {source(groups, 4, len('groups = '), 0)}")
        lines.append("    tasks = {}")
        lines += [self._task(task) for task in self.document.tasks]
        lines += [_edges(task) for task in self.document.tasks if task.upstream]
        return "\n".join(lines)

    def _task(self, task: TaskDocument) -> str:
        begin = f"{_entry(task.name)} = "
        call = Call("NbpipeTask", self._own(task), (Code("**COMMON"),))
        return f"    {begin}{source(call, 4, len(begin), 0)}"


def _edges(task: TaskDocument) -> str:
    """The statement that lets it wait."""
    ups: list[Any] = [Code(_entry(name)) for name in task.upstream]
    return f"    {source(Call(f'{_entry(task.name)}.set_upstream', {}, (ups,)), 4, 0, 0)}"


def _entry(name: str) -> str:
    return f"tasks[{source(names.task_id(name))}]"


def _group(label: str, group: str) -> Call:
    return Call("TaskGroup", {"group_id": group, "prefix_group_id": False, "tooltip": label})


def _seconds(seconds: float) -> Call:
    return Call("timedelta", {"seconds": int(seconds) if seconds == int(seconds) else seconds})


def _needed(imports: dict[str, str], used: str) -> list[str]:
    return [statement for text, statement in imports.items() if text in used]
