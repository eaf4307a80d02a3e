"""The one selection rule: exact budget, nested keep-sets, protected text, byte-exact spans."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.selection import Ranking, budget_tokens, rank, select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Compression, FloatArray, Status, Units


def make_units(costs: list[int], protected: list[bool] | None = None) -> Units:
    """One character a unit, so that a unit is easy to find in a text."""
    text = "".join(chr(0x4E00 + i) for i in range(len(costs)))
    starts_N = np.arange(len(costs), dtype=np.int64)
    protected_N = np.array(protected or [False] * len(costs), np.bool_)
    return Units(text, starts_N, starts_N + 1, np.array(costs, np.int64), protected_N)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Units, FloatArray]:
    n = draw(st.integers(0, 12))
    costs = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    protected = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    level = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 0.5, 2.0, np.inf])  # many ties
    priorities = draw(st.lists(level, min_size=n, max_size=n))
    return make_units(costs, protected), np.array(priorities)


rates = st.floats(0, 1)


def slow_rank(units: Units, priorities_N: FloatArray, budget: int) -> Ranking:
    """The rule read aloud: no sorting function with options, no cumulative sums."""
    waiting = [u for u in range(len(units)) if not units.protected_N[u]]
    order: list[int] = []
    while waiting:
        best = waiting[0]
        for u in waiting:
            if priorities_N[u] > priorities_N[best]:
                best = u
        waiting.remove(best)
        order.append(best)
    left = budget - sum(int(units.costs_N[u]) for u in range(len(units)) if units.protected_N[u])
    if left < 0:
        return Ranking(np.array(order, np.int64), 0, 0, True)
    some_fits = any(units.costs_N[u] <= left for u in order)
    kept = 0
    for u in order:
        if units.costs_N[u] > left:
            break
        left -= int(units.costs_N[u])
        kept += 1
    draws = kept + 1 if kept < len(order) and some_fits else 0
    return Ranking(np.array(order, np.int64), kept, draws, False)


@given(problems(), st.integers(-1, 40))
def test_rank_equals_the_slow_twin(problem: tuple[Units, FloatArray], budget: int) -> None:
    fast, slow = rank(*problem, budget), slow_rank(*problem, budget)
    assert fast.order_M.tolist() == slow.order_M.tolist()
    assert (fast.kept, fast.draws, fast.over_budget) == (slow.kept, slow.draws, slow.over_budget)


@given(problems(), rates)
def test_the_budget_is_exact(problem: tuple[Units, FloatArray], rate: float) -> None:
    units, priorities_N = problem
    compression = select(units, priorities_N, rate)
    budget = round(rate * units.total_cost) - int(units.costs_N[units.protected_N].sum())
    assert compression.kept_N[units.protected_N].all()
    if budget < 0:
        assert compression.status is Status.OVER_BUDGET
        assert (compression.kept_N == units.protected_N).all()
        return
    assert compression.status is Status.OK
    used = int(units.costs_N[compression.kept_N & ~units.protected_N].sum())
    order = rank(units, priorities_N, budget_tokens(units, rate)).order_M
    dropped = [u for u in order if not compression.kept_N[u]]
    assert used <= budget
    if dropped:
        assert budget - used < units.costs_N[dropped[0]]


@given(problems(), rates, rates)
def test_a_higher_rate_keeps_a_superset(problem: tuple[Units, FloatArray], one: float, other: float) -> None:
    low, high = (select(*problem, rate).kept_N for rate in sorted((one, other)))
    assert (low <= high).all()


@given(problems(), rates)
def test_a_rate_and_its_tokens_keep_the_same(problem: tuple[Units, FloatArray], rate: float) -> None:
    by_rate = select(*problem, rate)
    by_tokens = select(*problem, target_tokens=budget_tokens(problem[0], rate))
    assert (by_rate.kept_N == by_tokens.kept_N).all()
    assert by_rate.status is by_tokens.status


@given(problems())
def test_rate_one_keeps_everything(problem: tuple[Units, FloatArray]) -> None:
    compression = select(*problem, 1.0)
    assert compression.kept_N.all()
    assert compression.text == problem[0].text
    assert compression.achieved_rate == 1.0


def test_ties_go_by_position() -> None:
    assert select(make_units([1] * 6), np.zeros(6), 0.5).kept_N.tolist() == [True] * 3 + [False] * 3


def test_the_first_that_does_not_fit_ends_the_selection() -> None:
    kept_N = select(make_units([1, 3, 1]), np.array([3.0, 2.0, 1.0]), target_tokens=3).kept_N
    assert kept_N.tolist() == [True, False, False]  # the cheap last one would fit, and would break nesting


def test_units_without_cost_are_free_until_the_budget_ends() -> None:
    units = make_units([0, 2, 0, 1])
    assert select(units, np.array([4.0, 3.0, 2.0, 1.0]), target_tokens=2).kept_N.tolist() == [True, True, True, False]
    assert select(units, np.array([4.0, 3.0, 2.0, 1.0]), 0.0).kept_N.tolist() == [True, False, False, False]


def test_draws_count_decisions() -> None:
    units = make_units([2, 2, 2])
    assert [rank(units, np.zeros(3), budget).draws for budget in (0, 1, 2, 3, 5, 6, 9)] == [0, 0, 2, 2, 3, 0, 0]


def test_bad_input_is_refused() -> None:
    units = make_units([1, 1])
    with pytest.raises(ValueError, match="2 units"):
        rank(units, np.zeros(3), 1)
    with pytest.raises(ValueError, match="NaN"):
        rank(units, np.array([0.0, np.nan]), 1)
    with pytest.raises(ValueError, match="exactly one"):
        select(units, np.zeros(2))
    with pytest.raises(ValueError, match="exactly one"):
        select(units, np.zeros(2), 0.5, target_tokens=1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        select(units, np.zeros(2), 1.1)
    with pytest.raises(ValueError, match="negative"):
        select(units, np.zeros(2), target_tokens=-1)


@given(st.text(max_size=50), rates, st.integers(0, 99), st.sampled_from(["word", "phrase", "sentence"]))
@settings(max_examples=150)
def test_output_is_made_of_source_spans(
    bpe: TextTokenizer, text: str, rate: float, seed: int, granularity: str
) -> None:
    units = Segmenter(bpe, granularity)(text)
    compression = select(units, np.random.default_rng(seed).normal(size=len(units)), rate)
    spans = compression.spans
    assert "".join(text[a:b] for a, b in spans) == compression.text
    assert all(a < b for a, b in spans)
    assert all(first[1] < second[0] for first, second in pairwise(spans))
    kept = [u for u in range(len(units)) if compression.kept_N[u]]
    assert compression.text == slow_text(units, kept)


def slow_text(units: Units, kept: list[int]) -> str:
    """Kept units one after the other, and a white space character between two words that would become one."""
    text, result = units.text, ""
    for previous, u in zip([None, *kept], kept, strict=False):
        word = text[units.starts_N[u] : units.ends_N[u]]
        gap = text[units.ends_N[previous] : units.starts_N[u]] if previous is not None else ""
        if gap and result[-1].isalnum() and word[0].isalnum():
            result += "".join(c for c in gap if c.isspace())[-1:]
        result += word
    return result


@pytest.mark.parametrize(
    ("text", "dropped", "expected"),
    [
        ("the team, the plan", {",", "the"}, "team plan"),
        ("the team (all) left", {"the", "(", "all", ")"}, "team left"),
        ('a team, "plan', {",", '"'}, "a team plan"),
        ("see B-217 now", {"-"}, "see B217 now"),  # no white space between them that could stay
        ("the end.", {"the"}, "end."),
        ("one\n\ntwo three", {"two"}, "one\n\nthree"),
    ],
)
def test_words_are_not_glued(bpe: TextTokenizer, text: str, dropped: set[str], expected: str) -> None:
    units = Segmenter(bpe)(text)
    kept_N = np.array([word.strip() not in dropped for word in units.words()])
    assert Compression(units, kept_N, 1.0).text == expected


def test_exact_and_quick_at_32k_tokens(bpe: TextTokenizer) -> None:
    generator = np.random.default_rng(0)
    words = np.array(["the", "assertion", "naïve", "日本", "3.14", "well-known", "👍🏽", "x", "\n\n", "extraordinary,"])
    text = " ".join(generator.choice(words, 22_000).tolist())
    started = time.process_time()
    units = Segmenter(bpe, protect=["numbers"])(text)
    assert units.total_cost > 32_000
    priorities_N = generator.normal(size=len(units))
    order = [u for u in np.argsort(-priorities_N, kind="stable") if not units.protected_N[u]]
    for rate in (0.9, 0.5, 0.33):
        compression = select(units, priorities_N, rate)
        left = round(rate * units.total_cost) - compression.kept_tokens
        following = next(u for u in order if not compression.kept_N[u])
        assert 0 <= left < units.costs_N[following]
    assert time.process_time() - started < 3.0  # an idle core takes 0.3 s


def test_real_text(bpe: TextTokenizer, real_data: Path) -> None:
    text = (real_data / "wikitext-2" / "valid.txt").read_text("utf-8")[:60_000]
    for granularity in ("word", "phrase", "sentence"):
        units = Segmenter(bpe, granularity)(text)
        assert "".join(units.words()) == text
        priorities_N = np.random.default_rng(0).normal(size=len(units))
        low, high = (select(units, priorities_N, rate) for rate in (0.33, 0.5))
        assert (low.kept_N <= high.kept_N).all()
        assert 0.48 < high.achieved_rate <= 0.5001
