"""What the command line says of env.yaml, for all pipelines that are loaded meanwhile."""

from __future__ import annotations

from contextvars import ContextVar

current: ContextVar[dict[str, str] | None] = ContextVar("nbpipe-overrides", default=None)
"""Values in the place of env.yaml's, by path such as ``model.depth``; None: none are said."""
