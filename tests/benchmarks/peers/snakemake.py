"""Snakemake, which runs plain scripts through the shell."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import forms
from tests.benchmarks.peers.base import Site, Words
from tests.benchmarks.projects import Project

RULE = """\
rule {name}:
    input: {inputs}
    output: "{data}"
    shell: "python scripts/{name}.py"
"""


class Snakemake:
    """A rule for each task."""

    name = "Snakemake"
    tool = "snakemake"
    makes_notebooks = False
    at_once = True

    def write(self, project: Project, folder: Path) -> None:
        forms.write_plain(project, folder)
        rules = [f"rule all:\n    input: {[step.data for step in project.steps]!r}\n"]
        for step in project.steps:
            paths = [f"scripts/{step.name}.py", *[f"output/{up}.txt" for up in step.upstream]]
            inputs = ", ".join(f'"{path}"' for path in paths)
            rules.append(RULE.format(name=step.name, inputs=inputs, data=step.data))
        (folder / "Snakefile").write_text("\n".join(rules), encoding="utf-8")

    def build(self, site: Site, jobs: int | None) -> Words:
        return [site.bin / "snakemake", "--cores", str(jobs or 1), "--quiet", "all"]

    def adopt(self, project: Project, site: Site) -> None:
        site.run([site.bin / "snakemake", "--cores", "1", "--quiet", "all", "--touch"])
