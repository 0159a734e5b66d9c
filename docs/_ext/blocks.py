"""The fenced blocks of a Markdown page: what the pictures, and the tests, take from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_OPEN = re.compile(r"^(?P<fence>`{3,}|:{3,})(?:\{(?P<directive>[\w-]+)\})?\s*(?P<argument>.*)$")
_OPTION = re.compile(r"^:(?P<key>[\w-]+):\s*(?P<value>.*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        line: 1-based line of its fence.
        language: such as ``yaml``; "" when it names none.
        caption: of a ``code-block``; "" without.
        text: its content, options left out, ending in a newline sign.
        directive: such as ``code-block``; "" for a plain fence.
    """

    line: int
    language: str
    caption: str
    text: str
    directive: str = ""


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in their order. A block in a block is part of the outer one."""
    return list(_read(page.read_text(encoding="utf-8").splitlines()))


def _read(lines: list[str]) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        match = _OPEN.match(lines[at])
        if match is None:
            at += 1
            continue
        end = at + 1
        while end < len(lines) and not _closes(lines[end], match["fence"]):
            end += 1
        yield _block(at + 1, match, lines[at + 1 : end])
        at = end + 1


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(fence) and bare == fence[0] * len(bare)


def _block(line: int, match: re.Match[str], inside: list[str]) -> Block:
    options: dict[str, str] = {}
    while match["directive"] and inside and (found := _OPTION.match(inside[0])):
        options[found["key"]] = found["value"].strip()
        inside = inside[1:]
    text = "\n".join(inside).strip("\n") + "\n"
    words = match["argument"].split()
    language = words[0] if words else ""
    return Block(line, language, options.get("caption", ""), text, match["directive"] or "")
