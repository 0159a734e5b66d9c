"""Workflows of Argo, walked: each task is a pod of the project's image, on podman."""

from __future__ import annotations

import pytest

from tests import engines
from tests.argo_walk import STORE, Workflow, export, play, volume
from tests.cli import nbpipe
from tests.podman_rig import BASE, Podman

pytestmark = pytest.mark.process

FAILS = """
# %% tags=["parameters"]
upstream = ["square-3"]
product = None

# %%
print("this far")

# %%
raise ValueError("as told")
"""

FAILING = """
  - source: fails.py
    product: {nb: out/fails.ipynb}
    retries: 1
  - source: work.after
    product: out/after.txt
"""


AFTER = """


def after(product, upstream):
    Path(product).write_text(upstream["fails"])
"""


@pytest.mark.parametrize("name", engines.PIPELINES)
def test_pods_make_what_a_local_build_makes_and_a_second_run_skips_all(podman, tmp_path, name):
    root = engines.PIPELINES[name](tmp_path / name)
    workflow = Workflow(export(root, podman.image(name)))
    store = volume(podman)

    first = workflow.run(podman)
    assert {end.code for end in first} == {0}, first
    assert all("1 executed, 0 skipped" in end.log for end in first)

    again = workflow.run(podman)
    assert [end.task for end in again] == [end.task for end in first]
    assert all(f"{end.task}: up to date in {STORE}" in end.log for end in again)

    assert "0 executed" in nbpipe("build", "--store", str(store), cwd=root)
    assert engines.digests(root) == engines.local_digests(name)


def test_with_force_a_pod_runs_what_is_fresh(podman, tmp_path):
    root = engines.grid(tmp_path / "grid")
    file = export(root, podman.image("grid"))
    volume(podman)
    for force, runs in (("false", True), ("false", False), ("true", True)):
        pod = Workflow(file, {"force": force}).pod("square-1")
        assert ("1 executed" in play(podman, pod).log) == runs


def test_a_failing_task_fails_its_pod_is_tried_again_and_leaves_its_notebook(podman, tmp_path):
    root = engines.grid(tmp_path / "failing")
    (root / "fails.py").write_text(FAILS)
    with (root / "pipeline.yaml").open("a") as file:
        file.write(FAILING)
    with (root / "work.py").open("a") as file:
        file.write(AFTER)
    podman.prepare(root)
    workflow = Workflow(export(root, podman.build(root, "failing:1")))
    store = volume(podman)

    ended = workflow.run(podman)

    codes = [(end.task, end.code) for end in ended if end.task in ("fails", "after")]
    assert codes == [("fails", 1), ("fails", 1)]
    assert {end.code for end in ended if end.task != "fails"} == {0}
    assert all("as told" in end.log for end in ended if end.task == "fails")
    kept = list(store.glob("runs/*/*fails*.ipynb"))
    assert len(kept) == 2
    assert all("this far" in notebook.read_text() for notebook in kept)


def test_a_pod_has_no_more_memory_than_its_task_asks_for(podman: Podman, tmp_path):
    root = engines.grid(tmp_path / "grid")
    spec = (root / "pipeline.yaml").read_text()
    wish = spec.replace(
        "name: square-[[n]]", "name: square-[[n]]\n    resources: {memory: 200 MiB}"
    )
    (root / "pipeline.yaml").write_text(wish)
    volume(podman)
    pod = Workflow(export(root, BASE)).pod("square-1")
    limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"
    pod["spec"]["containers"][0]["command"] = ["sh", "-c", f"{limit}; true"]
    assert play(podman, pod).log.split() == [f"{200 * 2**20}"]
