"""What a task does that is neither a notebook nor a function: a script of another language, a file.

Frozen values, as the rest of the core.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from nbpipe.core.options import Call

Tool = Literal["shell", "sql", "dump", "upload", "transfer", "copy", "download", "link", "input"]
"""What does the work: bash; a database, in five ways; a download; nothing, for two kinds of files
that others make."""

RELATIONS = ".nbpipe/relations"
"""Folder of the notes that stand for tables and views: a relation is no file, its note is."""

TEMPLATES: frozenset[Tool] = frozenset({"shell", "sql", "dump", "transfer"})
"""Tools whose source is a text with placeholders."""

READS_FILE: frozenset[Tool] = frozenset({"upload", "copy"})
"""Tools whose source is a file of data."""

LINKS: frozenset[Tool] = frozenset({"link", "input"})
"""Tools whose product is a file that is there already."""


class Relation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A table or a view of a database, or another product that is no file.

    Attributes:
        name: of the relation.
        kind: ``table``, ``view``, or ``other`` for what cannot be looked for.
        schema: that it is in; None: the database's own default.
        client: gives a client of its database; None: it is in none.
    """

    name: str
    kind: Literal["table", "view", "other"]
    schema: str | None = None
    client: Call | None = None

    @property
    def text(self) -> str:
        """As SQL names it."""
        return self.name if self.schema is None else f"{self.schema}.{self.name}"

    @property
    def note(self) -> str:
        """Path, relative to the root, of the file that stands for it."""
        place = "other" if self.client is None else self.client.function
        return f"{RELATIONS}/{place}/{self.text.replace('/', '_')}.{self.kind}"


class ScriptWork(msgspec.Struct, frozen=True, omit_defaults=True):
    """How such a task runs.

    Attributes:
        tool: what does it.
        client: gives the client of the database that the source speaks to; None: it needs none.
        chunksize: rows at a time; None: all at once.
        to_sql: options of ``pandas.DataFrame.to_sql``.
        io_handler: what reads or writes the rows: ``csv``, ``parquet``, or a function of the
            project; None: the suffix tells.
        sha256: digest that a download must have, hexadecimal; None: any.
        templates: folders, relative to the root, in which a source finds others.
    """

    tool: Tool
    client: Call | None = None
    chunksize: int | None = None
    to_sql: dict[str, Any] = {}
    io_handler: str | None = None
    sha256: str | None = None
    templates: tuple[str, ...] = ()

    @property
    def shaping(self) -> dict[str, Any]:
        """What shapes the products, so that another value makes the task stale."""
        found: dict[str, Any] = {
            "class": self.tool,
            "chunksize": self.chunksize,
            "to_sql_kwargs": self.to_sql or None,
            "io_handler": self.io_handler,
            "sha256": self.sha256,
        }
        return {key: value for key, value in found.items() if value is not None}


class Serializing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands between a function and the disk. None: the function does that itself.

    Attributes:
        write: is given what the function returns, and its product.
        read: is given a product of an upstream task, and gives what the function gets.
    """

    write: Call | None = None
    read: Call | None = None

    def __bool__(self) -> bool:
        return self.write is not None or self.read is not None

    @property
    def both(self) -> tuple[Call | None, Call | None]:
        """The serializer and the unserializer."""
        return (self.write, self.read)


PLAIN_FUNCTION = Serializing()
"""A function that reads and writes its files itself."""
