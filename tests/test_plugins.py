"""What other packages add: found by name, imported late, and named when it is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nbpipe import plugins
from nbpipe.errors import UsageError
from nbpipe.run.engines import named_executor

PACKAGE = """
from nbpipe import InlineExecutor
from tests.projects import fake_work


class Cluster(InlineExecutor):
    def __init__(self, queue="all"):
        super().__init__(fake_work)
        self.queue = queue
"""

POINTS = """
[nbpipe.executors]
cluster = cluster_package:Cluster
broken = no_such_package_of_ours:Executor
gone = cluster_package:Gone
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> None:
    """An installed package that offers executors."""
    place = tmp_path / "site"
    info = place / "cluster_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cluster-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (place / "cluster_package.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(place)
    monkeypatch.delitem(sys.modules, "cluster_package", raising=False)


def test_what_a_package_offers_is_found_without_importing_it(package):
    assert plugins.names(plugins.EXECUTORS) == sorted(
        {"broken", "cluster", "gone", *plugins.BUILT_IN[plugins.EXECUTORS]}
    )
    assert "cluster_package" not in sys.modules


def test_what_is_named_is_imported_and_given_its_settings(package):
    assert named_executor("cluster", {"queue": "long"}).queue == "long"


@pytest.mark.parametrize(
    ("name", "settings", "message", "hint"),
    [
        ("clutser", {}, "no executor 'clutser'", "did you mean 'cluster'? installed: "),
        ("zzz", {}, "no executor 'zzz'", "installed: broken, cluster"),
        ("cluster", {"queu": "x"}, "executor 'cluster' has no setting 'queu'", "did you mean"),
        ("broken", {}, "executor 'broken' cannot be loaded: No module named", ""),
        ("gone", {}, "executor 'gone' is not what its package says", "cluster_package:Gone"),
    ],
)
def test_what_cannot_be_had_is_told_with_what_can(package, name, settings, message, hint):
    with pytest.raises(UsageError) as caught:
        named_executor(name, settings)
    assert caught.value.message.startswith(message)
    assert hint in (caught.value.hint or "")


def test_this_machine_runs_tasks_when_nothing_else_is_named():
    assert named_executor(None, {}) is None
    assert named_executor("local", {}) is None
    with pytest.raises(UsageError, match="setting 'queue'"):
        named_executor(None, {"queue": "long"})


@pytest.mark.parametrize(
    ("group", "name"), [(g, n) for g, table in plugins.BUILT_IN.items() for n in table]
)
def test_everything_that_is_built_in_can_be_loaded(group, name):
    assert plugins.load(group, name) is not None


def test_a_build_runs_its_tasks_on_the_executor_that_is_named(package, diamond):
    report = diamond.pipeline().build(executor="cluster")
    assert len(report.named("ran")) == 4
    assert diamond.build() == []
