"""The kernel provisioner ``nbpipe-fork``: kernels are forked from a warm process.

Every client of jupyter_client can use it: a kernel's specification names it under
``metadata: {"kernel_provisioner": {"provisioner_name": "nbpipe-fork"}}``. What cannot be forked is
started cold.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Any

from jupyter_client.provisioning import LocalProvisioner
from traitlets import List, Unicode

from nbpipe.kernels.forkserver import NoFork, Streams
from nbpipe.kernels.pool import Pool
from nbpipe.kernels.process import ForkedProcess
from nbpipe.kernels.starts import Starter, shared_starter
from nbpipe.kernels.trunk import Launch, Start


class ForkProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Forks ipykernels of this environment; starts all others as jupyter_client does.

    Attributes:
        preload: modules that every kernel finds imported.
        starter: decides and forks; None: one that all kernels of this process share.
        imports: what the kernel's notebook imports first.
        refused: why it must not be forked; None: it may.
        pool: spare kernels for what cannot be forked; None: there are none.
        start: how the kernel was started, and why.
        info: what the kernel says of itself, when it can be connected to; None: it must be asked.
        heartbeat: whether a client may want to hear that a forked kernel lives.
    """

    preload = List(Unicode(), config=True, help="Modules that every kernel finds imported.")
    process: ForkedProcess | subprocess.Popen[str] | None = None
    starter: Starter | None = None
    imports: tuple[str, ...] = ()
    refused: str | None = None
    pool: Pool | None = None
    start = Start("cold", "it has not been launched")
    info: dict[str, Any] | None = None
    heartbeat = True

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        """Fork the kernel, or start it cold where that is not possible."""
        starter = self.starter or shared_starter(tuple(self.preload))
        launch = Launch(
            cmd, _folder(kwargs), _environ(kwargs), self.imports, heartbeat=self.heartbeat
        )
        try:
            if self.refused is not None:
                raise NoFork(self.refused)
            streams = Streams(
                _descriptor(kwargs.get("stdout"), 1), _descriptor(kwargs.get("stderr"), 2)
            )
            self.process, self.start = await starter.fork(launch, streams)
            self.info = self.process.info
        except NoFork as error:
            spare = self.pool and self.pool.take(launch, _path(kwargs.get("stdout")))
            self.start = Start("pool" if spare else "cold", str(error))
            if not spare:
                return await super().launch_kernel(cmd, **kwargs)  # type: ignore[no-any-return]
            self.process = spare
        assert self.process is not None
        self.pid = self.pgid = self.process.pid  # each leads a session of its own
        self.cwd = launch.folder
        return self.connection_info  # type: ignore[no-any-return]

    async def wait(self) -> int | None:
        """Wait until the kernel has ended, without polling."""
        if not isinstance(self.process, ForkedProcess):
            return await super().wait()  # type: ignore[no-any-return]
        code = await self.process.ended()
        self.process = None
        return code


def _descriptor(stream: Any, ours: int) -> int:
    """The number of a stream as ``subprocess.Popen`` takes it; ours, where none is given.

    Raises:
        NoFork: it asks for a pipe.
    """
    if stream is None:
        return ours
    number = stream if isinstance(stream, int) else stream.fileno()
    if number < 0:
        raise NoFork("its output goes to a pipe")
    return int(number)


def _path(stream: Any) -> str | None:
    """The file that a stream writes to; None: it cannot be told."""
    name = getattr(stream, "name", None)
    return os.path.abspath(name) if isinstance(name, str) else None


def _folder(kwargs: Mapping[str, Any]) -> str:
    return os.path.abspath(kwargs.get("cwd") or os.getcwd())


def _environ(kwargs: Mapping[str, Any]) -> dict[str, str]:
    return {**(kwargs.get("env") or os.environ), "JPY_PARENT_PID": str(os.getpid())}
