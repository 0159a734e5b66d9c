"""Sources and their cells: what the other floors use.

Reading is in `reading` (scripts, Markdown, notebooks), what a source declares in `declared`, the
notebook to execute in `inject`, new sources in `templates`.
"""

from nbpipe.store.declared import PARAMETERS_TAG, read_declared
from nbpipe.store.inject import injected_cell_text, to_notebook
from nbpipe.store.reading import Source, declared, parse_source, read_text
from nbpipe.store.templates import function_template, template

__all__ = [
    "PARAMETERS_TAG",
    "Source",
    "declared",
    "function_template",
    "injected_cell_text",
    "parse_source",
    "read_declared",
    "read_text",
    "template",
    "to_notebook",
]
