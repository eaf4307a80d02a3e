"""Adaptive adding: one judge call a pass, the order of adding, its budget, and what it gains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rlcompress.baselines import teacher_order
from rlcompress.baselines.adaptive import AdaptiveAdd
from rlcompress.errors import JudgeUnavailable, UserError
from rlcompress.judges.ngram import NgramJudge, WordTokenizer
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, Judgement, JudgeRequest, Units


class Redundant:
    """A judge for whom neighbours say the same: a dropped unit costs its value, halved by each kept neighbour."""

    version = "redundant"

    def __init__(self, values: list[float]) -> None:
        self.values_N = np.array(values)
        self.calls: list[list[list[bool]]] = []

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        self.calls.append([request.kept_N.tolist() for request in requests])
        verdicts = []
        for request in requests:
            kept_N = np.concatenate([[False], request.kept_N, [False]])
            known_N = kept_N[:-2].astype(int) + kept_N[2:]
            bits_N = np.where(request.kept_N, 0.0, self.values_N / 2.0**known_N)
            verdicts.append(Judgement(float(bits_N.sum()), per_unit_N=bits_N))
        return verdicts


def make_units(costs: list[int], protected: Sequence[int] = ()) -> Units:
    starts_N = np.arange(len(costs), dtype=np.int64)
    protected_N = np.isin(starts_N, list(protected))
    return Units("x" * len(costs), starts_N, starts_N + 1, np.array(costs, np.int64), protected_N)


def added(judge: Redundant, units: Units, passes: int, rate: float = 1.0) -> list[int]:
    priorities_N = teacher_order(judge, [units], [Example("x", units.text)], passes, rate)[0]
    return [u for u in np.argsort(-priorities_N, kind="stable").tolist() if not units.protected_N[u]]


def test_it_asks_again_after_each_addition() -> None:
    # best first by static value: 2, 1, 3, 0, 4; but once 2 is kept, its neighbours are half known
    judge = Redundant([3.0, 5.0, 8.0, 4.0, 2.6])
    assert added(judge, make_units([1] * 5), passes=5) == [2, 0, 4, 1, 3]
    assert added(judge, make_units([1] * 5), passes=1) == [2, 1, 3, 0, 4]


def test_one_call_a_pass_for_all_texts() -> None:
    judge = Redundant([1.0, 2.0, 3.0, 4.0])
    units = [make_units([1] * 4), make_units([1] * 4, protected=[0])]
    teacher_order(judge, units, [Example("a", ""), Example("b", "")], passes=2)
    assert len(judge.calls) == 2
    assert [len(call) for call in judge.calls] == [2, 2]
    assert judge.calls[0] == [[False] * 4, [True, False, False, False]]
    assert [sum(kept) for kept in judge.calls[1]] == [2, 2]  # half of 4 free tokens; 1 + half of 3


def test_bits_a_token_decide() -> None:
    assert added(Redundant([6.0, 5.0, 0.0]), make_units([2, 1, 1]), passes=1) == [1, 0, 2]


def test_passes_are_spent_within_the_budget_of_the_rate() -> None:
    judge = Redundant([float(v) for v in range(20, 0, -1)])
    units = make_units([1] * 20)
    method = AdaptiveAdd(judge, passes=5)
    priorities_N = method.priorities([units], [Example("x", units.text)], 0.5, 0)[0]
    assert [sum(call[0]) for call in judge.calls] == [0, 2, 4, 6, 8]
    assert method.passes == 5
    assert select(units, priorities_N, 0.5).kept_tokens == 10
    assert sorted(priorities_N.tolist()) == list(range(-19, 1)), "a full order of all units"


def test_protected_units_are_kept_from_the_start_even_above_the_budget() -> None:
    judge = Redundant([1.0, 2.0, 3.0])
    assert added(judge, make_units([1, 1, 1], protected=[0, 1]), passes=2, rate=0.3) == [2]
    assert judge.calls[0] == [[True, True, False]]


def test_it_beats_its_own_first_scores() -> None:
    train = ["the cat sat on the mat and the dog sat on the rug because the bird saw the cat on the mat"] * 3
    tokenizer = WordTokenizer(train)
    judge = NgramJudge(tokenizer, train)
    text = "the cat saw the dog because the bird sat on the rug and the mat"
    units = [Segmenter(tokenizer)(text)]

    def bits(passes: int) -> float:
        priorities = AdaptiveAdd(judge, passes).priorities(units, [Example("x", text)], 0.5, 0)
        return judge.judge([JudgeRequest.of(select(units[0], priorities[0], 0.5))])[0].score

    assert bits(8) < bits(1)


def test_a_failed_verdict_is_no_order() -> None:
    class Failing:
        version = "failing"

        def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
            return [Judgement.failed("out of memory") for _ in requests]

    class Scoring(Failing):
        def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
            return [Judgement(1.0) for _ in requests]

    units, examples = [make_units([1, 1])], [Example("x", "xx")]
    with pytest.raises(JudgeUnavailable, match="out of memory"):
        teacher_order(Failing(), units, examples, passes=2)
    with pytest.raises(UserError, match="bits per unit"):
        teacher_order(Scoring(), units, examples, passes=2)
