"""A real S3 server on loopback, and a connection to it that can be cut."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

KEY, SECRET = "nbpipe-tests", "a-secret-for-tests-only"


def weed() -> str:
    """The server's program: the wheel puts it beside the interpreter."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found, "no weed: install the extra 'test'"
    return found


def free_ports(count: int) -> list[int]:
    """Ports that are free, with the ones 10,000 above, where the server's parts also listen."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in range(21000 + os.getpid() % 20000, 52000):
            with contextlib.suppress(OSError):
                for number in (port, port + 10000):
                    held = stack.enter_context(socket.socket())
                    held.bind(("127.0.0.1", number))
                found.append(port)
            if len(found) == count:
                return found
    raise AssertionError("no free ports")


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run the server with its data in a folder; gives its address."""
    master, volume, filer, s3 = free_ports(4)
    command = [weed(), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
    command += ["-s3", f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += ["-master.telemetry=false"]
    command += ["-master.volumeSizeLimitMB=256", "-volume.max=20"]
    environ = {**os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environ, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{s3}"
        _await_ready(address, process, folder / "log")
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for port in (master, volume, filer, s3):  # its sockets for itself, wherever TMPDIR is
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()
            for left in Path("/tmp").glob(f"seaweedfs-*-{port + 10000}.sock"):
                left.unlink()


def _await_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it stores an object: its port opens before its parts have found each other."""
    import s3fs

    end = time.monotonic() + 60
    while True:
        try:
            fs = s3fs.S3FileSystem(
                key=KEY, secret=SECRET, endpoint_url=address, skip_instance_cache=True
            )
            fs.pipe_file("nbpipe-ready/object", b"ready")
            return
        except Exception:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)


class Cutter:
    """A TCP proxy that resets connections after so many bytes to the server.

    Args:
        address: of the server, ``http://host:port``.

    Attributes:
        after: bytes to the server after which a connection is cut; None: never.
        cuts: how many connections are still to be cut.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.after: int | None = None
        self.cuts = 0
        self.made = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, to_server: bool) -> None:
        seen = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                seen += len(data)
                if to_server and self.after is not None and seen > self.after and self.cuts > 0:
                    self.cuts -= 1
                    self.made += 1
                    for end in (source, target):
                        # A reset, as of a cable that is pulled, not an orderly end.
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
