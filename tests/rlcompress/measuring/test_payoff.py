"""Break-even points and ratios: against slow twins, with planted costs, and in words that claim nothing more."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.measuring.payoff import break_even, crossing, drawn_rounds, ratio_interval, summarise
from rlcompress.measuring.speed_table import pays_from

LENGTHS = [256, 1024, 4096]
SAVED = st.lists(st.floats(-10, 10).map(lambda x: round(x, 2)), min_size=1, max_size=5)


def slow_crossing(lengths: list[int], saved: list[float]) -> float:
    """Walk down from the longest length in steps of 1/64 for as long as something is saved."""
    grid = [n / 64 for n in range(64 * lengths[0], 64 * lengths[-1] + 1)]
    saves = [value > 0 for value in np.interp(grid, lengths, saved)]
    if not saves[-1]:
        return float("inf")
    return grid[max((n for n, pays in enumerate(saves) if not pays), default=-1) + 1]


@given(SAVED)
def test_the_crossing_equals_the_slow_twin(saved: list[float]) -> None:
    lengths = [1, 4, 6, 7, 15][: len(saved)]
    assert crossing(lengths, np.array(saved)) == pytest.approx(slow_crossing(lengths, saved), abs=1 / 64)


@pytest.mark.parametrize(
    ("saved", "pays", "tokens", "between"),
    [
        ([1.0, 2.0, 3.0], "everywhere", 256, None),
        ([-1.0, 1.0, 9.0], "from", 640, (256, 1024)),
        ([0.0, 1.0, 9.0], "from", 256, (256, 1024)),
        ([5.0, -1.0, 1.0], "from", 2560, (1024, 4096)),  # what pays once and not again does not count
        ([5.0, 1.0, -1.0], "nowhere", float("inf"), None),
        ([-1.0, -1.0, 0.0], "nowhere", float("inf"), None),
    ],
)
def test_planted_savings(saved: list[float], pays: str, tokens: float, between: tuple[int, int] | None) -> None:
    original = np.full((3, 4), 20.0)
    found = break_even(LENGTHS, original, original - np.array(saved)[:, None])
    assert (found.pays, found.tokens, found.between) == (pays, tokens, between)
    assert (found.low, found.high) == (tokens, tokens), "without noise there is nothing to doubt"


@given(st.floats(1e-7, 1e-5), st.floats(1e-5, 1e-3), st.floats(0.0, 1.0))
def test_the_true_point_lies_between_the_one_given_and_the_longer_neighbour(
    quadratic: float, linear: float, fixed: float
) -> None:
    """Prefill grows with the square of the length and compressing with the length: saved is convex."""
    tokens = np.array(LENGTHS, float)
    found = crossing(LENGTHS, quadratic * tokens**2 - linear * tokens - fixed)
    true = (linear + (linear**2 + 4 * quadratic * fixed) ** 0.5) / (2 * quadratic)
    if true >= LENGTHS[-1]:
        assert found == float("inf") or true == pytest.approx(LENGTHS[-1])
    elif true > LENGTHS[0]:
        assert found <= true * (1 + 1e-9)
        assert true <= next(length for length in LENGTHS if length > found) * (1 + 1e-9)


def test_rounds_that_disagree_widen_the_interval_up_to_what_was_not_measured() -> None:
    original = np.array([[1.0] * 5, [4.0] * 5])
    compressed = np.array([[1.5] * 5, [3.0, 3.0, 3.0, 5.0, 5.0]])
    found = break_even([100, 200], original, compressed)
    assert found.pays == "from"
    assert found.tokens == pytest.approx(100 + 100 * 0.5 / 1.5)
    assert found.low == found.tokens
    assert found.high == float("inf"), "in some draws most rounds lose at every length"


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), min_size=2, max_size=7))
def test_the_interval_of_a_ratio_equals_the_slow_twin(pairs: list[tuple[float, float]]) -> None:
    original, compressed = map(np.array, zip(*pairs, strict=True))
    found = ratio_interval(original, compressed, seed=3)
    ratios = [a / b for a, b in pairs]
    medians = [statistics.median(ratios[i] for i in draw) for draw in drawn_rounds(len(pairs), 3).tolist()]
    assert found.mean == pytest.approx(statistics.median(ratios))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(medians, [0.025, 0.975])))


def test_a_drift_that_meets_both_is_not_in_the_ratio() -> None:
    drift = np.array([1.0, 1.3, 2.0, 1.1, 0.9])
    found = ratio_interval(3.0 * drift, 2.0 * drift)
    assert (found.mean, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_one_round_has_no_interval() -> None:
    found = ratio_interval(np.array([3.0]), np.array([2.0]))
    assert found.mean == 1.5
    assert np.isnan([found.low, found.high]).all()


def samples(rounds: int = 2) -> list[dict[str, object]]:
    """Reading takes 1 ms a token and 10 ms a new one, of which there are 3; compressing takes 100 ms and keeps half."""
    return [
        {
            "length": length,
            "rate": rate,
            "repeat": repeat,
            "tokens": round(length * (rate or 1)),
            "compress_s": 0.1 if rate else 0.0,
            "prefill_s": 0.001 * length * (rate or 1),
            "total_s": 0.001 * length * (rate or 1) + 0.02,
            "cache_bytes": round(length * (rate or 1)) * 8,
            "peak_bytes": None,
        }
        for repeat in range(rounds)
        for length in (100, 300)
        for rate in (None, 0.5)
    ]


def test_figures_by_hand() -> None:
    found = json.loads(json.dumps(summarise(samples(), 2.0), allow_nan=False))
    short, long = found["results"]
    assert (short["length"], short["tokens_original"], short["tokens"], short["rounds"]) == (100, 100, 50, 2)
    assert short["first_token"]["ratio"] == pytest.approx(0.1 / 0.15)
    assert long["total"] == pytest.approx({"ratio": 0.32 / 0.27, "ci_low": 0.32 / 0.27, "ci_high": 0.32 / 0.27})
    assert long["prompts_per_second"] == pytest.approx(1 / 0.27)
    assert (long["cache_bytes_original"], long["cache_bytes"], long["peak_bytes"]) == (2400, 1200, None)
    assert (long["saved_tokens"], long["saved_per_thousand_prompts"]) == (150, pytest.approx(0.3))
    for point in found["break_even"]:
        assert point["pays"] == "from"
        assert point["tokens"] == pytest.approx(200), "100 ms buy 200 tokens of which half are not read"
        assert point["between"] == [100, 300]


def test_what_is_not_known_is_null_and_said() -> None:
    found = json.loads(json.dumps(summarise(samples(1), None), allow_nan=False))
    assert found["results"][0]["saved_per_thousand_prompts"] is None
    assert found["results"][0]["first_token"]["ci_low"] is None
    only_short = [row for row in samples() if row["length"] == 100]
    never = summarise(only_short, None)["break_even"][0]
    assert (never["pays"], never["tokens"], never["ci_high"]) == ("nowhere", None, None)
    assert pays_from(never, 100, 100) == "not within the measured lengths (up to 100 tokens)"


def test_a_point_in_words() -> None:
    point = {"pays": "from", "tokens": 512.4, "between": [256, 1024], "ci_low": 500.0, "ci_high": None}
    assert pays_from(point, 256, 4096) == "about 512 [500, beyond] tokens (measured at 256 and 1024)"
    assert pays_from({**point, "pays": "everywhere"}, 256, 4096) == "every measured length (256 tokens and more)"
