"""Answers the imports of another package in this process, for projects that were written for it.

What is asked for is looked up in :mod:`nbpipe.compat`, and made only when it is imported. A package
of that name that is installed is never shadowed.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

PACKAGES = {"ploomber": "nbpipe.compat.ploomber"}
"""The module that answers for each package."""


class AliasFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives modules of a package that is not installed.

    Args:
        package: whose imports are answered.
    """

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Asked last of all finders, so a package that is there has been found already."""
        if name.partition(".")[0] != self.package:
            return None
        answers = importlib.import_module(PACKAGES[self.package])
        if name not in answers.MODULES:
            raise ImportError(answers.refusal(name), name=name)
        is_package = any(other.startswith(f"{name}.") for other in answers.MODULES)
        return importlib.machinery.ModuleSpec(name, self, is_package=is_package)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """An ordinary module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Its names are looked up when they are asked for."""
        answers = importlib.import_module(PACKAGES[self.package])
        name = module.__name__
        known = answers.MODULES[name]

        def give(attribute: str) -> object:
            if attribute.startswith("__"):
                raise AttributeError(attribute)
            if attribute not in known:
                raise ImportError(answers.refusal(name, attribute), name=name)
            place, _, inner = known[attribute].partition(":")
            value = getattr(importlib.import_module(place), inner)
            setattr(module, attribute, value)
            return value

        module.__getattr__ = give  # type: ignore[method-assign]
        module.__dict__["__all__"] = sorted(known)
        module.__doc__ = f"{name}, answered by nbpipe."


def install(package: str) -> bool:
    """Answer a package's imports in this process from now on; again is harmless.

    Returns:
        False: it is a package that nobody answers for, or it is installed.
    """
    if package not in PACKAGES or package in sys.modules:
        return package in PACKAGES and isinstance(
            getattr(sys.modules.get(package), "__loader__", None), AliasFinder
        )
    known = any(isinstance(f, AliasFinder) and f.package == package for f in sys.meta_path)
    if not known and importlib.util.find_spec(package) is not None:
        return False
    if not known:
        sys.meta_path.append(AliasFinder(package))
    return True


def remove(package: str) -> None:
    """Answer them no longer, and forget those that were."""
    sys.meta_path[:] = [
        f for f in sys.meta_path if not (isinstance(f, AliasFinder) and f.package == package)
    ]
    for name, module in list(sys.modules.items()):
        if isinstance(getattr(module, "__loader__", None), AliasFinder):
            del sys.modules[name]
