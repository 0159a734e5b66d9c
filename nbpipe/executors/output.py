"""Text that may be too long: its beginning and its end are kept, what is between is counted."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

HEAD = 4_000_000
"""Characters kept of the beginning of a stream."""

TAIL = 1_000_000
"""Characters kept of the end of a stream, which tells why something failed."""


class Clip:
    """Takes chunks of text in bounded memory, in time linear in their number.

    Args:
        head: characters kept of the beginning.
        tail: characters kept of the end.
    """

    def __init__(self, head: int = HEAD, tail: int = TAIL) -> None:
        self._room = head
        self._keep = tail
        self._tail: deque[str] = deque()
        self._tail_length = 0
        self.dropped = 0

    def add(self, text: str) -> str:
        """Take a chunk; returns what of it belongs to the beginning, which is not kept here."""
        first = text[: self._room] if self._room > 0 else ""
        self._room -= len(first)
        if len(first) < len(text):
            self._add_tail(text[len(first) :])
        return first

    def spend(self, characters: int) -> None:
        """Make the room for the beginning smaller."""
        self._room -= characters

    def _add_tail(self, text: str) -> None:
        self._tail.append(text)
        self._tail_length += len(text)
        while self._tail_length - len(self._tail[0]) >= self._keep:
            self._drop(self._tail.popleft())

    def _drop(self, text: str) -> None:
        self._tail_length -= len(text)
        self.dropped += len(text.encode("utf-8", "surrogatepass"))

    def rest(self) -> str:
        """What follows the beginning: the mark, if anything was dropped, and the end."""
        if self._tail_length > self._keep:
            text = "".join(self._tail)
            cut = len(text) - self._keep
            self._tail.clear()
            self._tail.append(text[cut:])
            self._drop(text[:cut])
        end = "".join(self._tail)
        return (
            f"\n[nbpipe: output cut, {self.dropped:,} bytes dropped]\n{end}"
            if self.dropped
            else end
        )


def last_words(path: Path, size: int = 16_000) -> str:
    """The end of a log; "" when there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(os.fstat(log.fileno()).st_size - size, 0))
            return log.read().decode(errors="replace")
    except OSError:
        return ""
