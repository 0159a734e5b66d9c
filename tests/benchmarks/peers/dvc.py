"""DVC, which runs plain scripts, one after the other."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks import forms
from tests.benchmarks.peers.base import Site, Words
from tests.benchmarks.projects import Project

CONFIG = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"


class Dvc:
    """A stage for each task in one dvc.yaml, without Git."""

    name = "DVC"
    tool = "dvc"
    makes_notebooks = False
    at_once = False

    def write(self, project: Project, folder: Path) -> None:
        forms.write_plain(project, folder)
        stages = {
            step.name: {
                "cmd": f"python scripts/{step.name}.py",
                "deps": [f"scripts/{step.name}.py", *[f"output/{u}.txt" for u in step.upstream]],
                "outs": [step.data],
            }
            for step in project.steps
        }
        text = json.dumps({"stages": stages}, indent=1)  # JSON is YAML
        (folder / "dvc.yaml").write_text(text, encoding="utf-8")
        (folder / ".dvc").mkdir()
        (folder / ".dvc" / "config").write_text(CONFIG, encoding="utf-8")

    def build(self, site: Site, jobs: int | None) -> Words:
        return [site.bin / "dvc", "repro", "-q"]

    def adopt(self, project: Project, site: Site) -> None:
        site.run([site.bin / "dvc", "commit", "-f", "-q"])
