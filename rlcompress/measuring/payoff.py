"""From which length compression pays: ratios and break-even points of paired timings, without torch.

Every round measures the original and the compressed prompt of one text one after the other, so figures are medians of
what a round shows, and intervals are percentile bootstraps (Efron 1979) over rounds. They tell how steady the machine
and the texts were, not how another machine would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rlcompress.measuring.statistics import NAN, Interval
from rlcompress.words import FloatArray, IntArray

DRAWS, LEVEL = 2000, 0.95
Pays = Literal["everywhere", "from", "nowhere"]
Row = dict[str, Any]
MEASURES = {"first_token": "prefill_s", "total": "total_s"}  # each with the time that compressing took


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The length from which compressing pays at every measured length that follows.

    `everywhere`: at all of them. `nowhere`: not at the longest, so that nothing is known beyond it. Else `tokens` lies
    between the two neighbouring lengths of `between`. `low` and `high` bound it over rounds; infinite where a share of
    the draws does not pay within what was measured.
    """

    pays: Pays
    tokens: float
    between: tuple[int, int] | None
    low: float
    high: float


def drawn_rounds(rounds: int, seed: int, draws: int = DRAWS) -> IntArray:
    """Rounds [D, R] with replacement."""
    return np.random.default_rng([seed, rounds]).integers(rounds, size=(draws, rounds))


def ratio_interval(original_R: FloatArray, compressed_R: FloatArray, seed: int = 0) -> Interval:
    """Median over rounds of original / compressed, above 1 where compressing pays; NaN bounds for a single round."""
    ratio_R = original_R / compressed_R
    middle = float(np.median(ratio_R))
    if len(ratio_R) < 2:
        return Interval(middle, NAN, NAN)
    medians_D = np.median(ratio_R[drawn_rounds(len(ratio_R), seed)], axis=1)
    low, high = np.quantile(medians_D, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(middle, float(low), float(high))


def crossing(lengths_L: Sequence[int], saved_L: FloatArray) -> float:
    """The length from which what is saved stays above 0, linear between neighbours; infinite where it never does.

    Lengths ascend. Where all of them pay this is the shortest: what is shorter was not measured. Nothing is
    extrapolated. Attention makes savings convex in the length, and a chord lies above a convex curve: between far
    lengths the true point is a little longer than the one given, never beyond the longer neighbour.
    """
    losing = np.flatnonzero(~(saved_L > 0))
    if not len(losing):
        return float(lengths_L[0])
    last = int(losing[-1])
    if last == len(lengths_L) - 1:
        return float("inf")
    share = -saved_L[last] / (saved_L[last + 1] - saved_L[last])
    return float(lengths_L[last] + share * (lengths_L[last + 1] - lengths_L[last]))


def break_even(
    lengths_L: Sequence[int], original_LR: FloatArray, compressed_LR: FloatArray, seed: int = 0
) -> BreakEven:
    """From which length compressing pays, from seconds without it and with it (the compressor's included).

    The rounds of all lengths are drawn together, for a round ran them under the same load of the machine.
    """
    saved_LR = original_LR - compressed_LR
    saved_L = np.median(saved_LR, axis=1)
    tokens = crossing(lengths_L, saved_L)
    pays: Pays = "nowhere" if np.isinf(tokens) else "everywhere" if (saved_L > 0).all() else "from"
    between = None
    if pays == "from":
        above = next(n for n, length in enumerate(lengths_L) if length > tokens)
        between = (lengths_L[above - 1], lengths_L[above])
    rounds = saved_LR.shape[1]
    if rounds < 2:
        return BreakEven(pays, tokens, between, NAN, NAN)
    medians_DL = np.median(saved_LR[:, drawn_rounds(rounds, seed)], axis=2).T
    found_D = np.array([crossing(lengths_L, medians_L) for medians_L in medians_DL])
    # nearest draws, for there is no way between a finite length and infinity
    low, high = np.quantile(found_D, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return BreakEven(pays, tokens, between, float(low), float(high))


class _Rounds:
    """Samples by length, rate (none is the original) and round; columns of them by the name of a quantity."""

    def __init__(self, samples: Sequence[Row]) -> None:
        self._samples = {(row["length"], row["rate"], row["repeat"]): row for row in samples}
        self.numbers = sorted({row["repeat"] for row in samples})
        self.lengths = sorted({row["length"] for row in samples})
        self.rates = sorted({row["rate"] for row in samples if row["rate"] is not None}, reverse=True)

    def column(self, length: int, rate: float | None, key: str) -> FloatArray:
        """One value [R] a round."""
        return np.array([self._samples[length, rate, number][key] for number in self.numbers], np.float64)

    def seconds(self, length: int, rate: float | None, measure: str) -> FloatArray:
        """Compressing and reading [R]."""
        return self.column(length, rate, "compress_s") + self.column(length, rate, MEASURES[measure])


def summarise(samples: Sequence[Row], price_per_million: float | None) -> dict[str, Any]:
    """`results` (a row for each length and rate) and `break_even` (a row for each rate and measure) of a `speed.json`.

    Medians over rounds. `first_token` is the time to the first new token, compressing included, and `total` that to the
    last; both are original / compressed. `saved_per_thousand_prompts` counts input tokens alone, at one price: nothing
    is said of answers that grow, or of a cache of prompts that a provider keeps.
    """
    rounds = _Rounds(samples)
    return {
        "results": [_result(rounds, n, rate, price_per_million) for n in rounds.lengths for rate in rounds.rates],
        "break_even": [_point(rounds, rate, measure) for rate in rounds.rates for measure in MEASURES],
    }


def _result(rounds: _Rounds, length: int, rate: float, price_per_million: float | None) -> Row:
    row: Row = {"length": length, "rate": rate, "rounds": len(rounds.numbers)}
    row["compress_s"] = _median(rounds.column(length, rate, "compress_s"))
    for suffix, which in (("_original", None), ("", rate)):
        for key in ("tokens", "prefill_s", "total_s", "cache_bytes", "peak_bytes"):
            row[key + suffix] = _median(rounds.column(length, which, key))
        row[f"prompts_per_second{suffix}"] = 1 / float(np.median(rounds.seconds(length, which, "total")))
    for measure in MEASURES:
        found = ratio_interval(rounds.seconds(length, None, measure), rounds.seconds(length, rate, measure))
        row[measure] = {"ratio": found.mean, "ci_low": _known(found.low), "ci_high": _known(found.high)}
    row["saved_tokens"] = row["tokens_original"] - row["tokens"]
    per_thousand = None if price_per_million is None else row["saved_tokens"] * price_per_million / 1000
    return {**row, "saved_per_thousand_prompts": per_thousand}


def _point(rounds: _Rounds, rate: float, measure: str) -> Row:
    original_LR, compressed_LR = (
        np.stack([rounds.seconds(length, which, measure) for length in rounds.lengths]) for which in (None, rate)
    )
    even = break_even(rounds.lengths, original_LR, compressed_LR)
    return {
        "rate": rate,
        "measure": measure,
        "pays": even.pays,
        "tokens": _known(even.tokens),
        "between": list(even.between) if even.between else None,
        "ci_low": _known(even.low),
        "ci_high": _known(even.high),
    }


def _median(values_R: FloatArray) -> float | None:
    return _known(float(np.median(values_R)))


def _known(value: float) -> float | None:
    """None, as JSON has it, for what is undefined or lies beyond what was measured."""
    return value if np.isfinite(value) else None
