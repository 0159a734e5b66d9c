"""The site: MyST pages, a reference made from the code, pictures drawn by nbpipe itself."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import pictures  # noqa: E402

import nbpipe  # noqa: E402

project = "nbpipe"
author = "The nbpipe developers"
copyright = "the nbpipe developers"
release = version = nbpipe.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "from_code",
    "cells",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext", "_static"]
smartquotes = False  # quotes in texts about code are meant as they stand
nitpicky = True
nitpick_ignore_regex = [
    # Libraries and Python itself: the build needs no network, so nothing is looked up there.
    (r"py:.*", r"(msgspec|networkx|collections|os|typing|pathlib)\..*"),
    (r"py:.*", r"(Any|Literal|None|Path|Callable|Iterable|Mapping|Sequence|Collection)"),
    (r"py:.*", r"(str|int|float|bool|bytes|dict|list|set|tuple|frozenset|object)"),
    # Aliases of types, which have no entry of their own.
    (r"py:class", r"(.*\.)?(Listener|Emit|Work|Theme|Hook|PostMortem|TypeAliasForwardRef)"),
    # Events have a page of their own, which is no list of classes.
    (r"py:class", r"nbpipe\.core\.events\..*"),
    # Of Progress; only the runner calls it, so the page leaves it out.
    (r"py:meth", "apply"),
    (r"py:exc", r"(KeyError|AttributeError|RuntimeError|Exception)"),
]

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {name: name for name in ("Emit", "Listener", "Theme", "Work")}
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"

html_theme = "furo"
html_title = "nbpipe"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "tango"
pygments_dark_style = "github-dark"

pictures.draw_all(HERE / "_static" / "generated", HERE)
