"""Exporter of a container image: a Dockerfile, and what is kept out of the image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from nbpipe.errors import UsageError
from nbpipe.exporters.base import REQUIREMENTS, ExportSettings, GraphDocument

HEAD = """\
# The project with its packages, for machines that run tasks in containers.
# Made by nbpipe export image. Build it in the project's folder:
#   docker build -t {image} .

FROM {base} AS packages
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
"""

REQUIREMENTS_LAYER = """\
COPY ["{path}", "./{name}"]
RUN pip install --no-cache-dir -r {name}
"""

PYPROJECT_LAYER = """\
COPY ["{path}", "./{name}"]
RUN python -c "import tomllib; \\
project = tomllib.load(open('{name}', 'rb'))['project']; \\
print(*project.get('dependencies', []), sep='\\n')" > requirements.txt \\
 && pip install --no-cache-dir -r requirements.txt
"""

WHEEL_LAYER = """\
COPY ["{path}", "./"]
RUN pip install --no-cache-dir ./{name}
"""

TAIL = """\
# Without nbpipe there is no image.
RUN nbpipe --version

FROM {base}
RUN groupadd --gid {user} nbpipe \\
 && useradd --create-home --uid {user} --gid {user} nbpipe \\
 && install -d -o nbpipe -g nbpipe /project
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH HOME=/home/nbpipe
WORKDIR /project
COPY --chown={user}:{user} [".", "./"]
USER {user}:{user}
CMD ["nbpipe", "build"]
"""

SECRETS = (
    "**/.env",
    "**/.env.*",
    "**/.envrc",
    "**/*.env",
    "**/*.pem",
    "**/*.key",
    "**/*.p12",
    "**/*.pfx",
    "**/*.kdbx",
    "**/id_dsa",
    "**/id_ecdsa",
    "**/id_ed25519",
    "**/id_rsa",
    "**/.ssh",
    "**/.aws",
    "**/.azure",
    "**/.config/gcloud",
    "**/.docker",
    "**/.git-credentials",
    "**/.gnupg",
    "**/.kaggle",
    "**/.kube",
    "**/.netrc",
    "**/.npmrc",
    "**/.pgpass",
    "**/.pypirc",
    "**/credentials",
    "**/credentials.*",
    "**/*credentials*.json",
    "**/secrets",
    "**/secrets.*",
    "**/*.secret",
    "**/service-account*.json",
)
"""Files that often have a password or a key in them."""

LEFTOVERS = (
    "**/.git",
    "**/.nbpipe",
    "**/.ipynb_checkpoints",
    "**/__pycache__",
    "**/.*_cache",
    "**/.venv",
    "**/venv",
    ".dockerignore",
    "Dockerfile",
)
"""What a task has no use for."""


class ImageSettings(ExportSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the exporter of an image can be told, beside the image's name.

    Attributes:
        base: image to start from; it has Python 3.11 or later as ``python3``, with ``venv``, and
            ``useradd``. One named by digest makes the build repeatable.
        requirements: path of the file that says what to install, relative to the project's
            folder; None: the first of :data:`~nbpipe.exporters.base.REQUIREMENTS` that is there.
        wheel: path of a wheel of nbpipe in the project's folder; None: the requirements name it.
        user: number of the user that the tasks run as.
    """

    base: str = "python:3.12-slim"
    requirements: str | None = None
    wheel: str | None = None
    user: int = 1000


class ImageExporter:
    """Writes ``Dockerfile`` and ``.dockerignore``, which belong into the project's folder."""

    settings = ImageSettings

    def export(self, document: GraphDocument, settings: ImageSettings) -> dict[str, str]:
        """The files' texts by their names.

        Raises:
            UsageError: nothing says what to install, or a setting does not fit.
        """
        _refuse_unused(settings)
        return {
            "Dockerfile": _dockerfile(document, settings),
            ".dockerignore": _ignored(document),
        }


def _refuse_unused(settings: ImageSettings) -> None:
    """What would be written into the image for everybody to read, or into nothing at all."""
    for key in ("environ", "store"):
        if getattr(settings, key):
            what = f"an image is given no '{key}': it could be read out of it"
            raise UsageError(what, "say it where the tasks are run, such as in export argo")
    if settings.user == 0:
        raise UsageError("an image's tasks do not run as root", "give another --set user=NUMBER")


def _dockerfile(document: GraphDocument, settings: ImageSettings) -> str:
    base = _plain("base", settings.base)
    named = re.sub(r"[^a-z0-9]+", "-", document.name.lower()).strip("-") or "project"
    image = _plain("image", settings.image or named)
    requirements = settings.requirements or next(iter(document.requirements), None)
    if requirements is None:
        files = ", ".join(REQUIREMENTS)
        hint = "make one with pip freeze, or name yours with --set requirements=FILE"
        raise UsageError(f"nothing says what to install: none of {files} is there", hint)
    layer = PYPROJECT_LAYER if requirements.endswith(".toml") else REQUIREMENTS_LAYER
    text = HEAD.format(image=image, base=base) + _layer(layer, "requirements", requirements)
    if settings.wheel is not None:
        text += _layer(WHEEL_LAYER, "wheel", settings.wheel)
    return text + TAIL.format(base=base, user=settings.user)


def _layer(layer: str, key: str, said: str) -> str:
    path = PurePosixPath(_plain(key, said))
    if path.is_absolute() or ".." in path.parts:
        raise UsageError(f"setting '{key}': '{said}' is not in the project's folder")
    return layer.format(path=path, name=path.name)


def _plain(key: str, said: str) -> str:
    """A text that a Dockerfile does not take for anything else."""
    if not re.fullmatch(r"[\w./:@+-]+", said, re.ASCII):
        raise UsageError(f"setting '{key}': '{said}' has characters that a Dockerfile cannot have")
    return said


def _ignored(document: GraphDocument) -> str:
    products = {path for task in document.tasks for path in task.products.values()}
    parts = {
        "Secrets": SECRETS,
        "Leftovers": LEFTOVERS,
        "Products: a task makes them, or the store has them": _patterns(products),
    }
    return "\n".join("\n".join((f"# {title}", *lines, "")) for title, lines in parts.items())


def _patterns(paths: Iterable[str]) -> list[str]:
    """Patterns that mean just these paths, of those that are in the project's folder."""
    inside = sorted(p for p in paths if not p.startswith(("/", "..")))
    return [re.sub(r"([\\*?\[\]]|^[!#])", r"\\\1", path) for path in inside]
