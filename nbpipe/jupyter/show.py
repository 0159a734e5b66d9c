"""Showing things in a cell: values with a plain and a rich form, progress, a kernel's outputs."""

from __future__ import annotations

import queue
import sys
import time
from typing import Any

from nbpipe.core import events as ev
from nbpipe.core.progress import Progress
from nbpipe.views.progress_html import progress_html, progress_text

UPDATE_SECONDS = 0.25
"""The least time between two updates of a progress display."""


class Picture:
    """A picture of the pipeline, with the table of states as its plain form."""

    def __init__(self, svg: str, text: str) -> None:
        self.svg = svg
        self.text = text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/plain": self.text}


class Table:
    """Text with an HTML form."""

    def __init__(self, text: str, html: str) -> None:
        self.text = text
        self.html = html

    def __str__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": self.text, "text/html": self.html}


def in_kernel(shell: Any) -> bool:
    """Whether the shell belongs to a kernel, so that a display can be updated."""
    return getattr(shell, "kernel", None) is not None


class CellProgress:
    """A run's progress in the cell's output, updated in place.

    Called with events from the build's thread; :meth:`tick` is called in the main thread, the only
    one that displays.
    """

    def __init__(self) -> None:
        self.progress = Progress()
        self._handle: Any = None
        self._shown = 0.0

    def __call__(self, event: ev.Event) -> None:
        """Take one event in."""
        self.progress.apply(event)

    def tick(self) -> None:
        """Show the state, if the last time is long enough ago."""
        if self.progress.run and time.monotonic() - self._shown >= UPDATE_SECONDS:
            self.show()

    def show(self) -> None:
        """Show the state now."""
        from IPython.display import display

        self._shown = time.monotonic()
        now = time.time()
        data = {
            "text/plain": progress_text(self.progress, now),
            "text/html": progress_html(self.progress, now),
        }
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(data, raw=True)


class Relay:
    """Outputs of a task's kernel, shown in this cell as they come.

    Put in from the build's thread; taken out in the main thread by :meth:`tick`.
    """

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._handles: dict[str, Any] = {}

    def __call__(self, task: str, message: dict[str, Any]) -> None:
        """Take one message in."""
        self._messages.put(message)

    def tick(self) -> None:
        """Show all that has come."""
        while True:
            try:
                message = self._messages.get_nowait()
            except queue.Empty:
                return
            self.show(message["msg_type"], message["content"])

    def show(self, kind: str, content: dict[str, Any]) -> None:
        """Show one output; errors are left out, since the build's failure tells them."""
        from IPython.display import clear_output, display

        if kind == "stream":
            out = sys.stderr if content["name"] == "stderr" else sys.stdout
            out.write("".join(content["text"]))
            out.flush()
        elif kind in ("display_data", "execute_result", "update_display_data"):
            self._display(display, content)
        elif kind == "clear_output":
            clear_output(wait=bool(content.get("wait")))  # type: ignore[no-untyped-call]

    def _display(self, display: Any, content: dict[str, Any]) -> None:
        key = (content.get("transient") or {}).get("display_id")
        metadata = content.get("metadata") or {}
        if key is not None and key in self._handles:
            self._handles[key].update(content["data"], raw=True, metadata=metadata)
        elif key is not None:
            self._handles[key] = display(
                content["data"], raw=True, metadata=metadata, display_id=True
            )
        else:
            display(content["data"], raw=True, metadata=metadata)
