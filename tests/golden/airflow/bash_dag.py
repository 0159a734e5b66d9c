"""The pipeline "iris" as a DAG for Airflow 2.10 and later.

Written by `nbpipe export airflow`. To change it, change the pipeline or the settings, and export it
again. nbpipe is needed where the tasks run, not where this file is read.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pendulum

try:
    from airflow.sdk import DAG, TaskGroup
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.utils.task_group import TaskGroup

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:  # Airflow 2, which need not have that provider
    from airflow.operators.bash import BashOperator

COMMON = {
    "cwd": str(Path(__file__).resolve().parent / ".."),
    "env": {"DAY": "{{ ds }}"},
    "append_env": True,
    "do_xcom_push": False,
    "pool": "notebooks",
    "retry_delay": timedelta(seconds=60),
}


class NbpipeTask(BashOperator):
    """Runs one task. Of its arguments only the variables are templates; the rest is meant as is."""

    template_fields = ("env",)
    template_ext = ()


with DAG(
    dag_id="iris",
    doc_md=__doc__,
    schedule="0 6 * * *",
    start_date=pendulum.datetime(2020, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["nbpipe"],
):
    groups = {"features": TaskGroup(group_id="features", prefix_group_id=False, tooltip="features")}
    tasks = {}
    tasks["get"] = NbpipeTask(
        task_id="get",
        doc="scripts/get.py",
        bash_command="exec nbpipe task get --only --no-retry -e pipeline.yaml",
        retries=0,
        pool_slots=1,
        **COMMON,
    )
    tasks["feature-sepal"] = NbpipeTask(
        task_id="feature-sepal",
        task_group=groups["features"],
        doc="scripts/feature-sepal.py",
        bash_command="exec nbpipe task feature-sepal --only --no-retry -e pipeline.yaml",
        retries=0,
        pool_slots=1,
        **COMMON,
    )
    tasks["feature-petal"] = NbpipeTask(
        task_id="feature-petal",
        task_group=groups["features"],
        doc="scripts/feature-petal.py",
        bash_command="exec nbpipe task feature-petal --only --no-retry -e pipeline.yaml",
        retries=0,
        pool_slots=1,
        **COMMON,
    )
    tasks["explore"] = NbpipeTask(
        task_id="explore",
        doc="scripts/explore.py",
        bash_command="exec nbpipe task explore --only --no-retry -e pipeline.yaml",
        retries=0,
        pool_slots=1,
        **COMMON,
    )
    tasks["fit"] = NbpipeTask(
        task_id="fit",
        doc="scripts/fit.py",
        bash_command="exec nbpipe task fit --only --no-retry -e pipeline.yaml",
        retries=2,
        execution_timeout=timedelta(seconds=900),
        pool_slots=2,
        **COMMON,
    )
    tasks["report"] = NbpipeTask(
        task_id="report",
        doc="scripts/report.py",
        bash_command="exec nbpipe task report --only --no-retry -e pipeline.yaml",
        retries=0,
        pool_slots=1,
        **COMMON,
    )
    tasks["feature-sepal"].set_upstream([tasks["get"]])
    tasks["feature-petal"].set_upstream([tasks["get"]])
    tasks["explore"].set_upstream([tasks["get"]])
    tasks["fit"].set_upstream([tasks["get"], tasks["feature-sepal"], tasks["feature-petal"]])
    tasks["report"].set_upstream([tasks["fit"]])
