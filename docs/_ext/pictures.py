"""The site's pictures of pipelines, drawn by nbpipe from real folders, in no kernel at all."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from blocks import blocks

from nbpipe import InlineExecutor, Pipeline
from nbpipe.core.model import Job
from nbpipe.store.specfile import read_spec

CAPTION = re.compile(r"(?P<file>\S+)(?: \((?P<how>append|replace upstream)\))?$")


def draw_all(target: Path, docs: Path) -> None:
    """Write every picture into a folder.

    Args:
        target: the folder; made when it is missing.
        docs: folder of the pages; the demo project lies beside it.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _write(target / "iris.svg", _iris(docs.parent / "demo", Path(folder, "iris")))
    with tempfile.TemporaryDirectory() as folder:
        _tutorial(target, docs / "tutorial", Path(folder, "iris"))


def _iris(demo: Path, folder: Path) -> bytes:
    """The demo as it looks after a build and an edit of ``fit``."""
    shutil.copytree(demo, folder, ignore=shutil.ignore_patterns("output", ".nbpipe"))
    Pipeline.load(folder).build(executor=InlineExecutor(_write_products))
    with (folder / "scripts" / "fit.py").open("a", encoding="utf-8") as script:
        script.write("\n# %%\nprint(scores)\n")
    return Pipeline.load(folder).plot(".svg")


def _tutorial(target: Path, pages: Path, folder: Path) -> None:
    """The tutorial's pipeline before and after its scripts name their upstreams."""
    listed = blocks(pages / "wire.md")
    folder.mkdir()
    for block in (b for b in listed if b.caption == "pipeline.yaml"):
        (folder / "pipeline.yaml").write_text(block.text, encoding="utf-8")
    for task in read_spec(folder / "pipeline.yaml", sources=False).tasks:
        (folder / task.source).parent.mkdir(exist_ok=True)
        (folder / task.source).write_text("# %%\nupstream = None\n", encoding="utf-8")
    _write(target / "tutorial-loose.svg", Pipeline.load(folder).plot(".svg"))
    for block in listed:
        match = CAPTION.match(block.caption)
        if match and match["how"] == "replace upstream":
            (folder / match["file"]).write_text(f"# %%\n{block.text}", encoding="utf-8")
    _write(target / "tutorial-wired.svg", Pipeline.load(folder).plot(".svg"))


def _write_products(job: Job) -> None:
    products = job.product if isinstance(job.product, dict) else {"": job.product or ""}
    for path in products.values():
        if path and path != job.result:
            Path(job.root, path).write_text(job.task, encoding="utf-8")


def _write(path: Path, content: bytes) -> None:
    """Only when it changed: a page that shows it is then not built again."""
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
