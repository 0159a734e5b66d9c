"""Small projects, built in this process by a fake that stands for the kernels."""

from __future__ import annotations

import contextlib
import textwrap
import threading
from pathlib import Path

import yaml

from nbpipe import InlineExecutor, Pipeline
from nbpipe.core.model import Job

WORKING = threading.Lock()
"""The current folder is the process's, not a thread's: one task at a time."""


def fake_work(job: Job) -> None:
    """Stands for a kernel: runs the notebook's cells with ``exec``, in the root folder."""
    with WORKING, contextlib.chdir(job.root):
        scope: dict[str, object] = {}
        for cell in job.notebook["cells"]:
            if cell["cell_type"] == "code":
                text = cell["source"]
                exec(text if isinstance(text, str) else "".join(text), scope)


class Project:
    """A folder with a pipeline.yaml and scripts, and builds that count what ran."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.executor = InlineExecutor(fake_work)
        self.tasks: list[dict[str, object]] = []
        self.meta: dict[str, object] = {}

    def task(self, name: str, upstream: list[str] | None = None, code: str = "", **entry) -> None:
        """Add a task whose script writes its upstreams' data and a constant, then ``code``."""
        product = {"nb": f"out/{name}.ipynb", "data": f"out/{name}.txt"}
        self.tasks.append({"source": f"{name}.py", "product": product, **entry})
        self.write(f"{name}.py", self.text(upstream, code))
        self.save()

    @staticmethod
    def text(upstream: list[str] | None, code: str = "") -> str:
        return (
            f'# %% tags=["parameters"]\nupstream = {upstream!r}\nproduct = None\n\n'
            "# %%\nfrom pathlib import Path\n"
            'constant = "one"\n'
            'seen = [Path(up["data"]).read_text() for up in (upstream or {}).values()]\n'
            f"{textwrap.dedent(code)}\n"
            'Path(product["data"]).write_text(constant + "".join(seen))\n'
        )

    def save(self) -> None:
        spec = {"meta": self.meta, "tasks": self.tasks} if self.meta else {"tasks": self.tasks}
        self.write("pipeline.yaml", yaml.safe_dump(spec, sort_keys=False))

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        made = target.with_name(f".{target.name}.new")
        made.write_text(text, encoding="utf-8")
        made.replace(target)

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text(encoding="utf-8")
        assert old in text
        self.write(path, text.replace(old, new))

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def pipeline(self) -> Pipeline:
        return Pipeline.load(self.root)

    def report(self, *names: str, **options):
        return self.pipeline().build(*names, executor=self.executor, **options)

    def build(self, *names: str, **options) -> list[str]:
        """The tasks that ran, sorted; the build went well and left everything fresh."""
        report = self.report(*names, **options)
        assert report.ok, report
        return sorted(report.named("ran"))
