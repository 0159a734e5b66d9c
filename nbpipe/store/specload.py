"""A pipeline's spec off the disk: where it is, what fills it, every file that was read for it."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from nbpipe.core.model import Spec
from nbpipe.core.options import Call
from nbpipe.errors import Problem, SpecError
from nbpipe.store.callvalues import known_values
from nbpipe.store.env import Env, current_env, env_file_of
from nbpipe.store.placeholders import Filler
from nbpipe.store.signatures import locate_spec
from nbpipe.store.specaround import Around
from nbpipe.store.speccalls import call_key
from nbpipe.store.specfactory import Factory, read_factory
from nbpipe.store.specread import parse_spec
from nbpipe.store.specsources import SourceLook
from nbpipe.store.spectypes import SCRIPT_SUFFIXES
from nbpipe.store.yamltext import MAX_BYTES


class Entry(msgspec.Struct, frozen=True):
    """Where a pipeline is described.

    Attributes:
        file: absolute path of the spec file; of scripts without one, what messages call it.
        root: absolute folder to which its paths are relative.
        pattern: of scripts that say themselves what they make, relative to the root; "": there
            is a spec file.
        data: the spec itself, as JSON, where Python describes it; empty: it is in the file.
    """

    file: Path
    root: Path
    pattern: str = ""
    data: bytes = b""


class Reading(msgspec.Struct, frozen=True):
    """A spec with all that it rests on.

    Attributes:
        spec: the pipeline.
        entry: where it is described.
        env: what the caller said of placeholders.
        files: every file that was read or looked for.
        settled: whether those files alone decide it, and not the time, the user or git.
        calls: functions that give params or the values of grids.
        pending: what is wrong while the values of a grid are not known.
        warnings: what is doubtful, one sentence each.
    """

    spec: Spec
    entry: Entry
    env: Env
    files: frozenset[Path]
    settled: bool
    calls: tuple[Call, ...] = ()
    pending: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def find_entry(start: str | os.PathLike[str] | None = None) -> Entry:
    """The pipeline that is meant.

    Args:
        start: a spec file; a folder, searched together with all above it; a pattern of scripts
            such as ``scripts/*.py``, relative to the current folder, which is then the root;
            None: the current folder.

    Raises:
        SpecError: there is none.
    """
    said = os.fspath(start) if start is not None else os.getcwd()
    if glob.has_magic(said) and not os.path.exists(said):
        root = Path.cwd()
        pattern = os.path.relpath(os.path.abspath(said), root)
        return Entry(root / pattern, root, PurePosixPath(Path(pattern)).as_posix())
    file = find_spec(Path(said))
    return Entry(file, file.parent)


def find_spec(start: Path) -> Path:
    """The spec file that a folder belongs to.

    It is ``pipeline.yaml``, or what the environment variable ``ENTRY_POINT``, setup.cfg or
    pyproject.toml says.

    Args:
        start: a folder, searched together with all above it; or the file itself.

    Returns:
        An absolute path.

    Raises:
        SpecError: there is none; the message lists the folders that were searched.
    """
    from nbpipe.store.entrynames import named

    found = locate_spec(str(start))
    if found is not None:
        return Path(found)
    start = Path(os.path.abspath(start))
    if not os.path.isdir(start):
        hint = "check the path that was given as entry point"
        raise SpecError([Problem(str(start), 0, 0, "", "no such file or folder", hint)])
    path, name = named(str(start))
    if path is not None:
        hint = "check ENTRY_POINT, and entry-point in setup.cfg or pyproject.toml"
        raise SpecError([Problem(path, 0, 0, "", "no such file", hint)])
    what = "not found; searched " + ", ".join(str(folder) for folder in [start, *start.parents])
    hint = "'nbpipe scaffold NAME' makes a new project, 'nbpipe demo' shows one"
    raise SpecError([Problem(name, 0, 0, "", what, hint)])


def read_spec(path: Path, *, sources: bool = True) -> Spec:
    """The pipeline that a file describes. No code of the project runs.

    Args:
        path: of the spec file; its folder is the root.
        sources: False leaves out whether the sources exist.

    Raises:
        SpecError: everything that is wrong, at once, each with line and column.
    """
    return load_spec(Entry(path, path.parent), sources=sources).spec


def load_spec(
    entry: Entry,
    env: Env | None = None,
    *,
    sources: bool = True,
    values: Mapping[str, Any] | None = None,
) -> Reading:
    """The pipeline that an entry describes, and all that it rests on. No code of it runs.

    Args:
        entry: where it is described.
        env: what the caller says of placeholders; None: what `using_env` said.
        sources: False leaves out whether the sources exist.
        values: what the functions that it names gave, by `call_key`; None: what they gave in the
            last build.

    Raises:
        SpecError: everything that is wrong, at once, each with line and column.
        UsageError: the caller overrides a key that env.yaml has not.
    """
    env = env if env is not None else current_env()
    data = entry.data or (_scripts(entry) if entry.pattern else _bytes(entry.file))
    factory = None if entry.data else read_factory(data, entry.file.name)
    if factory is not None:
        return _made(factory, entry, env, sources, values)
    said = env_file_of(entry.file, env, needed=b"{{" in data or b"import_tasks_from" in data)
    filler = Filler(entry.file, said, env)
    known = values if values is not None else known_values(entry.root)
    around = Around(entry.root, filler, known)
    look = SourceLook(entry.root) if sources else None
    name = entry.pattern or entry.file.name
    try:
        spec = parse_spec(data, name, look, around)
    except SpecError as error:
        raise (_unplaced(error) if entry.pattern or entry.data else error) from None
    settled = filler.settled and not (entry.pattern or entry.data or around.calls)
    return Reading(
        spec=spec,
        entry=entry,
        env=env,
        files=frozenset({entry.file, *said.read, *around.files}),
        settled=settled,
        calls=tuple(around.calls.values()),
        pending=tuple(around.pending),
        warnings=tuple(filler.warnings()),
    )


def _made(
    factory: Factory, entry: Entry, env: Env, sources: bool, values: Mapping[str, Any] | None
) -> Reading:
    """The pipeline that a function describes, if it is known what it gave."""
    known = values if values is not None else known_values(entry.root)
    key, name = call_key(factory.call), entry.file.name
    if key not in known:
        return Reading(
            spec=Spec(tasks=(), meta=factory.meta, file=name),
            entry=entry,
            env=env,
            files=frozenset({entry.file}),
            settled=False,
            calls=(factory.call,),
            pending=(factory.unknown(name),),
        )
    given = msgspec.structs.replace(entry, data=factory.spec(known[key], name))
    reading = load_spec(given, env, sources=sources, values=values)
    calls = (factory.call, *reading.calls)
    return msgspec.structs.replace(reading, entry=entry, calls=calls, settled=False)


def _bytes(path: Path) -> bytes:
    if os.path.isdir(path):
        hint = "name the file in it"
        raise SpecError([Problem(str(path), 0, 0, "", "is a folder, not a file", hint)])
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        what = f"cannot be read: {reason}"
        raise SpecError([Problem(str(path), 0, 0, "", what, "check the path")]) from None


def _scripts(entry: Entry) -> bytes:
    """A spec that lists the scripts of a pattern, which say themselves what they make."""
    found = sorted(glob.glob(entry.pattern, root_dir=entry.root, recursive=True))
    paths = [Path(path).as_posix() for path in found if (entry.root / path).is_file()]
    odd = next((path for path in paths if PurePosixPath(path).suffix not in SCRIPT_SUFFIXES), None)
    if odd is not None:
        hint = f"a script ends in {', '.join(SCRIPT_SUFFIXES)}"
        raise SpecError(
            [Problem(odd, 0, 0, "", f"is no script, and {entry.pattern} means it", hint)]
        )
    if not paths:
        hint = "check the pattern, or write a pipeline.yaml"
        raise SpecError([Problem(entry.pattern, 0, 0, "", "no script is called so", hint)])
    spec = {"meta": {"extract_product": True}, "tasks": [{"source": path} for path in paths]}
    return json.dumps(spec).encode()


def _unplaced(error: SpecError) -> SpecError:
    """Problems of a spec that nobody wrote have no line."""
    return SpecError(Problem(p.file, 0, 0, "", p.message, p.hint) for p in error.problems)
