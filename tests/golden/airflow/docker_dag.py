"""The pipeline "iris" as a DAG for Airflow 2.10 and later.

Written by `nbpipe export airflow`. To change it, change the pipeline or the settings, and export it
again. nbpipe is needed where the tasks run, not where this file is read.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.providers.docker.operators.docker import DockerOperator
from docker import types

try:
    from airflow.sdk import DAG, TaskGroup
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.utils.task_group import TaskGroup

COMMON = {
    "image": "team/iris:1",
    "environment": {},
    "private_environment": {name: os.environ[name] for name in ["KEY"] if name in os.environ},
    "working_dir": "/srv/iris",
    "mounts": [types.Mount(source="data", target="/data", type="volume")],
    "mount_tmp_dir": False,
    "auto_remove": "success",
    "do_xcom_push": False,
}


class NbpipeTask(DockerOperator):
    """Runs one task. Of its arguments only the variables are templates; the rest is meant as is."""

    template_fields = ("environment",)
    template_ext = ()


with DAG(
    dag_id="iris",
    doc_md=__doc__,
    schedule=None,
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
        entrypoint=["nbpipe"],
        command=[
            "task",
            "get",
            "--only",
            "--no-retry",
            "-e",
            "pipeline.yaml",
            "--store",
            "s3://team-bucket/iris",
        ],
        retries=0,
        **COMMON,
    )
    tasks["feature-sepal"] = NbpipeTask(
        task_id="feature-sepal",
        task_group=groups["features"],
        doc="scripts/feature-sepal.py",
        entrypoint=["nbpipe"],
        command=[
            "task",
            "feature-sepal",
            "--only",
            "--no-retry",
            "-e",
            "pipeline.yaml",
            "--store",
            "s3://team-bucket/iris",
        ],
        retries=0,
        **COMMON,
    )
    tasks["feature-petal"] = NbpipeTask(
        task_id="feature-petal",
        task_group=groups["features"],
        doc="scripts/feature-petal.py",
        entrypoint=["nbpipe"],
        command=[
            "task",
            "feature-petal",
            "--only",
            "--no-retry",
            "-e",
            "pipeline.yaml",
            "--store",
            "s3://team-bucket/iris",
        ],
        retries=0,
        **COMMON,
    )
    tasks["explore"] = NbpipeTask(
        task_id="explore",
        doc="scripts/explore.py",
        entrypoint=["nbpipe"],
        command=[
            "task",
            "explore",
            "--only",
            "--no-retry",
            "-e",
            "pipeline.yaml",
            "--store",
            "s3://team-bucket/iris",
        ],
        retries=0,
        **COMMON,
    )
    tasks["fit"] = NbpipeTask(
        task_id="fit",
        doc="scripts/fit.py",
        entrypoint=["nbpipe"],
        command=[
            "task",
            "fit",
            "--only",
            "--no-retry",
            "-e",
            "pipeline.yaml",
            "--store",
            "s3://team-bucket/iris",
        ],
        cpus=1.5,
        mem_limit=2147483648,
        device_requests=[types.DeviceRequest(count=1, capabilities=[["gpu"]])],
        retries=2,
        execution_timeout=timedelta(seconds=900),
        **COMMON,
    )
    tasks["report"] = NbpipeTask(
        task_id="report",
        doc="scripts/report.py",
        entrypoint=["nbpipe"],
        command=[
            "task",
            "report",
            "--only",
            "--no-retry",
            "-e",
            "pipeline.yaml",
            "--store",
            "s3://team-bucket/iris",
        ],
        retries=0,
        **COMMON,
    )
    tasks["feature-sepal"].set_upstream([tasks["get"]])
    tasks["feature-petal"].set_upstream([tasks["get"]])
    tasks["explore"].set_upstream([tasks["get"]])
    tasks["fit"].set_upstream([tasks["get"], tasks["feature-sepal"], tasks["feature-petal"]])
    tasks["report"].set_upstream([tasks["fit"]])
