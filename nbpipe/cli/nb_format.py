"""Sources in another format, and scripts paired with notebooks: what jupytext does for ``nb``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from nbpipe.core.fingerprint import code_digest
from nbpipe.core.model import Spec, Task
from nbpipe.errors import UsageError
from nbpipe.store.products import write_durably
from nbpipe.store.sources import parse_source, read_text
from nbpipe.store.specfile import parse_spec
from nbpipe.store.spectypes import SCRIPT_SUFFIXES

_FORMAT = re.compile(r"\.?(?P<suffix>\w+)(?::(?P<name>\w+))?")


def reformat(file: Path, tasks: Iterable[Task], to: str) -> Iterator[str]:
    """Write sources in another format; pipeline.yaml follows where the suffix changes.

    A notebook that holds outputs or attachments stays where it was: a script cannot keep them.

    Args:
        file: pipeline.yaml.
        tasks: one for each source.
        to: as jupytext says it: ``py:percent``, ``md``, ``ipynb``.

    Yields:
        What was done, a line for each source.

    Raises:
        UsageError: there is no such format, or a file would be overwritten, or the code would
            not be the same.
    """
    suffix = _suffix(to)
    for task in tasks:
        old = file.parent / task.source
        new = old.with_suffix(suffix)
        source = new.relative_to(file.parent).as_posix()
        data = _converted(task, old, to, source)
        if new == old:
            if data != old.read_bytes():
                write_durably(old.resolve(), data)
                yield f"rewrote {task.source}"
            continue
        if os.path.lexists(new):
            raise UsageError(f"{source}: is there already", "remove it, or name other tasks")
        spec = _with_source(file, task, source)
        held = old.read_bytes() if old.suffix == ".ipynb" else b""
        keep = b'"output_type"' in held or b'"attachments"' in held
        write_durably(new, data)
        write_durably(file.resolve(), spec)
        if not keep:
            old.unlink()
        yield f"{task.source} → {source}{' (the notebook has outputs and stays)' if keep else ''}"


def pair(root: Path, tasks: Iterable[Task], folder: str) -> Iterator[str]:
    """Keep a notebook beside each script, under ``folder``, by jupytext's pairing.

    Yields:
        What was done, a line for each script.

    Raises:
        UsageError: a script lies in no folder, or jupytext refuses.
    """
    folder = PurePosixPath(folder.replace(os.sep, "/")).as_posix()
    for task in tasks:
        path = PurePosixPath(task.source)
        if path.suffix == ".ipynb":
            yield f"{task.source}: is a notebook itself"
            continue
        top = path.parts[0]
        if len(path.parts) < 2 or "/" in folder or folder in ("", ".", "..", top):
            hint = "scripts lie in a folder such as scripts/, the notebooks in another beside it"
            raise UsageError(f"{task.source}: cannot be paired with {folder}/", hint)
        form = parse_source(read_text(root / task.source, task.source), task.source).format
        own = path.suffix[1:] if path.suffix != ".py" else f"py:{form}"
        _jupytext("--set-formats", f"{folder}///ipynb,{top}///{own}", str(root / task.source))
        made = PurePosixPath(folder, *path.parts[1:]).with_suffix(".ipynb")
        yield f"paired {task.source} with {made}"


def sync(root: Path, tasks: Iterable[Task]) -> Iterator[str]:
    """Bring paired files in step: the newer one gives the code, the notebook its outputs.

    Yields:
        A line for each source; others than paired ones are left alone.

    Raises:
        UsageError: jupytext refuses.
    """
    for task in tasks:
        path = root / task.source
        if re.search(r"^\W*\"?formats\"?:.*,", read_text(path, task.source), re.MULTILINE):
            _jupytext("--sync", str(path))
            yield f"in step: {task.source}"
        else:
            yield f"not paired: {task.source}"


def _suffix(to: str) -> str:
    match = _FORMAT.fullmatch(to)
    known = {suffix.lower(): suffix for suffix in SCRIPT_SUFFIXES}
    if match is None or f".{match['suffix']}".lower() not in known:
        raise UsageError(f"no format '{to}'", "such as py:percent, py:light, md, Rmd or ipynb")
    suffix = f".{match['suffix']}"
    return suffix if suffix in SCRIPT_SUFFIXES else known[suffix.lower()]


def _converted(task: Task, path: Path, to: str, source: str) -> bytes:
    """The text of a source in another format, with the same code.

    Raises:
        UsageError: the format does not exist, or says something else.
    """
    import jupytext

    text = read_text(path, task.source)
    try:
        notebook = jupytext.reads(text, fmt={"extension": path.suffix})
        notebook.metadata.get("jupytext", {}).pop("text_representation", None)
        made = jupytext.writes(notebook, fmt=to)
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{task.source}: cannot be written as {to}: {said}") from None
    made = made if made.endswith("\n") else f"{made}\n"
    before, after = parse_source(text, task.source), parse_source(made, source)
    digests = [code_digest(s.cells, s.language) for s in (before, after)]
    if digests[0] != digests[1] or before.declared.upstream != after.declared.upstream:
        raise UsageError(f"{task.source}: as {to} its code would not be the same")
    return str(made).encode()


def _with_source(file: Path, task: Task, source: str) -> bytes:
    """The text of pipeline.yaml with another source for a task; nothing else changes."""
    text = file.read_bytes().decode("utf-8")
    spec = parse_spec(text.encode(), file.name)
    wanted = [_renamed(other, task.source, source) for other in spec.tasks]
    pattern = rf"(source:\s*[\"']?)(?:\./)*{re.escape(task.source)}(?=[\"']?\s*(?:[,}}#\r\n]|$))"
    new = re.sub(pattern, lambda match: match[1] + source, text)
    if _plain(parse_spec(new.encode(), file.name)) != wanted:
        hint = f"change it to {source} yourself"
        raise UsageError(f"{file.name}: the source of '{task.name}' cannot be found", hint)
    return new.encode()


def _renamed(task: Task, old: str, new: str) -> Any:
    changed = msgspec.structs.replace(task, source=new) if task.source == old else task
    return msgspec.structs.replace(changed, at=None)


def _plain(spec: Spec) -> list[Any]:
    return [msgspec.structs.replace(task, at=None) for task in spec.tasks]


def _jupytext(*args: str) -> None:
    from jupytext.cli import jupytext

    try:
        code = jupytext([*args, "--quiet"])
    except (Exception, SystemExit) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"jupytext {args[0]}: {said}", f"see: {args[-1]}") from None
    if code:
        raise UsageError(f"jupytext {args[0]} {args[-1]}: failed with {code}")
