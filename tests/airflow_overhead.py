"""What Airflow costs per task beside a local build: ``python -m tests.airflow_overhead``.

The pipeline and the local figure are those of ``tests.overhead``. Of Airflow it is the time between
the beginning and the end of the DAG's run, by its own account, divided by the tasks. The variable
NBPIPE_AIRFLOW names the versions; the first is measured.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tests import engines
from tests.airflow_rig import VERSIONS, Airflow
from tests.overhead import ROUNDS, TASKS, seconds_per_task


def tested(airflow: Airflow, dag_id: str) -> dict[str, str]:
    """A run by ``airflow dags test``."""
    airflow.run(dag_id)
    [row] = airflow.runs(dag_id)
    return row


def measured(
    airflow: Airflow, folder: Path, name: str, run: Callable[[str], dict[str, str]]
) -> float:
    """The median over some runs, each of a new DAG in a new folder."""
    found = []
    for number in range(ROUNDS):
        dag_id = f"{name}-{number}"
        airflow.export(engines.grid(folder / dag_id), dag_id)
        row = run(dag_id)
        assert row["state"] == "success", row
        begin, end = (datetime.fromisoformat(row[key]) for key in ("start_date", "end_date"))
        found.append((end - begin).total_seconds() / TASKS)
    return statistics.median(found)


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "local").mkdir()
        airflow = Airflow((VERSIONS or ["3"])[0], folder / "airflow")
        print(f"local      {seconds_per_task(folder / 'local', []):6.2f} s a task", flush=True)
        seconds = measured(airflow, folder, "test", lambda dag_id: tested(airflow, dag_id))
        print(f"dags test  {seconds:6.2f} s a task", flush=True)
        with airflow.scheduler():
            seconds = measured(airflow, folder, "scheduler", airflow.scheduled)
        print(f"scheduler  {seconds:6.2f} s a task")


if __name__ == "__main__":
    main()
