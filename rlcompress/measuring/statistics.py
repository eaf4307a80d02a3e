"""Intervals and tests for ratios over correlated items.

Items of one document or context are correlated, so whole groups are resampled and tested, never items. The bootstrap
is of the very statistic that is reported: sum of numerators / sum of denominators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from rlcompress.words import FloatArray, IntArray

_BLOCK = 1 << 22  # counts held at once by one block of bootstrap draws (32 MiB)
_EXACT_BELOW = 14  # groups; below it all sign patterns are enumerated
NAN = float("nan")
Transform = Callable[[FloatArray], FloatArray]  # of ratios, element by element


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its percentile interval; NaN bounds where fewer than two groups leave nothing to resample."""

    mean: float
    low: float
    high: float


def group_numbers(groups: Sequence[str]) -> IntArray:
    """Groups as numbers [I] in order of first appearance."""
    first: dict[str, int] = {}
    return np.asarray([first.setdefault(group, len(first)) for group in groups], np.int64)


def group_sums(values_I: FloatArray, groups_I: IntArray) -> FloatArray:
    """Sums [K] of `values_I` over the K groups that occur in `groups_I`."""
    _, dense_I = np.unique(groups_I, return_inverse=True)
    return np.bincount(dense_I, weights=values_I).astype(np.float64)


@lru_cache(maxsize=4)
def _counts(n_groups: int, first_draw: int, draws: int, seed: int) -> FloatArray:
    """How often each draw [D] takes each group [K]; every draw takes K groups with replacement."""
    generator = np.random.default_rng([seed, first_draw])
    picked_DK = generator.integers(n_groups, size=(draws, n_groups))
    flat = (picked_DK + np.arange(draws)[:, None] * n_groups).ravel()
    counts_DK: FloatArray = np.bincount(flat, minlength=draws * n_groups).reshape(draws, n_groups).astype(np.float64)
    counts_DK.flags.writeable = False
    return counts_DK


def resampled_sums(values_KM: FloatArray, draws: int, seed: int) -> FloatArray:
    """Sums [D, M] of M quantities over groups drawn with replacement; equal K and seed draw the same groups."""
    return np.concatenate([counts_DK @ values_KM for counts_DK in _blocks(len(values_KM), draws, seed)])


def _blocks(n_groups: int, draws: int, seed: int) -> Iterator[FloatArray]:
    """Counts [D, K] of all draws, as many at once as fit."""
    step = max(1, _BLOCK // n_groups)
    for start in range(0, draws, step):
        yield _counts(n_groups, start, min(step, draws - start), seed)


def _ratio(numerator: FloatArray, denominator: FloatArray, final: Transform | None = None) -> FloatArray:
    """Element-wise ratio, transformed at the end; NaN where the denominator is 0."""
    ratio: FloatArray = np.divide(numerator, denominator, out=np.full(numerator.shape, NAN), where=denominator != 0)
    return ratio if final is None else final(ratio)


def _percentiles(values_D: FloatArray, level: float) -> tuple[float, float]:
    """Percentile interval; draws in which the statistic is undefined are left out."""
    defined = values_D[np.isfinite(values_D)]
    if not len(defined):
        return NAN, NAN
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def ratio_interval(
    numerator_I: FloatArray,
    denominator_I: FloatArray,
    groups_I: IntArray,
    *,
    draws: int,
    seed: int,
    level: float = 0.95,
    final: Transform | None = None,
) -> Interval:
    """Cluster bootstrap of final(sum(numerator) / sum(denominator)); a mean has a denominator of ones.

    Percentile interval (Efron 1979, resampling groups as Field & Welsh 2007).
    """
    sums_KM = np.stack([group_sums(values, groups_I) for values in (numerator_I, denominator_I)], axis=1)
    mean = float(_ratio(sums_KM[:, 0].sum(keepdims=True), sums_KM[:, 1].sum(keepdims=True), final)[0])
    if len(sums_KM) < 2 or np.isnan(mean):
        return Interval(mean, NAN, NAN)
    drawn_DM = resampled_sums(sums_KM, draws, seed)
    return Interval(mean, *_percentiles(_ratio(drawn_DM[:, 0], drawn_DM[:, 1], final), level))


def quantile_interval(
    values_I: FloatArray, groups_I: IntArray, quantile: float, *, draws: int, seed: int, level: float = 0.95
) -> Interval:
    """Cluster bootstrap of a quantile of all values, as numpy's `quantile` interpolates it; NaN of none."""
    if not len(values_I):
        return Interval(NAN, NAN, NAN)
    mean = float(np.quantile(values_I, quantile))
    order_I = np.argsort(values_I, kind="stable")
    sorted_I = values_I[order_I]
    names, dense_I = np.unique(groups_I, return_inverse=True)
    if len(names) < 2:
        return Interval(mean, NAN, NAN)
    drawn = []
    for counts_DK in _blocks(len(names), draws, seed):
        up_to_DI = counts_DK[:, dense_I[order_I]].cumsum(1)  # how many values a draw has up to each
        place_D = quantile * (up_to_DI[:, -1] - 1)
        below_D = np.floor(place_D)
        first_D, second_D = (
            sorted_I[(up_to_DI <= place_D1).sum(1)]
            for place_D1 in (below_D[:, None], np.minimum(below_D + 1, up_to_DI[:, -1] - 1)[:, None])
        )
        drawn.append(first_D + (second_D - first_D) * (place_D - below_D))
    return Interval(mean, *_percentiles(np.concatenate(drawn), level))


@dataclass(frozen=True, slots=True)
class Difference:
    """First minus second on the same items: bootstrap interval, Wilcoxon p over groups, standardised effect."""

    interval: Interval
    p: float
    effect: float
    groups: int


def paired_difference(
    first_2I: FloatArray,
    second_2I: FloatArray,
    groups_I: IntArray,
    *,
    draws: int,
    seed: int,
    level: float = 0.95,
    final: Transform | None = None,
) -> Difference:
    """Difference of two ratios measured on the same items; rows of the inputs are numerator and denominator.

    With `final` it is that of the transformed ratios. Both methods are resampled together. The p-value is a Wilcoxon
    signed-rank test over the groups' differences and `effect` is their mean over their standard deviation (Cohen's d of
    paired groups).
    """
    sums_KM = np.stack([group_sums(values, groups_I) for values in (*first_2I, *second_2I)], axis=1)
    difference_K = _difference(sums_KM, final)
    difference_K = difference_K[np.isfinite(difference_K)]
    total_1M = sums_KM.sum(0, keepdims=True)
    mean = float(_difference(total_1M, final)[0])
    if len(difference_K) < 2 or np.isnan(mean):
        return Difference(Interval(mean, NAN, NAN), NAN, NAN, len(difference_K))
    drawn_DM = resampled_sums(sums_KM, draws, seed)
    drawn_D = _difference(drawn_DM, final)
    spread = float(difference_K.std(ddof=1))
    effect = float(difference_K.mean()) / spread if spread > 0 else NAN
    interval = Interval(mean, *_percentiles(drawn_D, level))
    return Difference(interval, signed_rank_p(difference_K), effect, len(difference_K))


def _difference(sums_DM: FloatArray, final: Transform | None) -> FloatArray:
    """Differences [D] of two ratios, from rows of numerator, denominator, numerator, denominator."""
    return _ratio(sums_DM[:, 0], sums_DM[:, 1], final) - _ratio(sums_DM[:, 2], sums_DM[:, 3], final)


def signed_rank_p(difference_K: FloatArray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (Wilcoxon 1945); 1.0 where nothing differs.

    Exact for few groups, by the normal approximation otherwise, with ties or without: so p-values stand comparison.
    """
    moved = difference_K[difference_K != 0]
    if not len(moved):
        return 1.0
    if len(moved) >= _EXACT_BELOW:
        return float(stats.wilcoxon(moved, method="approx").pvalue)
    ranks_K = stats.rankdata(np.abs(moved))
    from_middle_S = np.abs(_signs(len(moved)) @ ranks_K - ranks_K.sum() / 2)
    observed = abs(float(ranks_K[moved > 0].sum()) - float(ranks_K.sum()) / 2)
    return float((from_middle_S >= observed - 1e-9).mean())  # ranks are halves: less is a difference of rounding


@lru_cache(maxsize=_EXACT_BELOW)
def _signs(n_groups: int) -> FloatArray:
    """All patterns [2^K, K] of which differences are positive."""
    signs_SK = ((np.arange(2**n_groups)[:, None] >> np.arange(n_groups)) & 1).astype(np.float64)
    signs_SK.flags.writeable = False
    return signs_SK


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm (1979), in the order given; NaN stays NaN and does not count as a test."""
    adjusted = [NAN] * len(p_values)
    tested = sorted((p, i) for i, p in enumerate(p_values) if not np.isnan(p))
    running = 0.0
    for rank, (p, i) in enumerate(tested):
        running = max(running, min(1.0, p * (len(tested) - rank)))
        adjusted[i] = running
    return adjusted
