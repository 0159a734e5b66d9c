"""A container image of the project: small, without root and secrets, made from its lock."""

from __future__ import annotations

import fnmatch
import subprocess
from pathlib import Path

import pytest

from nbpipe.errors import UsageError
from nbpipe.exporters.base import REQUIREMENTS, ExportSettings, GraphDocument
from nbpipe.exporters.image import ImageExporter, ImageSettings
from tests import engines, goldens
from tests.cli import nbpipe
from tests.podman_rig import BASE, USER, Podman


def document(*tasks, **more) -> GraphDocument:
    given = {"version": 1, "name": "Iris", "spec": "pipeline.yaml", "arguments": ("-e", "p.yaml")}
    given |= {"store": None, "requirements": ("requirements.lock",), "tasks": tasks}
    return GraphDocument(**{**given, **more})


def texts(about: GraphDocument | None = None, **said) -> dict[str, str]:
    return ImageExporter().export(about or document(), ImageSettings(**said))


def dockerfile(about: GraphDocument | None = None, **said) -> list[str]:
    return texts(about, **said)["Dockerfile"].splitlines()


# -- what is written ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
def test_the_files_of_the_demo_are_the_golden_ones(tmp_path, name):
    root = engines.iris(tmp_path / "iris")
    (root / "requirements.lock").write_text("pandas==2.2.3\n")
    nbpipe("export", "image", "--image", "team/iris:1", "--to", "made", cwd=root)
    goldens.check(
        f"image/iris.{name.removeprefix('.').lower()}", (root / "made" / name).read_text()
    )


@pytest.mark.parametrize("first", range(len(REQUIREMENTS)))
def test_the_most_exact_file_that_is_there_says_what_to_install(diamond, first):
    for name in REQUIREMENTS[first:]:
        diamond.write(name, "")
    found = diamond.pipeline().document()
    assert found.requirements == REQUIREMENTS[first:]
    copies = [line for line in dockerfile(found) if line.startswith("COPY")]
    assert copies[0] == f'COPY ["{REQUIREMENTS[first]}", "./{REQUIREMENTS[first]}"]'


def test_a_file_that_is_named_goes_before_those_that_are_found():
    lines = dockerfile(requirements="deploy/needs.txt")
    assert 'COPY ["deploy/needs.txt", "./needs.txt"]' in lines
    assert "RUN pip install --no-cache-dir -r needs.txt" in lines


def test_the_dependencies_in_pyproject_are_installed_and_not_the_project(tmp_path):
    text = texts(document(requirements=("pyproject.toml",)))["Dockerfile"]
    (step,) = (step for step in text.replace("\\\n", "").splitlines() if "tomllib" in step)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\ndependencies = ["pandas>=2", "nbpipe-kit[s3]"]\n'
    )
    command, _, install = step.removeprefix("RUN ").rpartition(" && ")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert (tmp_path / "requirements.txt").read_text() == "pandas>=2\nnbpipe-kit[s3]\n"
    assert install == "pip install --no-cache-dir -r requirements.txt"


def test_a_wheel_of_nbpipe_comes_after_the_packages_which_are_kept_in_a_layer():
    lines = dockerfile(wheel="dist/nbpipe_kit-1-py3-none-any.whl")
    packages = lines.index("RUN pip install --no-cache-dir -r requirements.lock")
    wheel = lines.index("RUN pip install --no-cache-dir ./nbpipe_kit-1-py3-none-any.whl")
    project = next(n for n, line in enumerate(lines) if line.endswith('[".", "./"]'))
    assert packages < wheel < project


@pytest.mark.parametrize(
    ("name", "said", "image"),
    [("Iris & co", None, "iris-co"), ("モデル", None, "project"), ("iris", "team/x:2", "team/x:2")],
)
def test_the_file_says_how_it_is_built(name, said, image):
    assert f"#   docker build -t {image} ." in dockerfile(document(name=name), image=said)


def test_the_project_and_its_tasks_belong_to_a_user_that_is_not_root():
    lines = dockerfile(user=4711)
    assert 'COPY --chown=4711:4711 [".", "./"]' in lines
    assert lines[-2:] == ["USER 4711:4711", 'CMD ["nbpipe", "build"]']


def test_a_product_is_ignored_by_its_very_name(diamond):
    diamond.tasks[0]["product"] = {"nb": "out/[1]*.ipynb", "data": "#x.csv"}
    diamond.save()
    lines = texts(diamond.pipeline().document(), requirements="x")[".dockerignore"].splitlines()
    assert r"out/\[1\]\*.ipynb" in lines
    assert r"\#x.csv" in lines


@pytest.mark.parametrize("name", ["pipeline.yaml", "env.yaml", "id_map.csv", "secretary.py"])
def test_what_a_task_may_need_is_no_secret(name):
    lines = texts()[".dockerignore"].splitlines()
    patterns = [line.removeprefix("**/") for line in lines if line and line[0] != "#"]
    assert not [pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"environ": {"PASSWORD": "x"}}, "an image is given no 'environ'"),
        ({"store": "s3://key:secret@bucket"}, "an image is given no 'store'"),
        ({"user": 0}, "do not run as root"),
        ({"requirements": "../needs.txt"}, "not in the project's folder"),
        ({"wheel": "/dist/nbpipe.whl"}, "not in the project's folder"),
        ({"base": "python:3\nRUN x"}, "setting 'base'"),
        ({"requirements": 'a", "b'}, "setting 'requirements'"),
        ({"image": "team/iris 1"}, "setting 'image'"),
    ],
)
def test_what_does_not_belong_into_an_image_is_refused(said, message):
    with pytest.raises(UsageError, match=message):
        texts(**said)


def test_a_project_that_does_not_say_what_it_needs_is_refused():
    with pytest.raises(UsageError, match=r"none of requirements\.lock, .* is there"):
        texts(document(requirements=()))


def test_an_export_for_an_engine_writes_no_variable_into_an_image():
    assert "environ" in ExportSettings.__struct_fields__
    assert "PASSWORD" not in "".join(texts().values())


# -- an image, built ---------------------------------------------------------------------------

SECRETS = (
    ".env",
    ".env.production",
    "deploy/key.pem",
    ".git/config",
    ".aws/credentials",
    "scripts/secrets.yaml",
    ".nbpipe/records/get.json",
    "output/get.csv",
)


@pytest.fixture(scope="module")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the demo, in whose folder lie secrets, records and a product."""
    root = engines.iris(tmp_path_factory.mktemp("image") / "iris")
    for name in SECRETS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("hunter2")
    podman.prepare(root)
    return podman.build(root, "secrets:1")


def inside(podman: Podman, image: str, command: str, *options: str) -> str:
    return podman.call("run", "--rm", *options, image, "sh", "-c", command)


@pytest.mark.process
def test_no_secret_record_or_product_is_in_the_image(podman, image, tmp_path):
    podman.call("save", f"--output={tmp_path}/image.tar", image)
    subprocess.run(["tar", "-xf", "image.tar"], cwd=tmp_path, check=True)
    layers = [path for path in tmp_path.rglob("*.tar") if path.name != "image.tar"]
    listed = [line for path in layers for line in _listed(path)]
    assert any(name.endswith("project/scripts/get.py") for name in listed)
    assert not [name for name in listed if name.startswith("project/") and name[8:] in SECRETS]
    found = inside(podman, image, "grep -rl hunter2 /project /home /opt/venv/bin || true")
    assert found == ""


def _listed(path: Path) -> list[str]:
    done = subprocess.run(["tar", "-tf", path], capture_output=True, text=True, check=True)
    return [name.removeprefix("./") for name in done.stdout.splitlines()]


@pytest.mark.process
def test_the_image_has_no_compiler_no_cache_and_little_beside_its_packages(podman, image):
    assert inside(podman, image, "command -v gcc cc make || true") == ""
    assert inside(podman, image, "ls -A /root/.cache /build 2>/dev/null || true") == ""
    sizes = {name: int(_inspect(podman, name, "{{.Size}}")) for name in (BASE, image)}
    packages = int(inside(podman, image, "du -sb /opt/venv").split()[0])
    project = int(inside(podman, image, "du -sb /project").split()[0])
    assert sizes[image] - sizes[BASE] < 1.05 * (packages + project)
    assert project < 2**20


def _inspect(podman: Podman, image: str, what: str) -> str:
    return podman.call("image", "inspect", "--format", what, image).strip()


@pytest.mark.process
def test_its_tasks_run_as_a_user_that_may_write_into_the_project_and_nothing_else(podman, image):
    assert _inspect(podman, image, "{{.User}}") == f"{USER}:{USER}"
    assert inside(podman, image, "id -u; id -g; echo $HOME").split() == [
        f"{USER}",
        f"{USER}",
        "/home/nbpipe",
    ]
    assert inside(podman, image, "touch /project/x && echo yes").strip() == "yes"
    assert "not permitted" in inside(
        podman, image, "touch /opt/venv/x 2>&1; chown 0 /project 2>&1; true"
    )


@pytest.mark.process
def test_a_container_of_the_image_builds_the_pipeline(podman, image):
    out = inside(podman, image, "nbpipe build", "--network=none", "--read-only-tmpfs")
    assert "6 executed, 0 skipped" in out


@pytest.mark.process
def test_an_edited_source_leaves_the_layer_of_the_packages_as_it_is(podman, image, tmp_path):
    root = engines.iris(tmp_path / "iris")
    podman.prepare(root)
    (root / "scripts" / "new.py").write_text("")
    layers = [
        _inspect(podman, name, "{{json .RootFS.Layers}}")
        for name in (image, podman.build(root, "edited:1"))
    ]
    before, after = (text.strip("[]").split(",") for text in layers)
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]
