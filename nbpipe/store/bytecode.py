"""Removes compiled modules that Python would take for those of today's sources.

Python takes a ``.pyc`` for its source's when the source still has the size and the modification
time that are noted in it, the time in whole seconds (``importlib``; PEP 3147 says where the files
lie). So who edits a module in the second in which it was imported, and keeps its size, runs the old
code, and a build would record the product as made by the new. As git does with an index that is as
young as a file: what was compiled in the second of the last edit, or before, is not trusted.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterable
from importlib.util import cache_from_source
from pathlib import Path

from nbpipe.errors import SpecError
from nbpipe.store.functions import module_file
from nbpipe.store.imports import ImportFollower


def drop_racy(modules: Iterable[Path]) -> None:
    """Remove what was compiled of modules, by any Python, no later than the second of their edit.

    What cannot be removed stays, such as another user's in a folder that is not ours to write.

    Args:
        modules: absolute paths; what is no ``.py`` file is passed over.
    """
    for module in modules:
        if module.suffix != ".py":
            continue
        try:
            edited = int(os.stat(module).st_mtime)
        except OSError:
            continue
        for compiled in _compiled(module):
            with contextlib.suppress(OSError):  # gone, or not ours: the others may still be removed
                if int(os.stat(compiled).st_mtime) <= edited:
                    os.unlink(compiled)


def drop_racy_of(root: Path, functions: Iterable[str]) -> None:
    """As `drop_racy`, for the modules of functions and all that these import of the project.

    Args:
        root: of the pipeline.
        functions: ``module.function`` each; one that the project has not is passed over.
    """
    follower = ImportFollower(root)
    for function in functions:
        with contextlib.suppress(SpecError):
            path = module_file(root, function)
            code = f"import {function.rpartition('.')[0]}"
            drop_racy([root / path, *follower.modules(code, "").values()])


def _compiled(module: Path) -> list[str]:
    folder = os.path.dirname(cache_from_source(str(module)))
    return glob.glob(os.path.join(glob.escape(folder), f"{glob.escape(module.stem)}.*.pyc"))
