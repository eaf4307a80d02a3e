"""What of an assert goes into the candidate's jail, and what stays outside."""

from __future__ import annotations

import pytest

from rlcompress.errors import UserError
from rlcompress.sandbox.asserts import take_apart


@pytest.mark.parametrize(
    ("test", "calls", "right", "wrong"),
    [
        ("assert f(1, [2]) == 3", ["f(1, [2])"], 3, 4),
        ("assert f(1) == -1", ["f(1)"], -1, 1),
        ("assert 'a' == f(1), 'a message'", ["f(1)"], "a", "b"),
        ("assert f( {'a': (1, 2.5)} )==({'x'},)", ["f({'a': (1, 2.5)})"], ({"x"},), ("x",)),
        ("assert f(1) is None", ["f(1)"], None, 0),
        ("assert f(1) is True", ["f(1)"], True, 1),
        ("assert math.isclose(f(2), 0.5, rel_tol=0.01)", ["f(2)"], 0.501, 0.51),
        ("assert f([Pair(1, 2)], 3) == 4", ["f([Pair(1, 2)], 3)"], 4, 5),
        ("assert Solution().solve(3)[0] == 4", ["Solution().solve(3)[0]"], 4, 5),
        ("assert f(set()) == set()", ["f(set())"], set(), []),
    ],
)
def test_one_call_and_a_literal_are_decided_outside(test: str, calls: list[str], right: object, wrong: object) -> None:
    _, [question] = take_apart([test], "import math", "")
    assert list(question.calls) == calls
    assert question.decide is not None
    assert question.decide(right)
    assert not question.decide(wrong)


@pytest.mark.parametrize(("test", "right"), [("assert f(1)", True), ("assert not f(1)", False)])
def test_a_bare_call_asks_for_no_more_than_its_truth(test: str, right: bool) -> None:
    _, [question] = take_apart([test], "", "")
    assert question.op == "truth"
    assert question.decide is not None
    assert question.decide(right)
    assert not question.decide(not right)
    assert not question.decide(1 if right else 0)  # whoever answers with less than a boolean is not our code


@pytest.mark.parametrize(
    ("test", "calls", "remainder"),
    [
        ("assert set(f(1)) == set([1, 2])", ["f(1)"], "set(_value_0) == set([1, 2])"),
        ("assert int(f(1)) == 35", ["f(1)"], "int(_value_0) == 35"),
        ("assert f(1) == sys.getsizeof((1, 2))", ["f(1)"], "_value_0 == sys.getsizeof((1, 2))"),
        ("assert abs(f(1) - 2.5) < 1e-6", ["f(1)"], "abs(_value_0 - 2.5) < 1e-06"),
        ("assert f(1) in (1, 2)", ["f(1)"], "_value_0 in (1, 2)"),
        ("assert f(g(1)) == g(2)", ["f(g(1))", "g(2)"], "_value_0 == _value_1"),
        ("assert f(1) == 10 ** 9 + 7", ["f(1)"], "_value_0 == 10 ** 9 + 7"),
        ("assert [x + 1 for x in f(1)] == [2]", ["f(1)"], "[x + 1 for x in _value_0] == [2]"),
        ("assert sorted(f(1), key=lambda x: -x) == [2, 1]", ["f(1)"], "sorted(_value_0, key=lambda x: -x) == [2, 1]"),
    ],
)
def test_more_than_a_literal_goes_to_the_clean_jail(test: str, calls: list[str], remainder: str) -> None:
    parts, [question] = take_apart([test], "", "")
    assert (list(question.calls), question.decide, question.remainder) == (calls, None, remainder)
    assert parts.candidate == ""
    assert parts.clean == ("import sys" if "sys." in test else "")


def test_a_function_that_shadows_a_builtin_is_the_candidates_where_nobody_else_can_be_meant() -> None:
    _, [question] = take_apart(["assert sum(10, 15) == 25"], "", "x = 1\ndef sum(a, b):\n    return a + b\n")
    assert question.calls == ("sum(10, 15)",)


def test_a_program_cannot_draw_the_comparison_into_its_jail() -> None:
    program = "def set(x): return 1\ndef abs(x): return 0\ndef f(x): return 3"
    _, questions = take_apart(["assert set(f(1)) == set([1])", "assert abs(f(1) - 5) < 1"], "", program)
    assert [question.calls for question in questions] == [("f(1)",), ("f(1)",)]


def test_set_up_is_divided_by_who_needs_it() -> None:
    setup = "\n".join(
        (
            "import math",
            "expected = [1, 2]",
            "argument = [3, 4]",
            "root = Node(1)",
            "root.left = Node(argument[0])",
            "def near(a, b): return abs(a - b) < 0.1",
            "candidate = solve",
        )
    )
    parts, questions = take_apart(
        ["assert candidate(argument) == expected", "assert near(height(root), math.pi)"], setup, ""
    )
    assert [question.calls for question in questions] == [("candidate(argument)",), ("height(root)",)]
    assert "expected" not in parts.candidate
    assert "near" not in parts.candidate
    for line in ("import math", "argument = [3, 4]", "root = Node(1)", "root.left = Node(argument[0])"):
        assert line in parts.candidate.splitlines()
    assert "Node" not in parts.clean
    assert "candidate" not in parts.clean
    for line in ("import math", "expected = [1, 2]", "def near(a, b):"):
        assert line in parts.clean.splitlines()


@pytest.mark.parametrize(
    ("test", "word"),
    [
        ("assert f(1) ==", "no Python"),
        ("f(1)", "one assert"),
        ("assert f(1) == 1; assert f(2) == 2", "one assert"),
        ("for x in [1]:\n    assert f(x)", "one assert"),
        ("assert 1 == 1", "nothing of the candidate"),
        ("assert all(f(x) == x for x in range(3))", "in a loop"),
        ("assert " + "(" * 5000 + "f(1)", "no Python"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(test: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        take_apart([test], "", "")


def test_a_set_up_that_is_no_python_is_refused() -> None:
    with pytest.raises(UserError, match="setup"):
        take_apart(["assert f(1) == 1"], "x = (", "")
