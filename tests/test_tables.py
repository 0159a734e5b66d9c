"""A table that is drawn but for one column says what the whole table says."""

from __future__ import annotations

import pytest

from nbpipe.views.status import STATUS_HEAD, Status, StatusRow
from nbpipe.views.tables import Drawn, html_table, plain_table
from tests.faults import corpus

HEAD = ("task", "last run", "product")
TIMES = ("never", "12 min ago", "just now")
CAPTION = "3 tasks"


def drawn(rows):
    return Drawn(HEAD, rows, 1, CAPTION)


def same(rows) -> None:
    """Drawn once and filled twice, it says both times what the whole table says."""
    table = drawn(rows)
    for said in (TIMES, ("1 s ago",) * len(TIMES)):
        times = said[: len(rows)]
        full = [(task, time, made) for (task, _, made), time in zip(rows, times, strict=True)]
        assert table.plain(times) == plain_table(HEAD, full)
        assert table.html(times) == html_table(HEAD, full, CAPTION)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("get", "", "a.csv\nb.csv"), ("fit", "", ""), ("a longer name", "", "c")],
        [("get", "", " "), ("fit", "", "a  ")],
        [("", "", "")],
    ],
    ids=["no rows", "several products and none", "blanks", "nothing"],
)
def test_it_says_what_the_whole_table_says(rows):
    same(rows)


@pytest.mark.parametrize("text", [*corpus.ALL, "a\x01b\x02c\x03d\x04e\x05", "\x04", "\r\n\x04\n"])
def test_whatever_a_cell_holds_is_one_text_of_its_cell(text):
    same([(text, "", text), ("fit", "", text), (text, "", "")])


@pytest.mark.parametrize("text", [*corpus.ALL, "\x01\x04<b>"])
def test_what_is_filled_in_is_escaped_as_well(text):
    assert drawn([("get", "", "a")]).html([text]) == html_table(HEAD, [("get", text, "a")], CAPTION)
    assert drawn([("get", "", "a")]).plain([text]) == plain_table(HEAD, [("get", text, "a")])


def test_a_caption_steers_nothing():
    assert Drawn(HEAD, [("a", "", "b")], 1, "\x04<b>").html(["x"]) == html_table(
        HEAD, [("a", "x", "b")], "\x04<b>"
    )


def row(task: str, last_run: float | None) -> StatusRow:
    return StatusRow(
        task=task,
        state="fresh",
        action="skip",
        reason="",
        last_run=last_run,
        seconds=1.0,
        products=("a.csv", "b.csv"),
        source="a.py",
        upstream=(),
    )


def test_a_status_that_is_shown_again_tells_the_time_of_its_own():
    rows = (row("get", 1000.0), row("fit", None))
    for now, said in ((1002.0, "just now"), (1030.0, "30 s ago"), (1700.0, "11 min ago")):
        status = Status(rows, "p", now)
        shown = status._repr_mimebundle_()
        assert shown["text/plain"] == str(status)
        assert f"<td>{said}</td>" in shown["text/html"]
        assert said in shown["text/plain"]
        assert "<td>never</td>" in shown["text/html"]


def test_other_rows_are_drawn_anew():
    for task in ("get", "fit", "get"):
        status = Status((row(task, 1000.0),), "p", 1002.0)
        shown = status._repr_mimebundle_()
        assert shown["text/plain"] == str(status)
        assert f"<td>{task}</td>" in shown["text/html"]


def test_its_head_is_that_of_the_table():
    assert STATUS_HEAD[0] == "task"
    assert Status((), "p", 1.0)._repr_mimebundle_()["text/plain"] == str(Status((), "p", 1.0))
