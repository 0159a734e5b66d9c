"""What a panel leaves in a notebook's cells, and which panels are open."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from nbpipe.views.status import Status

if TYPE_CHECKING:
    from nbpipe.jupyter.live import Backend
    from nbpipe.jupyter.panel import Panel

OPEN_AT_MOST = 6
"""Panels of one kernel that stay live; of more, the oldest is closed and leaves its picture."""

_lock = threading.Lock()
_open: list[tuple[str, Panel]] = []


def in_kernel() -> bool:
    """Whether this process is a Jupyter kernel, whose displays can be updated."""
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def remember(panel: Panel) -> None:
    """Keep a displayed panel alive; close the one that the same cell displayed before."""
    cell = _cell()
    with _lock:
        kept = [(c, p) for c, p in _open if p is not panel]
        old = [p for c, p in kept if cell and c == cell]
        left = [(c, p) for c, p in kept if p not in old]
        old += [p for _, p in left[: max(0, len(left) + 1 - OPEN_AT_MOST)]]
        _open[:] = [*((c, p) for c, p in left if p not in old), (cell, panel)]
    for other in old:
        other.close()


def forget(panel: Panel) -> None:
    """A panel was closed."""
    with _lock:
        _open[:] = [(cell, other) for cell, other in _open if other is not panel]


def open_panels() -> list[Panel]:
    """The panels that are displayed, oldest first."""
    with _lock:
        return [panel for _, panel in _open]


def _cell() -> str:
    """Id of the cell that is running; "" when the front end does not tell."""
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    parent = kernel.get_parent("shell") if kernel is not None else {}
    return str((parent.get("metadata") or {}).get("cellId") or "")


def display_widget(widget: Any, about: str) -> None:
    """Display a widget, with a short text where there are none."""
    from IPython.display import display

    data = {
        "application/vnd.jupyter.widget-view+json": {
            "version_major": 2,
            "version_minor": 0,
            "model_id": widget.model_id,
        },
        "text/plain": about,
    }
    display(data, raw=True)  # type: ignore[no-untyped-call]


class StaticOutput:
    """The picture and the table that a saved notebook shows.

    Args:
        uid: of the panel.
        backend: for the graph.
    """

    def __init__(self, uid: str, backend: Backend) -> None:
        self._id = f"nbpipe-{uid}"
        self._uid = uid
        self._backend = backend

    def bundle(self, status: Status) -> dict[str, str]:
        """HTML with a picture inside, and plain text."""
        from nbpipe.views.diagram import to_svg
        from nbpipe.views.widget import picture
        from nbpipe.views.widget_html import static_html

        svg = to_svg(self._backend.graph, status.states, title=status.name)
        about = f"{status.name}: {status.summary}"
        return {
            "text/html": static_html(self._uid, status, picture(svg, about)),
            "text/plain": f"{about}\n{status}",
        }

    def publish(self, status: Status) -> None:
        """Display it in the current cell."""
        from IPython.display import display

        display(self.bundle(status), raw=True, display_id=self._id)  # type: ignore[no-untyped-call]

    def update(self, status: Status) -> None:
        """Replace it, wherever it is displayed."""
        from IPython.display import update_display

        update_display(self.bundle(status), raw=True, display_id=self._id)  # type: ignore[no-untyped-call]
