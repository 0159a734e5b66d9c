"""The panel's widgets and where they stand, not what they do.

Imports ipywidgets: to be imported late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from nbpipe.views.diagram_text import clean
from nbpipe.views.widget_css import hide_static, panel_css
from nbpipe.views.widget_details import NOTHING, TABS
from nbpipe.views.widget_html import say_html


class Face:
    """All widgets of one panel; ``root`` is what is displayed.

    Args:
        uid: of the panel, for hiding its static picture while this is shown.
        view: the diagram's widget.
        tasks: names, in the order of the table.
        jobs: how many tasks a build runs at once.
        fit: whether the diagram can be moved, so that it needs a way back.
    """

    def __init__(self, uid: str, view: Any, tasks: Sequence[str], jobs: int, *, fit: bool) -> None:
        self.style = w.HTML(f"<style>{panel_css()}\n{hide_static(uid)}</style>")
        self.head = w.HTML()
        self.upstream = _button("▶ Run all upstream", "nbp-main")
        self.build = _button("Build all")
        self.cancel = _button("■ Cancel")
        self.cancel.disabled = True
        self.jobs = w.BoundedIntText(jobs, min=1, max=999, description="jobs")
        self.jobs.add_class("nbp-jobs")
        self.force = w.Checkbox(False, description="force", indent=False)
        self.keep_going = w.Checkbox(False, description="keep going", indent=False)
        self.now = w.HTML()
        self.now.add_class("nbp-now")
        self.fit = _button("Fit", "nbp-fit")
        self.view = view
        self.about = w.HTML(NOTHING)
        self.tabs = w.ToggleButtons(options=list(TABS), value=TABS[0])
        self.tabs.add_class("nbp-tabs").add_class("nbp-hidden")
        self.body = w.HTML()
        self.body.add_class("nbp-body")
        self.rows = w.ToggleButtons(options=options(tasks), value=None)
        self.rows.add_class("nbp-rows")
        self.table = w.HTML()
        self.say = w.HTML(say_html(""))
        self._boxes: list[Any] = []
        self.root = self._layout(fit)

    def _box(self, name: str, *children: Any) -> Any:
        box = w.Box(children)
        box.add_class(name)
        self._boxes.append(box)
        return box

    def _layout(self, fit: bool) -> Any:
        toolbar = self._box(
            *("nbp-toolbar", self.upstream, self.build, self.cancel),
            *(self.jobs, self.force, self.keep_going, self.now),
        )
        self.left = self._box("nbp-left", self.view, *([self.fit] if fit else []))
        self.details = self._box("nbp-details", self.about, self.tabs, self.body)
        tasks = self._box("nbp-tasks", self.rows, self.table)
        middle = self._box("nbp-middle", self.left, self.details)
        root = w.VBox([self.style, self.head, toolbar, middle, self.say, tasks])
        root.add_class("nbp-panel")
        return root

    def close(self) -> None:
        """Close every model."""
        controls = (self.style, self.head, self.upstream, self.build, self.cancel, self.jobs)
        more = (self.force, self.keep_going, self.now, self.fit, self.about, self.tabs, self.body)
        rest = (self.rows, self.table, self.say, *self._boxes, self.root)
        for widget in (*controls, *more, *rest):
            for part in (widget.layout, getattr(widget, "style", None)):
                if isinstance(part, w.Widget):
                    part.close()
            widget.close()


def options(tasks: Sequence[str]) -> list[tuple[str, str]]:
    """A button for each task: its label and its value."""
    return [(clean(task) or " ", task) for task in tasks]


def _button(label: str, look: str = "") -> Any:
    button = w.Button(description=label)
    if look:
        button.add_class(look)
    return button
