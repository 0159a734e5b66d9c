"""A real SLURM on one machine: munge, a controller and a node with made-up cores, our own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
"""Where they are looked for; the daemons are not on everybody's path."""

PACKAGES = "slurm-wlm slurm-client munge"

CONF = """
ClusterName=nbpipe
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=bf_interval=1,sched_interval=2
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=other Nodes=ALL MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why there can be no SLURM here; None: there can."""
    if sys.platform != "linux":
        return "a SLURM of our own needs Linux"
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return f"no {', '.join(missing)}: install Debian's {PACKAGES}" if missing else None


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Slurm:
    """The cluster, up while the context lasts."""

    def __init__(self) -> None:
        # Not pytest's folder: munge wants nobody else to be able to write above its socket, whose
        # path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="nbpipe-slurm-"))
        self.environ = {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Slurm:
        self.folder.chmod(0o755)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        host = socket.gethostname().partition(".")[0]
        conf = CONF.format(
            host=host, folder=self.folder, user=getpass.getuser(), ports=_free_ports(2)
        )
        (self.folder / "slurm.conf").write_text(conf)
        try:
            self._start_munge()
            self._start("slurmctld", "-D")
            self._start("slurmd", "-D")
            self._await(lambda: "idle" in self.call("sinfo", "-h", "-o", "%T", check=False))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if len(self._processes) == 3:
            self.call("scancel", f"--user={getpass.getuser()}", check=False)
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_munge(self) -> None:
        key, socket_path = self.folder / "munge.key", self.folder / "munge.sock"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        files = [f"--{n}-file={self.folder}/munged.{n}" for n in ("pid", "log", "seed")]
        # --force: the folder for temporary files is one that everybody may write to.
        self._start(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={socket_path}",
            *files,
        )
        self._await(socket_path.exists)

    def _start(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.out").open("wb") as out:
            environ = {**os.environ, **self.environ}
            process = subprocess.Popen(
                command, env=environ, stdout=out, stderr=out, start_new_session=True
            )
        self._processes.append(process)

    def _await(self, what: object) -> None:
        assert callable(what)
        end = time.monotonic() + 60
        while not what():
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)

    def call(self, *command: str, check: bool = True) -> str:
        """What one of SLURM's commands prints."""
        environ = {**os.environ, **self.environ}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def said(self) -> str:
        """What its parts have said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.out")))
