"""make and doit, which run plain scripts."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import forms
from tests.benchmarks.peers.base import Site, Words
from tests.benchmarks.projects import Project

DODO = """\
TASKS = {tasks!r}


def task_build():
    for name, ups in TASKS.items():
        yield {{
            "name": name,
            "file_dep": [f"scripts/{{name}}.py", *[f"output/{{up}}.txt" for up in ups]],
            "targets": [f"output/{{name}}.txt"],
            "actions": [f"python scripts/{{name}}.py"],
        }}
"""


class Make:
    """The system's make; python is that of the bare environment."""

    name = "make"
    tool = "python"
    makes_notebooks = False
    at_once = True

    def write(self, project: Project, folder: Path) -> None:
        forms.write_plain(project, folder)
        rules = [f"all: {' '.join(step.data for step in project.steps)}\n.PHONY: all\n"]
        for step in project.steps:
            needed = " ".join(f"output/{up}.txt" for up in step.upstream)
            script = f"scripts/{step.name}.py"
            rules.append(f"{step.data}: {script} {needed}\n\tpython {script}\n")
        (folder / "Makefile").write_text("\n".join(rules), encoding="utf-8")

    def build(self, site: Site, jobs: int | None) -> Words:
        return ["make", *([f"-j{jobs}"] if jobs else [])]

    def adopt(self, project: Project, site: Site) -> None:
        """It looks at times alone, and the data were written in order."""


class Doit:
    """doit, with a process for each job."""

    name = "doit"
    tool = "doit"
    makes_notebooks = False
    at_once = True

    def write(self, project: Project, folder: Path) -> None:
        forms.write_plain(project, folder)
        tasks = {step.name: list(step.upstream) for step in project.steps}
        (folder / "dodo.py").write_text(DODO.format(tasks=tasks), encoding="utf-8")

    def build(self, site: Site, jobs: int | None) -> Words:
        return [site.bin / "doit", *(["-n", str(jobs)] if jobs and jobs > 1 else [])]

    def adopt(self, project: Project, site: Site) -> None:
        site.run([site.bin / "doit", "reset-dep"])
