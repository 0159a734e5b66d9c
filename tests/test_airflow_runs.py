"""Exported DAGs in real Airflows, with a scheduler and without: ``make airflow``."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbpipe.exporters.airflow_names import task_id
from tests import engines
from tests.airflow_rig import VERSIONS, Airflow
from tests.cli import nbpipe
from tests.podman_rig import Podman, why_not

pytestmark = pytest.mark.process

ODD = """
tasks:
  - source: work.today
    name: 'größe {% $HOME %}.yaml'
    product: out/today.txt
    params: {n: 1}
    group: the parts
    retries: 1
    timeout: 60
    resources: {cpu: 1, memory: 1 GiB, gpu: 1}
  - source: work.after
    name: last.sh
    product: out/last.txt
    group: the end
"""

ODD_WORK = """
import os
from pathlib import Path


def today(product, n):
    with open("tries", "a") as tries:
        tries.write(".")
    assert Path("tries").read_text() != ".", "not yet"
    Path(product).write_text(os.environ["DAY"])


def after(product, upstream):
    first = Path(upstream["größe {% $HOME %}.yaml"]).read_text()
    Path(product).write_text(first + " and after")
"""


@pytest.fixture(scope="module", params=VERSIONS or [None], ids=lambda version: f"airflow-{version}")
def airflow(request, tmp_path_factory) -> Airflow:
    if request.param is None:
        pytest.skip("needs a real Airflow: `make airflow` installs one and runs this")
    return Airflow(request.param, tmp_path_factory.mktemp("airflow"))


@pytest.fixture
def odd(tmp_path) -> Path:
    """Two tasks whose names, groups and variable mean something to Airflow; one fails at first."""
    root = tmp_path / "odd"
    root.mkdir()
    (root / "pipeline.yaml").write_text(ODD)
    (root / "work.py").write_text(ODD_WORK)
    return root


def runs_of(root: Path) -> set[str]:
    """The runs of nbpipe that a project remembers: one for each task that was run."""
    return {path.name for path in (root / ".nbpipe" / "runs").iterdir()}


def test_the_files_of_all_presets_are_imported(airflow, odd):
    container = ["--image", "team/odd:1", "--env", "DAY={{ ds }}", "--set", "volumes=data:/data"]
    airflow.export(odd, "plain")
    airflow.export(odd, "docker", *container, "--set", "preset=docker", "--set", "pass_env=HOME")
    airflow.export(odd, "pods", *container, "--set", "preset=kubernetes", "--set", "secrets=keys")
    broken = airflow.dags / "broken_dag.py"
    broken.write_text("import airflow\n\ndag = airflow.nothing_of_that_name\n")
    try:
        assert airflow.import_errors() == {"broken_dag.py"}
    finally:
        broken.unlink()
    ids = {task_id("größe {% $HOME %}.yaml"), "last.sh"}
    for dag_id in ("plain", "docker", "pods"):
        assert ids <= set(airflow.call("tasks", "list", dag_id).split())


@pytest.mark.parametrize("name", engines.PIPELINES)
def test_a_pipeline_gives_the_products_of_a_local_build_and_a_second_run_skips_all(
    name, airflow, tmp_path
):
    root = engines.PIPELINES[name](tmp_path / name)
    airflow.export(root, name)
    states = airflow.run(name)
    assert set(states.values()) == {"success"}
    assert len(states) == len(list((root / ".nbpipe" / "records").glob("*.json")))
    assert engines.digests(root) == engines.local_digests(name)
    before = runs_of(root)
    assert len(before) == len(states)
    assert set(airflow.run(name).values()) == {"success"}
    assert runs_of(root) == before
    assert "0 executed" in nbpipe("build", cwd=root)


def test_with_mode_force_a_second_run_runs_all(airflow, tmp_path):
    root = engines.grid(tmp_path / "forced")
    nbpipe("build", cwd=root)
    before = runs_of(root)
    airflow.export(root, "forced", "--mode", "force", "--task", "square-1?")
    assert set(airflow.run("forced")) == {"square-10", "square-11"}
    assert len(runs_of(root) - before) == 2


def test_names_mean_what_they_say_variables_are_templates_and_a_failure_is_tried_again(
    airflow, odd
):
    airflow.export(odd, "odd", "--env", "DAY={{ ds }}", "--set", "retry_delay=0.1")
    assert set(airflow.run("odd").values()) == {"success"}
    assert (odd / "tries").read_text() == ".."
    day, rest = (odd / "out" / "last.txt").read_text().split(" ", 1)
    assert [len(part) for part in day.split("-")] == [4, 2, 2]
    assert rest == "and after"


def test_a_failing_task_fails_airflows_own_and_its_notebook_is_kept_in_the_store(airflow, tmp_path):
    root = engines.slow(tmp_path / "slow")
    (root / "go").touch()
    script = root / "slow.py"
    script.write_text(script.read_text().replace("child.kill()", 'raise ValueError("no luck")'))
    store = tmp_path / "store"
    airflow.export(root, "failing", "--store", str(store))
    assert airflow.run("failing", code=1) == {"slow": "failed", "after": "upstream_failed"}
    [notebook] = store.glob("runs/*/slow.ipynb")
    assert '"evalue": "no luck"' in notebook.read_text()


def test_a_timeout_ends_the_task_with_all_that_it_has_started(airflow, tmp_path):
    root = engines.slow(tmp_path / "slow")
    spec = root / "pipeline.yaml"
    spec.write_text(spec.read_text().replace("slow.txt}", "slow.txt}\n    timeout: 3600"))
    airflow.export(root, "late", "--set", "grace=-3590")
    assert airflow.run("late", code=1)["slow"] == "failed"
    [pids] = engines.tries(root)
    engines.await_true(lambda: not engines.alive(pids))


def test_the_docker_preset_runs_each_task_in_a_container(airflow, tmp_path):
    if reason := why_not():
        pytest.skip(reason)
    root, store = engines.grid(tmp_path / "grid"), tmp_path / "store"
    store.mkdir(mode=0o777)
    store.chmod(0o777)  # the image's user is nobody here
    with Podman() as podman, podman.service() as docker:
        options = f"{{docker_url: '{docker}', network_mode: host}}"
        told = (f"volumes={store}:/store", f"options={options}", "preset=docker")
        sets = [word for one in told for word in ("--set", one)]
        image = podman.image("grid")
        airflow.export_anywhere(root, "docker", "--image", image, "--store", "/store", *sets)
        assert set(airflow.run("docker").values()) == {"success"}
    assert not (root / "out").exists()
    assert "0 executed" in nbpipe("build", "--store", str(store), cwd=root)
    assert engines.digests(root) == engines.local_digests("grid")


def test_a_scheduler_runs_it_too(airflow, tmp_path):
    root = engines.grid(tmp_path / "grid")
    airflow.export(root, "scheduled")
    with airflow.scheduler():
        assert airflow.scheduled("scheduled")["state"] == "success"
    assert engines.digests(root) == engines.local_digests("grid")
    assert "0 executed" in nbpipe("build", cwd=root)
