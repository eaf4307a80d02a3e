"""Mutants are programs, each one change away."""

from __future__ import annotations

import ast

import pytest

from rlcompress.coding.generated import generated_problems
from rlcompress.coding.mutants import mutants

CODE = '''LIMIT = 3


def f(x, y):
    """Says 1."""
    if x < y and x:
        return x + 2
    return [True]
'''


def test_each_change_of_a_small_program() -> None:
    found = [(mutant.line, mutant.kind) for mutant in mutants(CODE)]
    assert found == [
        (6, "comparison"),
        (6, "dropped"),
        (6, "logic"),
        (7, "constant"),
        (7, "operation"),
        (7, "returned"),
        (8, "constant"),
        (8, "returned"),
    ]
    by_kind = {(m.line, m.kind): m.code for m in mutants(CODE)}
    assert "if x >= y and x:" in by_kind[6, "comparison"]
    assert "pass" in by_kind[6, "dropped"]
    assert "return x + 2" not in by_kind[6, "dropped"]
    assert "if x < y or x:" in by_kind[6, "logic"]
    assert "return x + 3" in by_kind[7, "constant"]
    assert "return x - 2" in by_kind[7, "operation"]
    assert "return None" in by_kind[7, "returned"]
    assert "[False]" in by_kind[8, "constant"]


@pytest.mark.parametrize("i", range(10))
def test_all_can_be_read_and_differ(i: int) -> None:
    solution = generated_problems(10)[i].solution
    codes = [mutant.code for mutant in mutants(solution)]
    assert all(ast.parse(code) for code in codes)
    assert ast.unparse(ast.parse(solution)) + "\n" not in codes


def test_what_cannot_be_read_has_none() -> None:
    assert mutants("def f(:") == []
    assert mutants("x = 1 + 2\n") == [], "nothing inside a function"
