"""Colours for notebook cells: magics, and Python also below a cell magic.

IPython's own lexer leaves the body of a cell magic plain.
"""

from __future__ import annotations

from typing import Any

from pygments.lexer import bygroups, inherit
from pygments.lexers.python import PythonLexer
from pygments.token import Keyword, Operator, Text
from sphinx.application import Sphinx


class CellLexer(PythonLexer):
    """A cell of a notebook whose magics take Python, as ours do."""

    name = "Notebook cell"
    aliases = ("ipython3",)
    tokens = {  # noqa: RUF012
        "root": [
            (r"^(%%?\w+)(.*\n)", bygroups(Keyword, Text)),
            (r"^(\w+ )(=)( )(%\w+)(.*\n)", bygroups(Text, Operator, Text, Keyword, Text)),
            inherit,
        ]
    }


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_lexer("ipython3", CellLexer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
