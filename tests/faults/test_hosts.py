"""One project in a folder that two hosts share: each a set of namespaces with a name of its own.

A host here has its own host name, network and process ids, so that nothing but the folder and its
locks tells one of the other.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import ENV
from tests.faults.rig import until

UNSHARE = ["unshare", "--uts", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


def may_have_hosts() -> bool:
    """Whether this user may make namespaces."""
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not may_have_hosts(), reason="this user may not make a second host"),
]

SLOW = """\
import time
from pathlib import Path

def wait(product):
    while not Path("go").exists():
        time.sleep(0.02)
    Path(product).write_text("done")
"""


class Host:
    """A host on which commands run, all of them in one folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *args: str) -> subprocess.Popen[str]:
        """``nbpipe ARGS``, as a process that goes on."""
        command = shlex.join([sys.executable, "-m", "nbpipe", *args])
        process = subprocess.Popen(
            [*UNSHARE, "sh", "-c", f"hostname {self.name}; exec {command}"],
            cwd=self.folder,
            env=ENV,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def nbpipe(self, *args: str, code: int = 0) -> str:
        """``nbpipe ARGS``; returns what it printed."""
        process = self.start(*args)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == code, f"exit code {process.returncode}:\n{said}"
        return said

    def off(self) -> None:
        """The power fails: every process of the host is gone."""
        for process in self.started:
            process.kill()
            process.wait()
            process.stdout.close()
        self.started.clear()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts on one project, whose task ends when there is a file ``go``."""
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "pipeline.yaml").write_text("tasks:\n  - source: slow.wait\n    product: out.txt\n")
    pair = Host("alpha", tmp_path), Host("beta", tmp_path)
    yield pair
    for host in pair:
        host.off()


def building(host: Host) -> subprocess.Popen[str]:
    """A build on a host, whose task has begun."""
    build = host.start("build")
    records = host.folder / ".nbpipe/records"
    until(lambda: any('"started"' in p.read_text() for p in records.glob("*.json")))
    return build


def test_row_31_the_holder_on_another_host_is_named_and_not_disturbed(hosts):
    alpha, beta = hosts
    build = building(alpha)
    said = beta.nbpipe("build", code=3)
    assert "on alpha, since" in said
    assert "--wait" in said
    assert "runs on alpha" in beta.nbpipe("cancel", code=2)
    assert "the last run did not end" in beta.nbpipe("why", "wait")
    (alpha.folder / "go").touch()
    assert build.wait(30) == 0
    assert "nothing to do" in beta.nbpipe("build")


def test_a_build_that_waits_for_another_host_goes_on_after_it(hosts):
    alpha, beta = hosts
    build = building(alpha)
    waiting = beta.start("build", "--wait")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(1.5)
    (alpha.folder / "go").touch()
    assert build.wait(30) == 0
    assert "nothing to do" in waiting.communicate(timeout=30)[0]
    assert waiting.returncode == 0


def test_a_holder_that_died_with_its_host_blocks_nobody(hosts):
    alpha, beta = hosts
    building(alpha)
    alpha.off()
    note = json.loads((alpha.folder / ".nbpipe/holder.json").read_text())
    assert note["host"] == "alpha", "its note stays behind"
    assert "pid 1 on alpha) died" in beta.nbpipe("watch", code=130)
    (alpha.folder / "go").touch()
    assert "1 executed" in beta.nbpipe("build")


def test_who_waits_for_a_host_that_dies_goes_on(hosts):
    alpha, beta = hosts
    building(alpha)
    waiting = beta.start("build", "--wait")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(1.5)
    alpha.off()
    (alpha.folder / "go").touch()
    assert "1 executed" in waiting.communicate(timeout=30)[0]
    assert waiting.returncode == 0


def test_two_containers_of_one_name_do_not_take_each_other_for_dead(hosts):
    """The pid in the note means nothing in another container: the lock decides."""
    alpha, beta = hosts
    beta.name = alpha.name
    build = building(alpha)
    assert "another build holds this pipeline" in beta.nbpipe("build", code=3)
    build.send_signal(signal.SIGKILL)
    build.wait()
    (alpha.folder / "go").touch()
    assert "1 executed" in beta.nbpipe("build")
