"""Which modules of the project a source imports, found by reading, not by importing.

A module counts when it lies under the root, found from the root itself or from an entry of
``sys.path`` that lies under it. What is installed (site-packages, the standard library) does not.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from nbpipe.core.fingerprint import code_digest, module_digest
from nbpipe.core.model import Cell
from nbpipe.errors import SpecError
from nbpipe.store.importlines import Import, Imports, imports_of
from nbpipe.store.ipynb import read_ipynb
from nbpipe.store.reading import read_text

Code = str | Sequence[Cell]
"""A module's text, or the cells of a source."""


class _Module(msgspec.Struct, frozen=True):
    """A file read: what it imports, and the digest of its code."""

    imports: Imports
    digest: str


class ImportFollower:
    """Follows imports; every file is read once in its life, so make one for each plan.

    Args:
        root: folder of pipeline.yaml, where kernels run.
        extra: further folders in which modules are sought.

    Attributes:
        looked: the folders in which a module was sought, and the scripts that were: a new file in
            one of them may change what an import means.
        functions: what `hook_digests` has found of a function, so that it is read once.
    """

    def __init__(self, root: Path, extra: Sequence[Path] = ()) -> None:
        self.root = Path(root).resolve()
        self.roots = search_roots(self.root, extra)
        self.looked: set[Path] = set()
        self.functions: dict[str, dict[str, str | None]] = {}
        self._modules: dict[Path, _Module] = {}
        self._found: dict[tuple[str, tuple[Path, ...]], tuple[Path, ...]] = {}

    def modules(self, code: Code, path: str, beside: Path | None = None) -> dict[str, Path]:
        """Every module of the project that the code imports, itself or through others.

        Args:
            code: of the source.
            path: of the source, relative to the root.
            beside: the folder in which it runs, where that is not the root; below the root.

        Returns:
            Absolute paths by relative POSIX path, sorted.
        """
        own = self.root / path
        found: dict[Path, tuple[Path, ...]] = {}
        first = () if beside is None else (beside.resolve(),)
        todo = [(own, imports_of(code), tuple(dict.fromkeys([*first, *self.roots])))]
        while todo:
            file, imports, roots = todo.pop()
            roots = self._with_paths(imports, roots)
            for near, inner in self._near(file, imports, roots):
                if near != own and near not in found:
                    found[near] = inner
                    todo.append((near, self._module(near).imports, inner))
        return {self._shown(file): file for file in sorted(found, key=self._shown)}

    def digests(self, code: Code, path: str, beside: Path | None = None) -> dict[str, str]:
        """Digest of the code of each of the `modules`, by relative POSIX path."""
        found = self.modules(code, path, beside)
        return {name: self._module(file).digest for name, file in found.items()}

    def third_party(self, code: Code, path: str) -> frozenset[str]:
        """Top-level names that the code, or a module that it follows, imports from elsewhere.

        The standard library and the project are left out.
        """
        scans = [imports_of(code)]
        scans += [self._module(file).imports for file in self.modules(code, path).values()]
        names = {one.module.partition(".")[0] for scan in scans for one in scan.absolute()}
        return frozenset(
            name
            for name in names
            if name and name not in sys.stdlib_module_names and not self._resolve(name, self.roots)
        )

    def _shown(self, file: Path) -> str:
        return file.relative_to(self.root).as_posix()

    def _with_paths(self, imports: Imports, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        """The roots, with those that the code itself puts on ``sys.path``."""
        added = [_absolute(self.root, path) for path in imports.paths]
        return tuple(dict.fromkeys([*roots, *(p for p in added if _inside(p, self.root))]))

    def _near(
        self, file: Path, imports: Imports, roots: tuple[Path, ...]
    ) -> Iterable[tuple[Path, tuple[Path, ...]]]:
        """Files that one file imports or runs, each with the roots that it sees."""
        for one in imports.imports:
            for near in self._targets(file, one, roots):
                yield near, roots
        for run in imports.runs:
            script = _absolute(self.root, run)
            self.looked |= {script, script.parent}
            if _inside(script, self.root) and script.is_file():
                yield script, tuple(dict.fromkeys([script.parent, *roots]))

    def _targets(self, file: Path, one: Import, roots: tuple[Path, ...]) -> Iterable[Path]:
        if one.level:
            base = file.parent
            for _ in range(one.level - 1):
                base = base.parent
            if not _inside(base, self.root):
                return ()
            roots = (base,)
        targets = list(self._resolve(one.module, roots))
        if one.level:
            self.looked.add(base)
        if one.level and (init := base / "__init__.py").is_file():
            targets.insert(0, init)
        names = one.names
        if "*" in names and targets and targets[-1].name == "__init__.py":
            names = (*names, *self._module(targets[-1]).imports.exported)
        for name in names:
            inner = f"{one.module}.{name}" if one.module else name
            targets += self._resolve(inner, roots) if name != "*" else ()
        return targets

    def _resolve(self, dotted: str, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        """Files that an import of a dotted name loads, packages on the way included."""
        key = (dotted, roots)
        if key not in self._found:
            self._found[key] = tuple(_walk(dotted.split("."), roots, self.looked)) if dotted else ()
        return self._found[key]

    @property
    def files(self) -> set[Path]:
        """The modules that were read."""
        return set(self._modules)

    def _module(self, file: Path) -> _Module:
        if file not in self._modules:
            self._modules[file] = _read_module(file)
        return self._modules[file]


def local_modules(code: Code, root: Path, path: str, extra: Sequence[Path] = ()) -> dict[str, Path]:
    """`ImportFollower.modules` for one source."""
    return ImportFollower(root, extra).modules(code, path)


def module_digests(code: Code, root: Path, path: str, extra: Sequence[Path] = ()) -> dict[str, str]:
    """`ImportFollower.digests` for one source."""
    return ImportFollower(root, extra).digests(code, path)


def third_party(code: Code, root: Path, path: str) -> frozenset[str]:
    """`ImportFollower.third_party` for one source."""
    return ImportFollower(root).third_party(code, path)


def search_roots(root: Path, extra: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Folders under the root in which its modules are found, in the order of ``sys.path``.

    ``sys.path`` holds what PYTHONPATH and the ``.pth`` files of editable installs say.
    """
    named, installed = _installed()
    inside = os.path.join(root, "")  # told by text: a build asks three times for each task
    found = [root, *(_absolute(root, str(p)) for p in extra)]
    for entry in sys.path:
        if entry in named:
            continue
        folder = _real(root, entry)
        if folder != str(root) and not folder.startswith(inside):
            continue
        packages = {"site-packages", "dist-packages"} & set(Path(folder).parts)
        if not packages and folder not in installed and os.path.isdir(folder):
            found.append(Path(folder))
    return tuple(dict.fromkeys(found))


@functools.cache
def _installed() -> tuple[frozenset[str], frozenset[str]]:
    """Where this interpreter keeps its libraries: as it says itself, and without links."""
    named = frozenset(sysconfig.get_paths().values())
    return named, frozenset(str(Path(path).resolve()) for path in named)


def _real(root: Path, path: str) -> str:
    """`_absolute` as text; of a loop of links, something that is no folder."""
    try:
        return os.path.realpath(os.path.join(root, path))
    except (OSError, ValueError):  # a null byte
        return os.sep


def _absolute(root: Path, path: str) -> Path:
    try:
        return (root / path).resolve()
    except (OSError, ValueError, RuntimeError):  # a null byte, a loop of links
        return Path("/")


def _inside(path: Path, root: Path) -> bool:
    return path.is_relative_to(root)


def _walk(parts: Sequence[str], roots: Sequence[Path], looked: set[Path]) -> Iterable[Path]:
    """Follow a dotted name: in each folder a package comes before a module before a bare folder."""
    folders = list(roots)
    for part in parts:
        looked.update(folders)
        if not part.isidentifier():
            return
        bare = []
        for folder in folders:
            inner = os.path.join(folder, part)
            is_folder = os.path.isdir(inner)
            if is_folder and os.path.isfile(init := os.path.join(inner, "__init__.py")):
                yield Path(init)
                bare = [Path(inner)]
                break
            if os.path.isfile(module := f"{inner}.py"):
                yield Path(module)
                return
            if is_folder:
                bare.append(Path(inner))
        folders = bare


def _read_module(file: Path) -> _Module:
    try:
        text = read_text(file)
        if file.suffix == ".ipynb":
            cells = read_ipynb(text, file.name).cells
            return _Module(imports_of(cells), code_digest(cells))
        return _Module(imports_of(text), module_digest(text))
    except SpecError:  # not UTF-8, not a notebook, gone: its bytes stand for it
        return _Module(Imports(), _raw_digest(file))


def _raw_digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        return hashlib.sha256(json.dumps(["unreadable", error.errno]).encode()).hexdigest()
