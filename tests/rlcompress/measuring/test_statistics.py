"""Intervals and tests against slow twins, known values and the null hypothesis."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rlcompress.measuring import statistics
from rlcompress.measuring.statistics import (
    group_numbers,
    group_sums,
    holm,
    paired_difference,
    quantile_interval,
    ratio_interval,
)


def slow_ratio_draws(numerator, denominator, groups, draws, seed):
    """Takes whole groups one by one, with the same random numbers."""
    names = sorted(set(groups.tolist()))
    generator = np.random.default_rng([seed, 0])
    picked = generator.integers(len(names), size=(draws, len(names)))
    ratios = []
    for row in picked:
        top = bottom = 0.0
        for k in row:
            for item in range(len(groups)):
                if groups[item] == names[k]:
                    top += numerator[item]
                    bottom += denominator[item]
        ratios.append(top / bottom)
    return np.asarray(ratios)


def sample(seed, items=24, groups=6):
    generator = np.random.default_rng(seed)
    groups_I = generator.integers(groups, size=items)
    groups_I[:2] = [0, 1]
    return generator.normal(3, 1, items), generator.integers(1, 9, items).astype(float), groups_I


@pytest.mark.parametrize("seed", range(3))
def test_ratio_interval_equals_its_slow_twin(seed):
    numerator, denominator, groups = sample(seed)
    found = ratio_interval(numerator, denominator, groups, draws=60, seed=seed)
    drawn = slow_ratio_draws(numerator, denominator, groups, 60, seed)
    assert found.mean == pytest.approx(numerator.sum() / denominator.sum(), rel=1e-12)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_paired_interval_draws_both_methods_together(seed):
    first, second = sample(seed), sample(seed + 50)
    groups = first[2]
    found = paired_difference(np.stack(first[:2]), np.stack(second[:2]), groups, draws=60, seed=seed)
    drawn = slow_ratio_draws(*first[:2], groups, 60, seed) - slow_ratio_draws(*second[:2], groups, 60, seed)
    assert (found.interval.low, found.interval.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), rel=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_what_is_made_of_the_ratio_is_made_of_each_draw(seed):
    first, second = sample(seed), sample(seed + 50)
    groups = first[2]
    drawn = [slow_ratio_draws(*one[:2], groups, 60, seed) for one in (first, second)]
    found = ratio_interval(*first[:2], groups, draws=60, seed=seed, final=np.exp2)
    assert found.mean == pytest.approx(2 ** (first[0].sum() / first[1].sum()))
    assert (found.low, found.high) == pytest.approx(np.quantile(2 ** drawn[0], [0.025, 0.975]), rel=1e-9)
    pair = np.stack(first[:2]), np.stack(second[:2])
    both = paired_difference(*pair, groups, draws=60, seed=seed, final=np.exp2)
    drawn_D = 2 ** drawn[0] - 2 ** drawn[1]
    assert (both.interval.low, both.interval.high) == pytest.approx(np.quantile(drawn_D, [0.025, 0.975]), rel=1e-9)
    by_group = [
        np.diff([2 ** (one[0][groups == k].sum() / one[1][groups == k].sum()) for one in (second, first)])[0]
        for k in sorted(set(groups.tolist()))
    ]
    assert both.effect == pytest.approx(np.mean(by_group) / np.std(by_group, ddof=1))


def test_wilcoxon_compares_groups_not_items():
    first, second = sample(1, 60, 12), sample(2, 60, 12)
    groups = first[2]
    found = paired_difference(np.stack(first[:2]), np.stack(second[:2]), groups, draws=50, seed=0)
    by_group = [
        first[0][groups == k].sum() / first[1][groups == k].sum()
        - second[0][groups == k].sum() / second[1][groups == k].sum()
        for k in sorted(set(groups.tolist()))
    ]
    assert found.p == pytest.approx(stats.wilcoxon(by_group, method="exact").pvalue)
    assert found.effect == pytest.approx(np.mean(by_group) / np.std(by_group, ddof=1))
    assert found.groups == len(by_group)


def test_a_method_does_not_differ_from_itself():
    numerator, denominator, groups = sample(0)
    both = np.stack([numerator, denominator])
    found = paired_difference(both, both, groups, draws=100, seed=0)
    assert (found.interval.mean, found.interval.low, found.interval.high, found.p) == (0, 0, 0, 1)


def null_study(trials: int, seed: int) -> tuple[float, float, float]:
    """Coverage of 0, share of p > 0.05 and coverage of a naive bootstrap over items, for two equal methods."""
    covered = kept = naive = 0
    for trial in range(trials):
        generator = np.random.default_rng([seed, trial])
        groups = np.repeat(np.arange(40), 4)
        shared, own = generator.normal(size=40), generator.normal(size=(2, 40))
        noise = generator.normal(scale=0.3, size=(2, 160))
        values = 5 + shared[groups] + own[:, groups] + noise
        ones = np.ones(160)
        pair = (np.stack([values[0], ones]), np.stack([values[1], ones]))
        found = paired_difference(*pair, groups, draws=200, seed=trial)
        covered += found.interval.low <= 0 <= found.interval.high
        kept += found.p > 0.05
        items = paired_difference(*pair, np.arange(160), draws=200, seed=trial)
        naive += items.interval.low <= 0 <= items.interval.high
    return covered / trials, kept / trials, naive / trials


def test_two_equal_methods_differ_in_one_case_of_twenty():
    covered, kept, naive = null_study(200, seed=0)
    assert 0.90 <= covered <= 0.985
    assert 0.91 <= kept <= 0.985
    assert naive < 0.85  # why groups are resampled: items of one document are no independent evidence


def test_a_real_difference_is_found():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 4)
    values = 5 + generator.normal(size=160)
    ones = np.ones(160)
    worse = values + 0.3 + generator.normal(scale=0.1, size=160)
    found = paired_difference(np.stack([values, ones]), np.stack([worse, ones]), groups, draws=500, seed=0)
    assert found.interval.high < 0
    assert found.p < 1e-6
    assert found.interval.low < -0.3 < found.interval.high


def test_one_group_leaves_nothing_to_resample():
    one = ratio_interval(np.ones(3), np.ones(3), np.zeros(3, np.int64), draws=100, seed=0)
    assert one.mean == 1
    assert math.isnan(one.low)
    assert math.isnan(one.high)


def test_an_undefined_ratio_stays_undefined():
    found = ratio_interval(np.zeros(4), np.zeros(4), np.arange(4), draws=100, seed=0)
    assert math.isnan(found.mean)
    none = ratio_interval(np.zeros(0), np.zeros(0), np.zeros(0, np.int64), draws=100, seed=0)
    assert math.isnan(none.mean)


def test_blocks_of_draws_are_seeded_apart(monkeypatch):
    monkeypatch.setattr(statistics, "_BLOCK", 40)
    drawn = statistics.resampled_sums(np.arange(10.0)[:, None], 12, 0)[:, 0]
    assert len(drawn) == 12
    assert len(set(drawn[:4].tolist()) & set(drawn[4:8].tolist())) < 4


def test_seeds_change_the_draws_and_equal_seeds_repeat_them():
    numerator, denominator, groups = sample(0)
    a, b, c = (ratio_interval(numerator, denominator, groups, draws=80, seed=s) for s in (0, 0, 1))
    assert a == b
    assert a.low != c.low


def test_groups_are_numbered_by_first_appearance():
    assert group_numbers(["b", "a", "b"]).tolist() == [0, 1, 0]
    assert group_sums(np.asarray([1.0, 2.0, 4.0]), np.asarray([7, 3, 7])).tolist() == [2, 5]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    with_gap = holm([0.01, float("nan"), 0.04])
    assert with_gap[0] == pytest.approx(0.02)
    assert math.isnan(with_gap[1])


def slow_holm(p_values):
    """Rejects step by step: the adjusted p is the least level at which a hypothesis is rejected."""
    adjusted = []
    for p in p_values:
        levels = []
        for q in p_values:
            if q <= p:
                still = sum(r >= q for r in p_values)
                levels.append(q * still)
        adjusted.append(min(1.0, max(levels)))
    return adjusted


@settings(max_examples=60)
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=8))
def test_holm_equals_its_slow_twin_and_orders_as_p(p_values):
    adjusted = holm(p_values)
    if max(Counter(p_values).values()) == 1:
        assert adjusted == pytest.approx(slow_holm(p_values))
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    order = np.argsort(p_values)
    assert (np.diff(np.asarray(adjusted)[order]) >= 0).all()


def slow_signed_rank_p(differences):
    """Share of all ways to give the differences signs whose rank sum is as far from the middle as the observed one."""
    sizes = [abs(d) for d in differences if d]
    ranks = [sum(b < a for b in sizes) + (sum(b == a for b in sizes) + 1) / 2 for a in sizes]
    middle = sum(ranks) / 2
    observed = abs(sum(r for r, d in zip(ranks, [d for d in differences if d], strict=True) if d > 0) - middle)
    sums = [0.0]
    for rank in ranks:
        sums = [total + add for total in sums for add in (0.0, rank)]
    return sum(abs(total - middle) >= observed for total in sums) / len(sums)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, -1.0, 1.0, 2.5, 0.5, -3.0]), max_size=9))
def test_signed_rank_counts_every_pattern_of_signs(differences):
    p = statistics.signed_rank_p(np.asarray(differences, np.float64))
    assert p == pytest.approx(slow_signed_rank_p(differences))


@pytest.mark.parametrize("groups", [2, 5, 9, 13])
def test_signed_rank_is_the_known_test(groups):
    differences = np.random.default_rng(groups).normal(0.3, 1, groups)
    assert statistics.signed_rank_p(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


@pytest.mark.parametrize("groups", [[0, 0, 1, 2, 2, 2, 3], [0, 1, 2, 3, 4, 5, 6]])
@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.95, 1.0])
def test_a_quantile_is_that_of_whole_groups_drawn_one_by_one(groups, quantile):
    values_I = np.asarray([0.3, 0.1, 0.5, 0.5, 0.2, 0.9, 0.0])
    found = quantile_interval(values_I, np.asarray(groups), quantile, draws=40, seed=3)
    names = sorted(set(groups))
    picked = np.random.default_rng([3, 0]).integers(len(names), size=(40, len(names)))
    drawn = [
        np.quantile([v for k in row for v, group in zip(values_I, groups, strict=True) if group == names[k]], quantile)
        for row in picked
    ]
    assert found.mean == pytest.approx(np.quantile(values_I, quantile))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_a_quantile_of_one_group_or_none_has_no_interval():
    alone = quantile_interval(np.asarray([1.0, 3.0]), np.asarray([0, 0]), 0.5, draws=5, seed=0)
    assert alone.mean == 2.0
    assert np.isnan([alone.low, alone.high]).all()
    assert np.isnan(quantile_interval(np.asarray([]), np.asarray([]), 0.5, draws=5, seed=0).mean)
