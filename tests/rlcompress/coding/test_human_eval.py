"""Checks as assert lines; the loops that are written out ask what the published loops ask."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest

from rlcompress.coding.human_eval import LOOPS, check_imports, check_lines, examples_shown, preamble


def encode_cyclic(s: str) -> str:
    """As HumanEval/38 publishes it."""
    groups = [s[(3 * i) : min((3 * i + 3), len(s))] for i in range((len(s) + 2) // 3)]
    return "".join((group[1:] + group[0]) if len(group) == 3 else group for group in groups)


def encode_shift(s: str) -> str:
    """As HumanEval/50 publishes it."""
    return "".join([chr(((ord(ch) + 5 - ord("a")) % 26) + ord("a")) for ch in s])


def sides(line: str) -> tuple[list[Any], Any]:
    """Literal arguments of the call and the literal expected of `assert f(...) == expected`."""
    (statement,) = ast.parse(line).body
    assert isinstance(statement, ast.Assert)
    assert isinstance(statement.test, ast.Compare)
    assert isinstance(statement.test.left, ast.Call)
    return [ast.literal_eval(a) for a in statement.test.left.args], ast.literal_eval(statement.test.comparators[0])


@pytest.mark.parametrize(("name", "encode"), [("HumanEval/38", encode_cyclic), ("HumanEval/50", encode_shift)])
def test_what_is_decoded_was_encoded(name: str, encode: Callable[[str], str]) -> None:
    lines = list(LOOPS[name]("decode"))
    assert len(set(lines)) == 20
    for line in lines:
        (given,), expected = sides(line)
        assert encode(expected) == given


def test_sums_and_bases() -> None:
    for line in LOOPS["HumanEval/53"]("add"):
        arguments, expected = sides(line)
        assert sum(arguments) == expected
    assert [sides(line) for line in LOOPS["HumanEval/44"]("change_base")] == [([x, x + 1], str(x)) for x in range(2, 8)]


def test_roots_of_polynomials_that_have_some() -> None:
    for line in LOOPS["HumanEval/32"]("find_zero"):
        inner, outer = (node for node in ast.walk(ast.parse(line)) if isinstance(node, ast.List))
        coefficients = ast.literal_eval(inner)
        assert coefficients == ast.literal_eval(outer)
        assert len(coefficients) % 2 == 0, "of odd degree, so it has a root"
        assert coefficients[-1] != 0


def test_a_known_loop_is_written_out_between_the_asserts() -> None:
    test = "def check(candidate):\n    assert candidate(8, 3) == '22'\n    for x in range(2, 8):\n        assert candidate(x, x + 1) == str(x)\n"  # noqa: E501
    lines = check_lines("HumanEval/44", test, "change_base")
    assert lines[:2] == ["assert change_base(8, 3) == '22'", "assert change_base(2, 3) == '2'"]
    assert len(lines) == 7
    with pytest.raises(ValueError, match="statement `for`"):
        check_lines("HumanEval/45", test, "change_base")


def test_what_uses_the_candidate_beforehand_is_refused() -> None:
    with pytest.raises(ValueError, match="statement `assign`"):
        check_lines("x", "def check(candidate):\n    y = candidate(1)\n    assert y == 2\n", "f")


def test_imports_of_the_check() -> None:
    assert check_imports("def check(c):\n    import math\n    import math\n    from copy import deepcopy\n") == (
        "import math\nfrom copy import deepcopy"
    )


def test_the_preamble_ends_before_a_decorator() -> None:
    assert preamble("import x\n\n@x.y\ndef f():\n    '''Doc.'''\n", "f") == "import x"
    assert preamble("def f():\n    # only a comment\n", "f") == ""


def test_examples_that_the_docstring_shows() -> None:
    prompt = (
        'def f(x):\n    """ Doc.\n    >>> f(1)\n    2\n    >>> g(3)\n    4\n'
        "    f(2) == 4\n    f(3) ➞ 6\n    f([]) -> None\n    f(4) is nice\n" + '    """\n'
    )
    assert examples_shown(prompt, "f") == [
        "assert f(1) == 2",
        "assert f(2) == 4",
        "assert f(3) == 6",
        "assert f([]) == None",
    ]
