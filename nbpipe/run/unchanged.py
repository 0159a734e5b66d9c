"""Whether nothing has changed since a whole pipeline was found fresh, told without loading it."""

from __future__ import annotations

import os
import time
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from nbpipe.core.plan import Plan
from nbpipe.store import overrides
from nbpipe.store.cache import CacheReader, Idle
from nbpipe.store.signatures import locate_spec

if TYPE_CHECKING:
    from nbpipe.views.status import Status, StatusRow


class Unchanged:
    """What is known of such a pipeline.

    Args:
        idle: what was kept.
        reader: that read it.
        name: of the pipeline: its folder.
    """

    def __init__(self, idle: Idle, reader: CacheReader, name: str) -> None:
        self.idle = idle
        self.reader = reader
        self.name = name

    @property
    def plan(self) -> Plan:
        """In which every task is skipped."""
        return self.idle.plan

    def status(self) -> Status:
        """The state of every task, as :meth:`nbpipe.Pipeline.status` gives it."""
        from nbpipe.views.status import Status

        return Status(self._rows, self.name, time.time())

    @cached_property
    def _rows(self) -> tuple[StatusRow, ...]:
        from nbpipe.views.status import StatusRow

        return msgspec.msgpack.decode(self.idle.rows, type=tuple[StatusRow, ...])


def unchanged(
    path: str | os.PathLike[str] | None = None, before: Unchanged | None = None
) -> Unchanged | None:
    """Whether everything is still fresh, told by signatures alone; None: load and plan.

    Args:
        path: as :meth:`nbpipe.Pipeline.load` takes it.
        before: an earlier answer, which spares decoding what is still the same. The signatures
            are compared in any case.
    """
    spec_file = locate_spec(os.fspath(path) if path is not None else os.getcwd())
    if spec_file is None or overrides.current.get():
        return None
    reader = CacheReader() if before is None else before.reader
    idle = reader.read(spec_file)
    if idle is None:
        return None
    name = os.path.basename(os.path.realpath(os.path.dirname(spec_file)))
    same = before is not None and before.idle is idle and before.name == name
    return before if same else Unchanged(idle, reader, name)
