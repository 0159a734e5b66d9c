"""The panel: a pipeline in a notebook, live, with buttons. `Panel(PipelineBackend(p)).show()`.

It is made of two outputs: the widget, and a static picture with a table, which stays in a saved
notebook and which the widget hides while it is shown.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbpipe.errors import NbpipeError
from nbpipe.jupyter.live import (
    Backend,
    PipelineBackend,
    Poller,
    RunLike,
    last_words,
    same_drawing,
)
from nbpipe.jupyter.panel_output import StaticOutput, display_widget, forget, in_kernel, remember
from nbpipe.run.machine import cores
from nbpipe.views.status import Status
from nbpipe.views.widget_details import Details, Tab, about_html, tab_html
from nbpipe.views.widget_html import (
    header_html,
    merged_states,
    running_html,
    say_html,
    table_html,
)

if TYPE_CHECKING:
    from nbpipe.core.model import State
    from nbpipe.core.progress import Progress
    from nbpipe.jupyter.session import Session
    from nbpipe.views.widget import GraphView
    from nbpipe.views.widget_face import Face

__all__ = ["Backend", "Panel", "PipelineBackend", "close_panels", "show_panel", "show_run_button"]

BUSY = 0.25
"""Seconds between two looks at a running build: a reader follows no more."""

IDLE = 1.5
"""Seconds between two looks for a build that somebody else has begun."""


class Panel:
    """The live view of one pipeline. Its methods may be called from any thread.

    Args:
        backend: what is shown and driven.
        task: selected at first, and meant by *Run all upstream* while none is; None: none.
        jobs: how many tasks a build runs at once; None: the number of cores.
    """

    def __init__(
        self, backend: Backend, *, task: str | None = None, jobs: int | None = None
    ) -> None:
        self.backend = backend
        self.uid = uuid.uuid4().hex[:12]
        self.picked = task or ""
        self.run: RunLike | None = None
        self._jobs = jobs or cores()
        self._lock = threading.RLock()
        self._details: Details | None = None
        self._shown_state: State = "new"
        self._sent: dict[str, str] = {}
        self._closed = self._quiet = False
        self._last: Progress | None = None
        self._status: Status = backend.status()
        self._graph = backend.graph
        self._static = StaticOutput(self.uid, backend)
        self._face: Face | None = None
        self._view: GraphView | None = None
        self._poller: Poller | None = None

    # Display

    def show(self) -> None:
        """Display it in the current cell, and follow builds from now on."""
        if not in_kernel():
            print(self._status)
            return
        remember(self)
        with self._lock:
            face = self._open()
            display_widget(face.root, f"{self._status.name}: {self._status.summary}")
            self._static.publish(self._status)
        if self._poller is None:
            self._poller = Poller(self)
            self._poller.start()

    def _ipython_display_(self) -> None:
        self.show()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self._static.bundle(self._status)

    def close(self) -> None:
        """Stop following, and close every widget; the static picture takes its place."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            forget(self)
            if self._poller is not None:
                self._poller.stop()
            if self._view is not None:
                self._view.close()
            if self._face is not None:
                self._face.close()

    def _open(self) -> Face:
        """Make the widgets and register every handler, before anything is displayed."""
        if self._face is not None:
            return self._face
        from nbpipe.views.widget import DagView, make_view
        from nbpipe.views.widget_face import Face

        self._view = view = make_view(self._graph)
        view.set_graph(self._graph, self._status.states)
        view.on_select(self._guarded(self.select))
        names = [row.task for row in self._status.rows]
        live = isinstance(view, DagView)
        self._face = face = Face(self.uid, view.widget, names, self._jobs, fit=live)
        face.details.layout.height = view.widget.layout.height
        face.upstream.on_click(self._guarded(lambda _: self.start(self.picked, upstream=True)))
        face.build.on_click(self._guarded(lambda _: self.start()))
        face.cancel.on_click(self._guarded(lambda _: self.cancel()))
        if isinstance(view, DagView):
            face.fit.on_click(self._guarded(lambda _: view.fit()))
        face.rows.observe(self._guarded(self._row_chosen), "value")
        face.tabs.observe(self._guarded(lambda _: self._show_tab()), "value")
        self._attach()
        self._refresh()
        if self.picked:
            self.select(self.picked)
        return face

    # What the reader does

    def select(self, task: str) -> None:
        """Show the details of a task."""
        with self._lock:
            if self._face is None or self._view is None or self._closed:
                return
            self.picked = task
            self._quiet = True
            try:
                self._face.rows.value = task if task in self._graph.tasks else None
            finally:
                self._quiet = False
            self._details, self._shown_state = self.backend.details(task), "new"
            self._view.set_states({}, task)
            self._face.tabs.remove_class("nbp-hidden")
            self._show_tab()
            self._refresh()

    def start(self, task: str = "", *, upstream: bool = False) -> None:
        """Begin a build of everything, or of all that ``task`` needs; refused while one runs."""
        with self._lock:
            if self._face is None:
                self._open()
            assert self._face is not None
            if upstream and not task:
                self._say("Select a task first: all that it needs is then built.", error=True)
                return
            self._say("")
            face = self._face
            self.run = self.backend.start(
                task if upstream else None, face.jobs.value, face.force.value, face.keep_going.value
            )
            self._refresh()
        if self._poller is not None:
            self._poller.wake()

    def cancel(self) -> None:
        """Stop the build; the panel stays usable while it ends."""
        run = self.run
        if run is None:
            return
        self._say("Cancelling …")

        def stop() -> None:
            try:
                run.cancel()
            except Exception as error:
                self._show_error(error)
            if self._poller is not None:
                self._poller.wake()

        threading.Thread(target=stop, name="nbpipe-cancel", daemon=True).start()

    def _row_chosen(self, change: dict[str, Any]) -> None:
        if change["new"] and not self._quiet:
            self.select(change["new"])

    def _guarded(self, callback: Callable[[Any], object]) -> Callable[[Any], None]:
        """A handler whose error is shown in the panel: elsewhere nobody would see it."""

        def call(value: Any) -> None:
            try:
                callback(value)
            except Exception as error:
                self._show_error(error)

        return call

    # Following

    def tick(self) -> float:
        """Bring the panel up to date; called by its thread. Returns seconds until the next."""
        try:
            with self._lock:
                if self._closed:
                    return IDLE
                if self.run is None and not self._attach():
                    return IDLE
                self._follow()
        except Exception as error:
            self._show_error(error)
            return IDLE
        return BUSY if self.run is not None else IDLE

    def renew(self) -> None:
        """Show the pipeline as its files are now, before the caller's cell ends.

        A notebook that is executed to its end leaves the thread no time to see how a build ended.
        """
        with self._lock:
            run = self.run
            if self._closed:
                return
            if run is None:
                self._renew()
                self._refresh()
                self._static.update(self._status)
            elif run.status != "running":
                self._finish(run)

    def _attach(self) -> bool:
        """Follow a build that somebody else has begun."""
        self.run = self.backend.attach()
        return self.run is not None

    def _follow(self) -> None:
        run = self.run
        if run is not None and run.status != "running":
            self._finish(run)
        else:
            self._refresh()

    def _finish(self, run: RunLike) -> None:
        """Show how the run ended, from the records as they are now."""
        self.run, self._last = None, run.progress
        self._renew()
        self._refresh()
        self._say(last_words(run))
        self._static.update(self._status)
        if self.picked in self._graph.tasks:
            self._details = self.backend.details(self.picked)
            self._show_tab()
            self._refresh()

    def _renew(self) -> None:
        """Read the pipeline anew; another graph is drawn anew."""
        self._status = self.backend.status()
        graph, self._graph = self._graph, self.backend.graph
        if (
            self._view is not None
            and self._face is not None
            and not same_drawing(graph, self._graph)
        ):
            from nbpipe.views.widget_face import options

            self._view.set_graph(self._graph, self._status.states)
            self._face.details.layout.height = self._view.widget.layout.height
            self._quiet = True
            self._face.rows.options = options([row.task for row in self._status.rows])
            self._quiet = False

    # Showing

    def _refresh(self) -> None:
        """Send what has changed since it was sent last."""
        face, view = self._face, self._view
        if face is None or view is None or self._closed:
            return
        progress = self.run.progress if self.run is not None else self._last
        live = progress if self.run is not None else None
        now = time.time()
        states = merged_states(self._status, live)
        view.set_states(states, self.picked)
        self._put("head", header_html(self._status.name, states, progress, now))
        self._put("now", running_html(live))
        self._put("table", table_html(self._status, states, live, now, self.picked))
        if self._details is not None and self.picked in states:
            self._show_details(states[self.picked])
        label = f"▶ Run all upstream of {self.picked}" if self.picked else "▶ Run all upstream"
        face.upstream.description = label
        face.upstream.disabled = face.build.disabled = self.run is not None
        face.cancel.disabled = self.run is None

    def _show_details(self, state: State) -> None:
        """A task that has just ended has a new log and new products."""
        if self._details is not None and state != self._shown_state:
            if self._shown_state == "running":
                self._details = self.backend.details(self.picked)
                self._show_tab()
            self._shown_state = state
        if self._details is not None:
            self._put("about", about_html(self._details, state))

    def _show_tab(self) -> None:
        if self._face is not None and self._details is not None:
            tab: Tab = self._face.tabs.value
            self._put("body", tab_html(self._details, tab))

    def _put(self, part: str, html: str) -> None:
        if self._face is not None and self._sent.get(part) != html:
            self._sent[part] = html
            getattr(self._face, part).value = html

    def _say(self, message: str, *, error: bool = False) -> None:
        self._put("say", say_html(message, error=error))

    def tell(self, error: Exception) -> None:
        """Show an error in the panel."""
        self._show_error(error)

    def _show_error(self, error: Exception) -> None:
        if isinstance(error, NbpipeError):
            self._say(str(error), error=True)
        else:
            self._say(f"{type(error).__name__}: {error}", error=True)


def show_panel(session: Session) -> None:
    """``%pipeline``: the panel of a shell's pipeline, in the current cell."""
    Panel(PipelineBackend(session.load(), session.load)).show()


def close_panels(session: Session) -> None:
    """Close every panel of this kernel."""
    from nbpipe.jupyter.panel_output import open_panels

    for panel in open_panels():
        panel.close()


def renew_panels() -> None:
    """Bring every open panel up to date; what is wrong with one does not concern the caller."""
    from nbpipe.jupyter.panel_output import open_panels

    for panel in open_panels():
        try:
            panel.renew()
        except NbpipeError as error:
            panel.tell(error)


def show_run_button(session: Session, task: str) -> None:
    """The panel with a task selected, for a stale ``%upstream``."""
    Panel(PipelineBackend(session.load(), session.load), task=task).show()
