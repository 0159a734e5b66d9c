"""What a process does to itself that is ours from the start: no code of the user's runs in it."""

from __future__ import annotations

import gc
import sys

SLOW_FORMATS = ("rfc3987_syntax", "rfc3986_validator", "isoduration")
"""What jsonschema imports, where it is installed, to check string formats that no notebook has.

``rfc3987_syntax`` compiles some 35 grammars at import: 1.7 s before nbformat is there (jsonschema
issue 1428). The others take 20 ms, most of it for ``arrow``, a library of dates.
"""

NEW_OBJECTS = 100_000
"""Objects that are made before those that refer to each other in a circle are looked for.

Python's 700 suit a program that drops what it makes. Ours imports some fifty thousand that stay,
and each look goes over them: a tenth of the time until the first task. A build leaves about 180 in
such circles for each of its tasks, so it stays as small as it was.
"""


_PEOPLES_CODE = ("IPython.terminal", "pdb")
"""What lets somebody run code in this process has imported one of them."""


def settle() -> None:
    """Make imports faster, before the first of them."""
    for name in SLOW_FORMATS:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # its import fails
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])


def part() -> None:
    """Make the end of the interpreter fast, when nothing is left to do.

    It looks for circles again, several times, in all that there is: a seventh of a build of a few
    tasks. Nothing of ours waits for that. What somebody has left open in a session may: a file
    whose last lines are not written yet.
    """
    if sys.modules.keys().isdisjoint(_PEOPLES_CODE):
        gc.freeze()
