"""What is kept of pure functions of a text: results, not errors, and nothing of a long text."""

from __future__ import annotations

import pytest

from nbpipe.core.remember import KEPT, LONGEST, remembering, total_length
from nbpipe.errors import SpecError
from nbpipe.store.sources import parse_source, to_notebook


class Counted:
    """A function of a text that counts how often it is really called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.ask = remembering(len)(self._measure)

    def _measure(self, text: str) -> int:
        self.calls.append(text)
        if text == "bad":
            raise ValueError(text)
        return len(text)


def test_the_same_text_is_looked_at_once() -> None:
    counted = Counted()
    assert [counted.ask("ab"), counted.ask("ab"), counted.ask("c")] == [2, 2, 1]
    assert counted.calls == ["ab", "c"]


def test_an_error_is_raised_each_time() -> None:
    counted = Counted()
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            counted.ask("bad")
    assert counted.calls == ["bad", "bad"]


def test_of_a_long_text_nothing_is_kept() -> None:
    counted = Counted()
    long = "x" * (LONGEST + 1)
    assert [counted.ask(long), counted.ask(long)] == [len(long)] * 2
    assert len(counted.calls) == 2


def test_what_was_not_asked_for_lately_goes() -> None:
    counted = Counted()
    for number in range(KEPT + 1):
        counted.ask(str(number))
    counted.ask("0")
    assert counted.calls.count("0") == 2


def test_the_length_of_several_texts_is_that_of_all() -> None:
    assert total_length(("ab", "", "c")) == 3


def test_a_notebook_that_is_made_of_a_kept_source_shares_nothing_with_it() -> None:
    text = '# ---\n# jupyter:\n#   kernelspec:\n#     name: python3\n# ---\n\n# %% tags=["a"]\n1\n'
    values = {"upstream": None, "product": None, "params": {}, "kernel": "other"}
    notebook, _ = to_notebook(parse_source(text, "a.py"), **values)
    for cell in notebook["cells"]:
        cell["metadata"].setdefault("tags", []).append("changed")
    notebook["metadata"]["kernelspec"]["name"] = "changed"
    again, _ = to_notebook(parse_source(text, "a.py"), **values)
    assert "changed" not in str(again)


def test_the_path_of_a_source_counts_too() -> None:
    text = '# %% tags=["parameters"]\nupstream = call()\n'
    for path in ("a.py", "b.py", "a.py"):
        with pytest.raises(SpecError, match=path):
            parse_source(text, path)
