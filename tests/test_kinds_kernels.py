"""Scripts in R and R Markdown, and a notebook in bash: kernels that are not Python's."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from nbpipe import Pipeline

pytestmark = pytest.mark.kernel


@pytest.fixture
def r_project(tmp_path: Path) -> Path:
    """A function, a script in R and a report in R Markdown; without R the test is skipped."""
    from jupyter_client.kernelspec import KernelSpecManager

    has_r = "ir" in KernelSpecManager().find_kernel_specs()
    if not has_r and not os.environ.get("NBPIPE_REQUIRE_R"):
        pytest.skip("R's kernel is Debian's r-cran-irkernel: make r")
    for name, text in R_FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


R_SPEC = """\
tasks:
  - {source: tasks.start, product: out/start.csv}
  - source: clean.R
    product: {nb: out/clean.ipynb, data: out/clean.csv}
    params: {names: [a, b], limit: 2, flag: true, nothing: null, deep: {x: [1, 2], y: "q'\\"u"}}
  - {source: report.Rmd, product: {nb: out/report.ipynb, data: out/report.txt}}
"""

R_FILES = {
    "pipeline.yaml": R_SPEC,
    "tasks.py": "from pathlib import Path\n\n\ndef start(product):\n"
    '    Path(product).write_text("x,y\\n1,a\\n2,b\\n3,c\\n")\n',
    "clean.R": """\
# + tags=["parameters"]
upstream <- list('start')
product <- NULL
names <- NULL
limit <- NULL
flag <- NULL
nothing <- 1
deep <- NULL

# +
rows <- read.csv(upstream[["start"]])
stopifnot(flag, is.null(nothing), deep$x[[2]] == 2, deep$y == "q'\\"u", names[[2]] == "b")
rows <- rows[rows$x >= limit, ]
write.csv(rows, product[["data"]], row.names = FALSE)
""",
    "report.Rmd": """\
---
title: report
---

```{r tags=c("parameters")}
upstream <- list("clean")
product <- NULL
```

Some text.

```{r}
rows <- read.csv(upstream$clean$data)
writeLines(paste(rows$y, collapse = " "), product$data)
```
""",
}


def test_r_and_r_markdown_are_given_their_params_in_r(r_project: Path) -> None:
    """Without a kernel in the source or the spec: the language says it."""
    report = Pipeline.load(r_project).build()
    assert report.ok, report
    assert (r_project / "out/report.txt").read_text() == "b c\n"
    executed = json.loads((r_project / "out/clean.ipynb").read_text())
    assert executed["metadata"]["kernelspec"]["name"] == "ir"
    assert Pipeline.load(r_project).build().named("ran") == ()
    text = R_FILES["clean.R"].replace("rows$x >= limit", "rows$x > limit")
    (r_project / "clean.R").write_text(text)
    assert sorted(Pipeline.load(r_project).build().named("ran")) == ["clean", "report"]
    assert (r_project / "out/report.txt").read_text() == "c\n"


def test_an_error_in_r_is_told_with_its_line(r_project: Path) -> None:
    (r_project / "clean.R").write_text(R_FILES["clean.R"] + 'stop("no rows left")\n')
    failure = Pipeline.load(r_project).build().tasks["clean"].failure
    assert "no rows left" in failure.message
    assert failure.file == "clean.R"


def test_a_notebook_in_bash_is_given_its_params(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bash_kernel", reason="the kernel comes with the test extra")
    argv = [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"]
    kernel = {"argv": argv, "display_name": "Bash", "language": "bash"}
    (tmp_path / "share/kernels/bash").mkdir(parents=True)
    (tmp_path / "share/kernels/bash/kernel.json").write_text(json.dumps(kernel))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    cells = ["echo $word > $product", "cat $product"]
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "bash", "display_name": "Bash", "language": "bash"}},
        "cells": [
            {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": text, "outputs": []}
            | {"execution_count": None}
            for n, text in enumerate(cells)
        ],
    }
    (tmp_path / "say.ipynb").write_text(json.dumps(notebook))
    (tmp_path / "pipeline.yaml").write_text(
        "tasks:\n- {source: say.ipynb, class: ScriptRunner, product: out.txt,"
        " params: {word: hello}}\n"
    )
    report = Pipeline.load(tmp_path).build()
    assert report.ok, report
    assert (tmp_path / "out.txt").read_text() == "hello\n"
