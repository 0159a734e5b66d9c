"""Containers on one machine: a podman of our own, an image with nbpipe in it, pods, Docker's API.

What it takes where there is no Docker, no registry and no systemd (podman 4.3, Debian 12):

- Debian's podman, with runc as its runtime, catatonit for what holds a pod together, debootstrap
  for a base image; and root.
- Control groups without systemd (``cgroupfs``), the network of the host, since making another may
  not be allowed, and limits that are no higher than our own, since they cannot be raised: podman
  asks for a million open files and fails. All this goes into files of our own, which the variables
  ``CONTAINERS_CONF`` and ``CONTAINERS_STORAGE_CONF`` name, so the user's podman is left alone.
- The base image is Debian with python3-venv, by debootstrap and ``podman import``. Its pip knows
  no index but the folder ``/wheels``, which is there while an image is built. The base and the
  wheels (the versions that are installed here, so products have the same bytes) are kept in the
  user's cache; all else is removed at the end.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from tests.cli import nbpipe
from tests.engines import PIPELINES

PROGRAMS = ("podman", "runc", "debootstrap")
PACKAGES = "podman runc catatonit debootstrap"
VARIABLE = "NBPIPE_PODMAN"
BASE = "localhost/nbpipe-base:1"
SUITE = "bookworm"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEEDED = ("pandas", "scikit-learn", "matplotlib", "s3fs")
"""What the tasks of the iris pipeline import, and what the store in a bucket needs."""

CONF = """
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""

STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/images"
runroot = "{folder}/run"
"""

PIP = """
[global]
no-index = true
find-links = /wheels
disable-pip-version-check = true
root-user-action = ignore
"""

REPO = Path(__file__).parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nbpipe-tests"
USER = 1000
"""The user that an image's tasks run as: a folder that they write into must be open to it."""


def why_not() -> str | None:
    """Why there can be no containers here; None: there can."""
    if not os.environ.get(VARIABLE):
        return "minutes, and a podman of its own: run `make podman`"
    if sys.platform != "linux" or os.geteuid() != 0:
        return "make podman: needs root on Linux"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"make podman: no {', '.join(missing)}: install Debian's {PACKAGES}" if missing else None


class Podman:
    """A podman whose images, containers and settings are its own, while the context lasts."""

    def __init__(self) -> None:
        # Not pytest's folder: the path of a socket must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="nbpipe-podman-"))
        self.environ = {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }
        self._images: dict[str, str] = {}

    def __enter__(self) -> Podman:
        (self.folder / "containers.conf").write_text(CONF)
        (self.folder / "storage.conf").write_text(STORAGE.format(folder=self.folder))
        try:
            packed = _cached("base.tar.gz", _make_base)
            self.call("import", "--quiet", f"--change=ENV PATH={PATH}", str(packed), BASE)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.call("pod", "rm", "--all", "--force", "--time=0", check=False)
        self.call("rm", "--all", "--force", "--time=0", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, *args: str, check: bool = True, timeout: float = 900.0) -> str:
        """What ``podman ARGS`` prints, both streams joined; at most ``timeout`` seconds."""
        done = subprocess.run(
            ["podman", *args],
            env={**os.environ, **self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
            text=True,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def build(self, folder: Path, tag: str) -> str:
        """Build the Dockerfile of a folder, where pip finds the wheels; gives the image's name."""
        name = f"localhost/{tag}"
        wheels = _cached(f"wheels-{_pins_digest()}", _download_wheels)
        self.call("build", f"--volume={wheels}:/wheels:ro", f"--tag={name}", str(folder))
        return name

    def image(self, pipeline: str) -> str:
        """The name of an image with nbpipe and one of ``engines.PIPELINES`` in it."""
        if pipeline not in self._images:
            root = PIPELINES[pipeline](self.folder / "projects" / pipeline)
            self.prepare(root)
            self._images[pipeline] = self.build(root, f"nbpipe-{pipeline}:1")
        return self._images[pipeline]

    def prepare(self, root: Path, needed: tuple[str, ...] = NEEDED) -> None:
        """Write into a project what makes an image of it, by ``nbpipe export image``.

        Args:
            root: of the project.
            needed: packages, beside those of nbpipe.
        """
        wheel = Path(shutil.copy2(self._wheel, root))
        requirements = root / "requirements.txt"
        requirements.write_text("\n".join(needed) + "\n")
        os.utime(requirements, (0, 0))  # a layer is used again if all is equal
        told = ("--set", f"base={BASE}", "--set", f"wheel={wheel.name}", "--set", f"user={USER}")
        nbpipe("export", "image", "--to", ".", "--force", *told, cwd=root)

    @functools.cached_property
    def _wheel(self) -> Path:
        return _wheel(self.folder)

    @contextlib.contextmanager
    def service(self) -> Iterator[str]:
        """Docker's API while the context lasts; gives the value of ``DOCKER_HOST``."""
        socket = self.folder / "api.sock"
        with (self.folder / "service.log").open("wb") as log:
            service = subprocess.Popen(
                ["podman", "system", "service", "--time=0", f"unix://{socket}"],
                env={**os.environ, **self.environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            end = time.monotonic() + 60
            while not socket.exists():
                assert service.poll() is None, (self.folder / "service.log").read_text()
                assert time.monotonic() < end, "podman system service makes no socket"
                time.sleep(0.05)
            yield f"unix://{socket}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(service.pid, signal.SIGKILL)
            service.wait()
            socket.unlink(missing_ok=True)


# -- what is kept between runs -----------------------------------------------------------------


def _cached(name: str, make: object) -> Path:
    """A file or folder of the cache; ``make(path)`` makes it when it is not there."""
    assert callable(make)
    path = CACHE / name
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(dir=CACHE, prefix="making-"))
        try:
            make(place / name)
            with contextlib.suppress(OSError):  # another run was faster
                (place / name).rename(path)
        finally:
            shutil.rmtree(place)
    return path


def _make_base(path: Path) -> None:
    """A packed Debian with python3-venv in it."""
    root = path.parent / "root"
    _run("debootstrap", "--variant=minbase", "--include=python3-venv", SUITE, str(root))
    (root / "etc" / "pip.conf").write_text(PIP)
    leave_out = [f"--exclude=./var/{part}/*" for part in ("cache/apt", "lib/apt/lists", "log")]
    _run("tar", "-C", str(root), *leave_out, "--exclude=./usr/share/doc/*", "-czf", str(path), ".")


def _pins() -> list[str]:
    """The versions that are installed here."""
    ours = "nbpipe-kit"
    return sorted({f"{d.name}=={d.version}" for d in distributions() if d.name != ours})


def _pins_digest() -> str:
    return hashlib.sha256("\n".join((*_pins(), *NEEDED)).encode()).hexdigest()[:12]


def _download_wheels(path: Path) -> None:
    """The wheels of what nbpipe and the pipelines need, in the versions that are installed here."""
    pins = path.parent / "pins.txt"
    pins.write_text("\n".join(_pins()))
    ours = str(_wheel(path.parent))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    exact = ("--only-binary=:all:", f"--python-version={version}", f"--constraint={pins}")
    _run(sys.executable, "-m", "pip", "download", f"--dest={path}", *exact, ours, *NEEDED)
    for wheel in path.glob("nbpipe_kit-*"):
        wheel.unlink()


def _wheel(folder: Path) -> Path:
    """Make a wheel of nbpipe, as it is now, in a folder."""
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
    _run(*pip, f"--wheel-dir={folder}", str(REPO))
    (wheel,) = folder.glob("nbpipe_kit-*.whl")
    return wheel


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True
    )
    assert done.returncode == 0, f"{command[0]}:\n{done.stdout}"
