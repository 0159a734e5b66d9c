"""``location: module.factory``: a pipeline that a function of the project describes.

Nothing of the project runs when a pipeline is loaded, so it is as with params: a build and a plan
call the function in a process of its own, and everything else takes what it gave then.
"""

from __future__ import annotations

from typing import Any

import msgspec

from nbpipe.core.model import Meta
from nbpipe.core.options import Call
from nbpipe.errors import Problem, SpecError
from nbpipe.store.speccalls import hook_call
from nbpipe.store.yamlnodes import Mapping, Scalar
from nbpipe.store.yamltext import compose

KEY = "location"

_BESIDE = frozenset({KEY, "meta"})
"""Keys that may stand in such a file."""


class Factory(msgspec.Struct, frozen=True):
    """The function that describes a pipeline.

    Attributes:
        call: the function.
        meta: what the file says beside it that its process needs to know.
        line: 1-based, where the file names it.
        column: 1-based.
    """

    call: Call
    meta: Meta
    line: int
    column: int

    def spec(self, value: Any, file: str) -> bytes:
        """The spec that it gave, as JSON.

        Raises:
            SpecError: that is no spec.
        """
        if not isinstance(value, (dict, list)):
            what = f"{self.call.function} gave a value of type {type(value).__name__}, no pipeline"
            hint = "return what pipeline.yaml would hold, or a DAG"
            raise SpecError([Problem(file, self.line, self.column, KEY, what, hint)])
        spec: dict[str, Any] = {"tasks": value} if isinstance(value, list) else dict(value)
        if self.meta.compat:
            spec["meta"] = {"compat": self.meta.compat, **(spec.get("meta") or {})}
        return msgspec.json.encode(spec)

    def unknown(self, file: str) -> Problem:
        """What is to be said while it has not been called."""
        what = f"what {self.call.function} gives is not known: no build has called it yet"
        hint = "nbpipe plan and nbpipe build call it"
        return Problem(file, self.line, self.column, KEY, what, hint)


def read_factory(data: bytes, file: str) -> Factory | None:
    """The function that a file names in the place of tasks; None: it lists tasks.

    Raises:
        SpecError: it names none, or says more than that.
    """
    if b"location" not in data:
        return None
    root, problems = compose(data, file)
    if not isinstance(root, Mapping) or KEY not in root.entries:
        return None
    node = root.entries[KEY][0]
    for name, (key, _) in root.entries.items():
        if name not in _BESIDE:
            what, hint = f"key '{name}' cannot stand beside 'location'", "remove one of the two"
            problems.append(Problem(file, key.line, key.column, name, what, hint))
    said = root.entries[KEY][1]
    call = hook_call(said.text) if isinstance(said, Scalar) else None
    if call is None:
        what, hint = "names no function", "write module.function"
        problems.append(Problem(file, said.line, said.column, KEY, what, hint))
    if problems or call is None:
        raise SpecError(problems)
    meta = root.get("meta")
    compat = meta.get("compat") if isinstance(meta, Mapping) else None
    asked = Meta(compat=compat.text) if isinstance(compat, Scalar) else Meta()
    return Factory(call, asked, node.line, node.column)
