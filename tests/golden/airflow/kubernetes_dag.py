"""The pipeline "iris" as a DAG for Airflow 2.10 and later.

Written by `nbpipe export airflow`. To change it, change the pipeline or the settings, and export it
again. nbpipe is needed where the tasks run, not where this file is read.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import models as k8s

try:
    from airflow.sdk import DAG, TaskGroup
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.utils.task_group import TaskGroup

COMMON = {
    "image": "team/iris:1",
    "env_vars": {},
    "env_from": [k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name="keys"))],
    "do_xcom_push": False,
    "namespace": "team",
}


class NbpipeTask(KubernetesPodOperator):
    """Runs one task. Of its arguments only the variables are templates; the rest is meant as is."""

    template_fields = ("env_vars",)
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
        cmds=["nbpipe"],
        arguments=[
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
        cmds=["nbpipe"],
        arguments=[
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
        cmds=["nbpipe"],
        arguments=[
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
        cmds=["nbpipe"],
        arguments=[
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
        cmds=["nbpipe"],
        arguments=[
            "task",
            "fit",
            "--only",
            "--no-retry",
            "-e",
            "pipeline.yaml",
            "--store",
            "s3://team-bucket/iris",
        ],
        container_resources=k8s.V1ResourceRequirements(
            requests={"cpu": "1.5", "memory": "2147483648"},
            limits={"memory": "2147483648", "nvidia.com/gpu": "1"},
        ),
        retries=2,
        execution_timeout=timedelta(seconds=900),
        **COMMON,
    )
    tasks["report"] = NbpipeTask(
        task_id="report",
        doc="scripts/report.py",
        cmds=["nbpipe"],
        arguments=[
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
