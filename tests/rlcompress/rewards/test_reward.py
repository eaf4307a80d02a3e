"""The reward formula against a slow twin, its bounds, its failures and its breakdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.config.schema import GatesConfig, RewardConfig
from rlcompress.errors import UserError
from rlcompress.rewards.reward import Reward, spread_report
from rlcompress.rewards.terms import TERMS, RewardInput
from rlcompress.selection import select
from rlcompress.text.units import unit_starts
from rlcompress.words import Compression, Example, Judgement, Status, Units

TEXT = "The meeting starts at 17:30 in room 12, bring the blue folder."
EXAMPLE = Example("a#0", TEXT, question="When?", answer="17:30")


def cut(text: str, protected: Sequence[int] = ()) -> Units:
    starts_N = unit_starts(text)
    ends_N = np.append(starts_N[1:], len(text)).astype(np.int64)
    protected_N = np.isin(np.arange(len(starts_N)), protected)
    return Units(text, starts_N, ends_N, np.ones(len(starts_N), np.int64), protected_N)


def judged(kept_N: np.ndarray, bits_N: np.ndarray, version: str = "v1") -> Judgement:
    """A monotone judge: each dropped unit costs its own bits."""
    per_unit_N = np.where(kept_N, 0.0, bits_N)
    return Judgement(float(per_unit_N.sum()), version=version, per_unit_N=per_unit_N)


def item_for(kept_N: np.ndarray, bits_N: np.ndarray, example: Example = EXAMPLE) -> RewardInput:
    units = cut(example.text)
    compression = Compression(units, kept_N, float(kept_N.mean()))
    return RewardInput(example, compression, judged(kept_N, bits_N), judged(np.zeros_like(kept_N), bits_N))


N = len(cut(TEXT))
masks = st.lists(st.booleans(), min_size=N, max_size=N).map(lambda x: np.asarray(x, np.bool_))
bits = st.lists(st.floats(0.1, 20), min_size=N, max_size=N).map(np.asarray)
UNREAD = sorted(name for name, term in TERMS.items() if not term.reads)
weights = st.dictionaries(st.sampled_from(UNREAD), st.floats(-3, 3).filter(lambda w: abs(w) > 1e-6), min_size=1)


def slow_total(breakdown_terms: dict[str, float], term_weights: dict[str, float], gates_open: bool) -> float:
    """Return g * (R - R_min) with R_min by trying every corner of the box of term values."""
    total = sum(term_weights[name] * value for name, value in breakdown_terms.items())
    corners = [0.0]
    for name, weight in term_weights.items():
        corners = [c + weight * end for c in corners for end in (TERMS[name].low, TERMS[name].high)]
    return (total - min(corners)) if gates_open else 0.0


@given(masks, bits, weights, st.floats(0, 1))
def test_the_total_is_the_formula_and_never_below_a_closed_gate(kept_N, bits_N, term_weights, floor):
    reward = Reward(RewardConfig(terms=term_weights, gates=GatesConfig(floor=floor)))
    result = reward.score(item_for(kept_N, bits_N))
    assert result.total == pytest.approx(slow_total(result.terms, term_weights, all(result.gates.values())), abs=1e-9)
    assert result.gates["leak"]
    assert result.gates.get("floor", True) == (kept_N.mean() >= floor)
    most = sum(abs(w) * (TERMS[name].high - TERMS[name].low) for name, w in term_weights.items())
    assert 0.0 <= result.total <= most + 1e-9
    for name, value in result.terms.items():
        assert TERMS[name].low <= value <= TERMS[name].high


def test_the_distortion_term_is_the_share_of_bits_saved():
    bits_N = np.arange(1.0, N + 1)
    kept_N = np.arange(N) % 2 == 0
    result = Reward().score(item_for(kept_N, bits_N))
    lost = sum(b for b, k in zip(bits_N, kept_N, strict=True) if not k)
    assert result.terms == {"distortion": pytest.approx(1 - lost / bits_N.sum())}


@pytest.mark.parametrize("factor", [-1.0, 3.0])
def test_terms_are_clipped_to_their_range(factor):
    item = item_for(np.zeros(N, np.bool_), np.ones(N))
    odd = Judgement(factor * N, version="v1")
    result = Reward().score(RewardInput(EXAMPLE, item.compression, odd, item.empty_judgement))
    assert result.terms["distortion"] == (1.0 if factor < 0 else 0.0)


def test_a_text_without_bits_loses_nothing():
    item = item_for(np.zeros(N, np.bool_), np.zeros(N))
    assert Reward().score(item).terms["distortion"] == 1.0


@pytest.mark.parametrize(
    ("verdict", "empty"),
    [
        (Judgement.failed("timeout"), Judgement(9.0, version="v1")),
        (Judgement(3.0, version="v1"), Judgement.failed("timeout")),
        (Judgement(3.0, version="v1"), Judgement(9.0, version="v2")),
    ],
    ids=["judge failed", "empty failed", "two versions"],
)
def test_no_verdict_is_a_status_and_never_a_number(verdict, empty):
    compression = Compression(cut(TEXT), np.ones(N, np.bool_), 1.0)
    result = Reward().score(RewardInput(EXAMPLE, compression, verdict, empty))
    assert result.status is Status.JUDGE_FAILED
    assert math.isnan(result.total)


def test_a_value_that_is_not_finite_is_a_failed_reward_not_a_clipped_one():
    compression = Compression(cut(TEXT), np.ones(N, np.bool_), 1.0)
    verdict = Judgement(-math.inf, version="v1")
    result = Reward().score(RewardInput(EXAMPLE, compression, verdict, Judgement(9.0, version="v1")))
    assert result.status is Status.REWARD_FAILED
    assert math.isnan(result.total)


def test_over_budget_keeps_its_status():
    units = cut(TEXT, protected=range(N))
    compression = select(units, np.zeros(N), 0.2)
    verdict = judged(compression.kept_N, np.ones(N))
    result = Reward().score(RewardInput(EXAMPLE, compression, verdict, judged(np.zeros(N, np.bool_), np.ones(N))))
    assert result.status is Status.OVER_BUDGET
    assert math.isfinite(result.total)


def test_a_term_of_weight_zero_is_logged_and_pays_nothing():
    kept_N = np.arange(N) < 4
    plain = Reward().score(item_for(kept_N, np.ones(N)))
    watched = Reward(RewardConfig(terms={"distortion": 1.0, "rate": 0.0})).score(item_for(kept_N, np.ones(N)))
    assert watched.terms["rate"] == pytest.approx(1 - 4 / N)
    assert watched.total == plain.total


def test_an_example_without_an_answer_is_refused_by_name():
    reward = Reward(RewardConfig(terms={"answer_kept": 1.0}))
    with pytest.raises(UserError, match=r"answer_kept.*'b#1'"):
        reward.check([EXAMPLE, Example("b#1", "text")])
    reward.check([EXAMPLE])


def test_spread_report_warns_of_dead_and_of_misscaled_rewards():
    assert spread_report([0.2, 0.5, 0.9]).warnings == ()
    assert "nothing can be learned" in spread_report([0.5, 0.5, 0.5]).warnings[0]
    assert "order 1" in spread_report([100.0, 300.0]).warnings[0]
    report = spread_report([math.nan, 0.4, 0.6])
    assert (report.n, report.failed) == (2, 1)
    assert report.mean == pytest.approx(0.5)
    assert report.std == pytest.approx(0.1)
    assert "failed" in spread_report([math.nan]).warnings[0]
