"""Real Airflows, each version in a virtual environment of its own that is made once and kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cli import nbpipe

VERSIONS = os.environ.get("NBPIPE_AIRFLOW", "").split()
"""Those to test with, such as ``3 2.11``; ``make airflow`` names them."""

PROVIDERS = ("apache-airflow-providers-docker", "apache-airflow-providers-cncf-kubernetes")

PATIENCE = 600.0
"""Seconds until what Airflow is asked for counts as lost."""


def _environments() -> Path:
    """The folder of the virtual environments."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("NBPIPE_AIRFLOW_ENVIRONMENTS") or Path(cache) / "nbpipe-airflow")


def environment(version: str) -> Path:
    """The virtual environment with the latest Airflow of a version, made if need be: minutes."""
    folder = _environments() / version
    ready = folder / "ready"
    wanted = "\n".join((f"apache-airflow=={version}.*", *PROVIDERS))
    if not ready.exists() or ready.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *wanted.split()], check=True)
        ready.write_text(wanted)
    return folder


class Airflow:
    """One Airflow, with a database and a folder of DAG files of its own.

    Args:
        version: the beginning of one, such as ``2.11``.
        home: an empty folder.
    """

    def __init__(self, version: str, home: Path) -> None:
        self.version = version
        self.dags = home / "dags"
        self.dags.mkdir(parents=True)
        self._home = home
        self._bin = environment(version) / "bin"
        self._port = _free_port()
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "PYTHON"))},
            "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
            "PYTHONWARNINGS": "ignore",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API_AUTH__JWT_SECRET": os.urandom(32).hex(),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self._port}/execution/",
            # The only one that Airflow 2 has with SQLite runs one task at a time.
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor" if self.third else "SequentialExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }
        self.call("db", "migrate")

    @property
    def third(self) -> bool:
        """Whether it is an Airflow 3."""
        return self.version.startswith("3")

    def call(self, *args: str, code: int | None = 0) -> str:
        """What ``airflow ARGS`` prints; its exit code must be the one given, unless None."""
        done = subprocess.run(
            [self._bin / "airflow", *args],
            env=self._environ,
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def table(self, *args: str, code: int | None = 0) -> list[dict[str, str]]:
        """The rows that it lists."""
        said = self.call(*args, "-o", "json", code=code)
        begin = said.find("[{")  # warnings may stand before it, and other words when there are none
        rows: list[dict[str, str]] = json.loads(said[begin:]) if begin >= 0 else []
        return rows

    def export(self, root: Path, dag_id: str, *options: str) -> None:
        """Give it the DAG of a project, whose tasks run in the project's folder."""
        here = ("--set", f"program={sys.executable} -m nbpipe", "--set", f"folder={root}")
        self.export_anywhere(root, dag_id, *here, *options)

    def export_anywhere(self, root: Path, dag_id: str, *options: str) -> None:
        """Give it the DAG of a project, whose tasks run where the options say."""
        told = ("--force", "--set", f"dag_id={dag_id}", *options)
        nbpipe("export", "airflow", "--to", str(self.dags), *told, cwd=root)

    def import_errors(self) -> set[str]:
        """Names of the DAG files that cannot be imported."""
        local = ["--local"] if self.third else []
        rows = self.table("dags", "list-import-errors", *local, code=None)
        return {Path(row.get("filepath") or row["fileloc"]).name for row in rows}

    def runs(self, dag_id: str) -> list[dict[str, str]]:
        """The runs of a DAG that it knows."""
        return self.table("dags", "list-runs", *([] if self.third else ["-d"]), dag_id)

    def states(self, dag_id: str) -> dict[str, str]:
        """The state of each task in the latest run of a DAG."""
        run = max(self.runs(dag_id), key=lambda row: row["start_date"])["run_id"]
        rows = self.table("tasks", "states-for-dag-run", dag_id, run)
        return {row["task_id"]: row["state"] for row in rows}

    def run(self, dag_id: str, code: int = 0) -> dict[str, str]:
        """``airflow dags test``: run a DAG without a scheduler; the states of its tasks."""
        if not self.third:  # which lists no runs of a DAG that no scheduler has seen
            self.call("dags", "reserialize")
        self.call("dags", "test", dag_id, code=code)
        return self.states(dag_id)

    @contextlib.contextmanager
    def scheduler(self) -> Iterator[None]:
        """Its parts, on loopback."""
        parts = [["scheduler", "--skip-serve-logs"]]
        if self.third:
            server = ["api-server", "--host", "127.0.0.1", "--port", str(self._port)]
            parts += [["dag-processor"], [*server, "--workers", "1"]]
        with contextlib.ExitStack() as stack:
            for part in parts:
                stack.enter_context(self._part(*part))
            yield

    @contextlib.contextmanager
    def _part(self, *args: str) -> Iterator[None]:
        command = [self._bin / "airflow", *args]
        with (self._home / f"{args[0]}.out").open("wb") as out:
            process = subprocess.Popen(
                command, env=self._environ, cwd=self._home, stdout=out, stderr=out
            )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def scheduled(self, dag_id: str) -> dict[str, str]:
        """Let the scheduler run a DAG; the run's row when it has ended."""
        self._await(lambda: any(row["dag_id"] == dag_id for row in self.table("dags", "list")))
        self.call("dags", "unpause", dag_id)
        self.call("dags", "trigger", dag_id)
        self._await(lambda: all(r["state"] in ("success", "failed") for r in self.runs(dag_id)))
        [row] = self.runs(dag_id)
        return row

    def _await(self, what: object) -> None:
        assert callable(what)
        end = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < end, self.said()
            time.sleep(1)

    def said(self) -> str:
        """The last of what its parts have said."""
        return "\n".join(path.read_text()[-5000:] for path in sorted(self._home.glob("*.out")))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
