"""A folder as a store, as tests look into it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.projects import Project


def products(project: Project) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((project.root / "out").glob("*.txt"))}


def object_of(project: Project, path: str, url: str) -> Path:
    """Where a folder keeps the bytes of a product."""
    digest = hashlib.sha256((project.root / path).read_bytes()).hexdigest()
    return Path(url) / "objects" / digest[:2] / digest
