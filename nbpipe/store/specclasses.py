"""The classes of tasks and products that Ploomber names, and what each means here."""

from __future__ import annotations

from pathlib import PurePosixPath

from nbpipe.core.model import Kind
from nbpipe.core.work import Tool

TOOLS: dict[str, Tool] = {
    "ShellScript": "shell",
    "SQLScript": "sql",
    "SQLDump": "dump",
    "SQLUpload": "upload",
    "SQLTransfer": "transfer",
    "PostgresCopyFrom": "copy",
    "DownloadFromURL": "download",
    "Link": "link",
    "Input": "input",
}
"""What does the work of tasks that are neither notebooks nor functions."""

CLASS_OF: dict[Tool, str] = {tool: name for name, tool in TOOLS.items()}

TASK_CLASSES: dict[str, Kind] = {
    "NotebookRunner": "notebook",
    "ScriptRunner": "notebook",
    "PythonCallable": "function",
    **dict.fromkeys(TOOLS, "script"),
}
"""How sources of Ploomber's task classes run."""

LATER_CLASSES = ("UploadToS3",)
"""Task classes that Ploomber knows, and nbpipe not yet."""

RELATION_CLASSES = ("SQLRelation", "SQLiteRelation", "PostgresRelation", "GenericSQLRelation")
"""Product classes that stand for a table or a view; where theirs keep notes, ours need not."""

GENERIC = "GenericProduct"
"""The class of a product of which only the task itself knows where it is."""

PRODUCT_CLASSES = ("File", GENERIC, *RELATION_CLASSES)

SPEAKS_SQL: frozenset[Tool] = frozenset({"sql", "dump", "upload", "transfer", "copy"})
"""Tools that need a client."""

MAKES_RELATIONS: frozenset[Tool] = frozenset({"sql", "upload", "transfer", "copy"})

DUMPS = (".csv", ".parquet")
"""Suffixes of a product that make a task of an SQL script a dump."""


def tool_of(source: str, class_name: str | None, product: object) -> Tool | None:
    """What does a task's work; None: it is a notebook or a function.

    Args:
        source: as the spec says.
        class_name: of the task; None: the source and the product tell.
        product: as the spec says.
    """
    if class_name is not None:
        return TOOLS.get(class_name)
    suffix = PurePosixPath(source).suffix
    if suffix == ".sh":
        return "shell"
    if suffix != ".sql":
        return None
    dumps = isinstance(product, str) and PurePosixPath(product).suffix in DUMPS
    return "dump" if dumps else "sql"


def class_name_of(kind: Kind, tool: Tool | None) -> str:
    """The class of a task that names none."""
    if tool is not None:
        return CLASS_OF[tool]
    return "PythonCallable" if kind == "function" else "NotebookRunner"


def default_product_class(tool: Tool | None) -> str:
    """The class of products where the spec says nothing."""
    return RELATION_CLASSES[0] if tool in MAKES_RELATIONS else PRODUCT_CLASSES[0]
