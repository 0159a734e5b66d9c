"""A task as its author writes it down, and the script that it is written down in."""

from __future__ import annotations

from dataclasses import dataclass

MODULES = {"base": (), "deep": ("base",)}
"""The project's modules, each with those that it imports itself."""

SCRIPT = """\
# %% tags=["parameters"]
upstream = {upstream}
product = None
level = 0

# %%
import hashlib
from pathlib import Path
{imports}
constant = {constant}


def value(made):
    path = Path(made["data"] if isinstance(made, dict) else made)
    if path.suffix == ".ipynb":
        return "a notebook"
    if path.is_dir():
        return "".join(part.read_text() for part in sorted(path.iterdir()))
    return path.read_text()


seen = {{name: value(made) for name, made in sorted((upstream or {{}}).items())}}
text = repr((constant // 2, level // 2, {module}, seen))
text = hashlib.sha1(text.encode()).hexdigest()[:10]
made = Path(product if isinstance(product, str) else product["data"])
if made.suffix == ".d":
    made.mkdir(exist_ok=True)
    (made / "1").write_text(text[:5])
    (made / "2").write_text(text[5:])
elif made.suffix != ".ipynb":
    made.write_text(text)
"""

Contents = str | tuple[tuple[str, str], ...] | None
"""Of a file, of a folder by name, or of nothing that is there."""


@dataclass(frozen=True)
class Step:
    """A task as its author wrote it down.

    Attributes:
        source: its script.
        place: where its products go, without suffix.
        makes: ``named`` products, a single file of ``data``, a ``folder`` or a ``notebook`` only.
        constant: in the script; only every second value changes what is made.
        level: a param, of which the same holds.
        module: what the script imports; None: nothing of the project.
        upstream: names of tasks.
        comment: stands in the script, and changes nothing.
    """

    source: str
    place: str
    makes: str = "named"
    constant: int = 0
    level: int = 0
    module: str | None = None
    upstream: tuple[str, ...] = ()
    comment: int = 0

    @property
    def product(self) -> str | dict[str, str]:
        """As in pipeline.yaml."""
        single = {"data": ".txt", "notebook": ".ipynb"}
        if self.makes in single:
            return self.place + single[self.makes]
        suffix = ".d" if self.makes == "folder" else ".txt"
        return {"nb": f"{self.place}.ipynb", "data": f"{self.place}{suffix}"}

    @property
    def data(self) -> str | None:
        """The path that consumers read; None: there is only the notebook."""
        product = self.product
        if isinstance(product, dict):
            return product["data"]
        return None if self.makes == "notebook" else product

    @property
    def paths(self) -> tuple[str, ...]:
        """Of all products."""
        return tuple(self.product.values()) if isinstance(self.product, dict) else (self.product,)


def text_of(step: Step, made: Contents) -> str:
    """What a consumer reads from a product."""
    if step.data is None:
        return "a notebook"
    if isinstance(made, tuple):
        return "".join(text for _, text in made)
    return made or ""
