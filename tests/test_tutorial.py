"""The customer's tutorial, step by step, with its own text, on the iris data and real kernels."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from tests.cli import nbpipe

SEED = Path(__file__).parents[2] / "shared" / "seed" / "ploomber-scipy-2021.md"

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not SEED.exists(), reason=f"the tutorial's text is not here: {SEED}"),
]

TASKS = ["get", "feature-sepal", "feature-petal", "fit"]


def blocks() -> tuple[str, dict[str, str], str]:
    """The tutorial's pipeline.yaml, the code for each script, and the cell added to fit."""
    text = SEED.read_text(encoding="utf-8")
    spec = re.findall(r"```yaml\n(.*?)```", text, re.S)[1]
    code = dict(
        re.findall(r"### `playground/scripts/([\w-]+)\.py`\n\n```python\n(.*?)```", text, re.S)
    )
    (added,) = re.findall(r"```python\n(# add this at the bottom.*?)```", text, re.S)
    return spec, code, added


def result(output: str) -> dict[str, str]:
    """The summary table: for each task whether it ran."""
    return {m[1]: m[2] for m in re.finditer(r"^([\w-]+) +(yes|no) ", output, re.M)}


def add_cell(script: Path, code: str) -> None:
    with script.open("a", encoding="utf-8") as file:
        file.write(f"\n# %%\n{code}")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def states(folder: Path) -> dict[str, str]:
    status = json.loads(nbpipe("status", "--json", cwd=folder))
    return {row["task"]: row["state"] for row in status["tasks"]}


def edges(folder: Path) -> int:
    nbpipe("plot", "-o", "pipeline.mmd", cwd=folder)
    return (folder / "pipeline.mmd").read_text(encoding="utf-8").count("-->")


def test_the_tutorial(tmp_path):
    """Every step that the tutorial's reader takes, and what the tutorial says they see."""
    spec, code, added = blocks()
    folder = tmp_path / "playground"
    folder.mkdir()
    scripts, output = folder / "scripts", folder / "output"
    (folder / "pipeline.yaml").write_text(spec, encoding="utf-8")

    # "let's ask to generate some base files for us"
    said = nbpipe("scaffold", cwd=folder)
    assert sorted(p.stem for p in scripts.iterdir()) == sorted(TASKS)
    assert said.count("created scripts/") == 4
    assert "nothing to create" in nbpipe("scaffold", cwd=folder)

    # "ensure that our pipeline is appropriately recognized"
    said = nbpipe("status", cwd=folder)
    assert all(task in said for task in TASKS)
    assert max(map(len, said.splitlines())) <= 80
    assert states(folder) == dict.fromkeys(TASKS, "new")

    # "Our pipeline doesn't have any structure yet"
    nbpipe("plot", cwd=folder)
    with Image.open(folder / "pipeline.png") as picture:
        before = picture.tobytes()
    assert edges(folder) == 0

    # "change `upstream = None` to `upstream = ['get']`"
    for task in TASKS[1:]:
        ups = ["get"] if task != "fit" else TASKS[:3]
        edit(scripts / f"{task}.py", "upstream = None", f"upstream = {ups!r}")
    nbpipe("plot", cwd=folder)
    with Image.open(folder / "pipeline.png") as picture:
        assert picture.tobytes() != before
    assert edges(folder) == 5

    # "make sure you add the code in a new cell at the end of the notebook"
    for task in TASKS:
        add_cell(scripts / f"{task}.py", code[task])

    # "We can now run our pipeline"
    said = nbpipe("build", cwd=folder)
    assert result(said) == dict.fromkeys(TASKS, "yes")
    assert "4 executed, 0 skipped" in said
    made = {f"{task}.ipynb" for task in TASKS} | {f"{task}.csv" for task in TASKS[:3]}
    assert {p.name for p in output.iterdir()} == made | {"model.pickle"}
    for task in TASKS:
        notebook = nbformat.read(output / f"{task}.ipynb", as_version=4)
        nbformat.validate(notebook)
        tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
        assert tags.index(["injected-parameters"]) == tags.index(["parameters"]) + 1
    plots = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if "data" in o]
    assert any("image/png" in o["data"] for o in plots), "fit shows its confusion matrix"
    assert states(folder) == dict.fromkeys(TASKS, "fresh")

    # "You can see from the summary table that only the `fit` task executes!"
    add_cell(scripts / "fit.py", added)
    said = nbpipe("build", cwd=folder)
    assert result(said) == {**dict.fromkeys(TASKS, "no"), "fit": "yes"}
    assert "1 executed, 3 skipped" in said

    only_what_must(folder, scripts, output)


def only_what_must(folder: Path, scripts: Path, output: Path) -> None:
    """Rows 21 to 29 of the faults on the built tutorial."""
    # 21: touched
    (scripts / "get.py").touch()
    (output / "get.csv").touch()
    assert "nothing to do: 4 tasks" in nbpipe("build", cwd=folder)

    # 22: a comment
    edit(scripts / "get.py", "# get raw data", "# get the raw data, once")
    assert "0 executed, 4 skipped" in nbpipe("build", cwd=folder)
    assert "cosmetic edit of scripts/get.py" in nbpipe("why", "get", cwd=folder)

    # 25: other code, the same bytes
    edit(scripts / "get.py", "df.head()", "df.head(3)")
    assert "code of scripts/get.py changed" in nbpipe("why", "get", cwd=folder)
    said = nbpipe("build", cwd=folder)
    assert result(said) == {**dict.fromkeys(TASKS, "no"), "get": "yes"}

    # 24: a product overwritten by hand
    good = (output / "get.csv").read_bytes()
    (output / "get.csv").write_text("overwritten")
    assert states(folder)["get"] == "stale"
    assert "output/get.csv was changed since it was built" in nbpipe("why", "get", cwd=folder)
    assert result(nbpipe("build", cwd=folder)) == {**dict.fromkeys(TASKS, "no"), "get": "yes"}
    assert (output / "get.csv").read_bytes() == good

    # 27: a param
    edit(
        folder / "pipeline.yaml",
        "      model: output/model.pickle\n",
        "      model: output/model.pickle\n    params:\n      depth: 3\n",
    )
    assert "param 'depth' is new (3)" in nbpipe("why", "fit", cwd=folder)
    assert result(nbpipe("build", cwd=folder)) == {**dict.fromkeys(TASKS, "no"), "fit": "yes"}

    # 26: a module of the project
    (folder / "helpers.py").write_text("NAME = 'sepal'\n")
    add_cell(scripts / "feature-sepal.py", "import helpers\nprint(helpers.NAME)\n")
    ran = {**dict.fromkeys(TASKS, "no"), "feature-sepal": "yes"}
    assert result(nbpipe("build", cwd=folder)) == ran
    (folder / "helpers.py").write_text("NAME = 'other'\n")
    assert "module helpers.py changed" in nbpipe("why", "feature-sepal", cwd=folder)
    assert result(nbpipe("build", cwd=folder)) == ran

    # 28: a failure, quoted with its line in the script; the last good notebook stays
    notebook = (output / "feature-petal.ipynb").read_bytes()
    edit(scripts / "feature-petal.py", "df['petal-area'] =", "df['petal-area'] = 1 / 0 *")
    line = (
        (scripts / "feature-petal.py")
        .read_text()
        .splitlines()
        .index("df['petal-area'] = 1 / 0 * df['petal length (cm)'] * df['petal width (cm)']")
    )
    said = nbpipe("build", cwd=folder, code=1)
    assert f"scripts/feature-petal.py:{line + 1}" in said
    assert "ZeroDivisionError" in said
    assert states(folder)["feature-petal"] == "failed"
    assert (output / "feature-petal.ipynb").read_bytes() == notebook
    edit(scripts / "feature-petal.py", " 1 / 0 *", "")
    ran = {**dict.fromkeys(TASKS, "no"), "feature-petal": "yes"}
    assert result(nbpipe("build", cwd=folder)) == ran

    # 29: renamed
    edit(folder / "pipeline.yaml", "scripts/fit.py\n", "scripts/fit.py\n    name: train\n")
    assert "nothing to do: 4 tasks" in nbpipe("build", cwd=folder)
