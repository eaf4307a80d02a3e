"""What is visible and what is hidden never meet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.coding.problem import CodeProblem, distinct, split_tests
from rlcompress.coding.syntax import normal

LINES = st.lists(st.integers(0, 8).map(lambda n: f"assert f({n}) == {n}"), min_size=1, max_size=8)


@given(LINES, st.integers(0, 9), st.integers(0, 3), st.data())
def test_visible_and_hidden_are_the_distinct_tests_and_share_none(
    tests: list[str], visible: int, seed: int, data: st.DataObject
) -> None:
    shown = data.draw(st.lists(st.sampled_from(tests), max_size=3))
    seen, hidden = split_tests(tests, visible, name="p", seed=seed, shown=shown)
    assert sorted([*seen, *hidden]) == sorted(set(tests))
    assert set(shown) <= set(seen)
    if set(shown) != set(tests):
        assert hidden
        assert len(seen) == max(len(set(shown)), min(visible, len(set(tests)) - 1))


def test_the_choice_hangs_on_seed_and_name_alone() -> None:
    tests = [f"assert f({n})" for n in range(10)]
    first = split_tests(tests, 3, name="p", seed=0)
    assert first == split_tests(tests, 3, name="p", seed=0)
    assert len({split_tests(tests, 3, name=f"p{n}", seed=0) for n in range(5)}) > 1
    assert len({split_tests(tests, 3, name="p", seed=n) for n in range(5)}) > 1


def test_the_same_test_spelled_otherwise_is_one_test() -> None:
    assert distinct(["assert f( 1 )==('a')", "assert f(1) == 'a'", 'assert f(1) == "b"']) == [
        "assert f( 1 )==('a')",
        'assert f(1) == "b"',
    ]
    assert split_tests(["assert f(1)==2"], 1, name="p", shown=["assert f(1) == 2"]) == (("assert f(1)==2",), ())
    assert normal("no code (") == "no code ("


def test_a_problem_must_hide_something_and_only_once() -> None:
    def problem(seen: tuple[str, ...], hidden: tuple[str, ...]) -> CodeProblem:
        return CodeProblem("p", "Do.", "f", "", seen, hidden, "", "x")

    with pytest.raises(ValueError, match="p: no hidden test"):
        problem(("assert f(1)",), ())
    with pytest.raises(ValueError, match=r"p: both visible and hidden: assert f\(1\)"):
        problem(("assert f( 1 )",), ("assert f(1)", "assert f(2)"))
    assert problem((), ("assert f(1)",)).program("code") == "code"
