"""Every row of the fault tables has a test that is named by its number."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROWS = {
    "test_spec.py": range(1, 18),
    "test_staleness.py": range(21, 30),
    "test_crashes.py": range(31, 37),
    "test_kernels.py": range(41, 49),
    "test_security.py": range(51, 55),
}


def numbers(file: Path) -> set[int]:
    """The numbers that tests of a file are named by."""
    names = [n.name for n in ast.walk(ast.parse(file.read_text("utf-8"))) if _is_test(n)]
    return {int(name[5:7]) for name in names if name[5:7].isdigit() and name[7:8] == "_"}


def _is_test(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")


@pytest.mark.parametrize("name", ROWS)
def test_every_row_has_a_test_and_every_number_is_a_row(name):
    assert sorted(numbers(Path(__file__).with_name(name))) == list(ROWS[name])
