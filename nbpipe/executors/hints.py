"""What to do about the errors that pipelines meet most."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from nbpipe.errors import did_you_mean

OTHER_NAMES = {
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "git": "GitPython",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
"""Modules whose distribution has another name."""

EXIT = "raise an exception to fail, or let the script run to its end to succeed"
"""Of scripts that call ``exit()`` or ``sys.exit()``."""


@dataclass(frozen=True)
class Scene:
    """Where an error happened.

    Attributes:
        root: the working directory, absolute.
        python: the program that ran the code.
        upstream: names that the task declares; None: it declares no upstream.
        line: text of the failing line; "" when not known.
        is_notebook: a script in a kernel, as against a function.
    """

    root: str
    python: str
    upstream: tuple[str, ...] | None = None
    line: str = ""
    is_notebook: bool = True


def hint_for(error: str, message: str, scene: Scene) -> str | None:
    """The next step after an error, None when there is nothing sure to say."""
    rule = RULES.get(error)
    return rule(message, scene) if rule else None


def _module(message: str, scene: Scene) -> str | None:
    found = re.match(r"No module named '([\w.]+)'(; '[\w.]+' is not a package)?", message)
    if not found:
        return None
    name, not_a_package = found.groups()
    if name == "ploomber":
        return "write 'compat: ploomber' under 'meta:' in pipeline.yaml: nbpipe then answers for it"
    if not_a_package:
        return f"a file of yours may hide the package '{name.partition('.')[0]}'"
    if "." in name:
        parent, _, child = name.rpartition(".")
        return f"'{parent}' is there, but has no '{child}': is its version right?"
    known = OTHER_NAMES.get(name)
    what = known or "the package that has it"
    install = f"`{scene.python} -m pip install {known or name}`"
    other = "" if known else " (its package may have another name)"
    return f"'{name}' is not in the environment of {scene.python}; install {what}: {install}{other}"


def _file(message: str, scene: Scene) -> str | None:
    found = re.search(r": '([^']+)'", message)
    if not found or found[1].startswith(("/", "~")) or re.match(r"[A-Za-z]:|\w+://", found[1]):
        return None
    return f"a relative path starts at the folder of pipeline.yaml: {scene.root}"


def _name(message: str, scene: Scene) -> str | None:
    found = re.match(r"name '(upstream|product)' is not defined", message)
    if not found:
        return None
    if not scene.is_notebook:
        return f"make it a parameter of the function: def f(…, {found[1]})"
    example = "upstream = None" if found[1] == "upstream" else "product = None"
    return f"assign it in a cell tagged 'parameters' (`{example}`): nbpipe fills it in below"


def _key(message: str, scene: Scene) -> str | None:
    if not re.search(r"\bupstream\s*\[", scene.line):
        return None
    if not scene.upstream:
        return "the task declares no upstream: name it in `upstream = ['…']`"
    names = ", ".join(f"'{name}'" for name in scene.upstream)
    near = did_you_mean(message.strip("'\""), scene.upstream) or ""
    declared = f"the task declares {names} as its upstream"
    return f"{declared}; {near}" if near.startswith("did you mean") else declared


def _type(message: str, scene: Scene) -> str | None:
    if message == "'NoneType' object is not subscriptable" and not scene.upstream:
        return _key("", scene)
    return None


def _input(message: str, scene: Scene) -> str | None:
    return "a task runs unattended: give the value under `params:` in pipeline.yaml"


def _exit(message: str, scene: Scene) -> str | None:
    return EXIT


RULES: dict[str, Callable[[str, Scene], str | None]] = {
    "ModuleNotFoundError": _module,
    "FileNotFoundError": _file,
    "NameError": _name,
    "KeyError": _key,
    "TypeError": _type,
    "StdinNotImplementedError": _input,
    "EOFError": lambda message, scene: (
        _input(message, scene) if "reading a line" in message else None
    ),
    "SystemExit": _exit,
}
"""By the name of the exception."""
