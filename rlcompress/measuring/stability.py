"""How steady a reward was, over one run and over seeds: its trend, its spread, and whether held-out text agrees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from rlcompress.learning.alarms import BETTER, REWARD, Row, finite, paired, spearman, trend, watched


@dataclass(frozen=True, slots=True)
class Stability:
    """How steady a reward was over one run.

    Attributes:
        points: rows with a reward.
        trend: Spearman's ρ of the reward with time.
        p: of that correlation, two-sided.
        mean: of the reward over the last quarter.
        deviation: standard deviation over the last quarter, around its own line.
        agreement: ρ of the reward with the held-out metric, signed so that above 0 they improve together; NaN without.
    """

    points: int
    trend: float
    p: float
    mean: float
    deviation: float
    agreement: float


def stability(rows: Sequence[Row]) -> Stability | None:
    """The report on one run; None for fewer than four rows with a reward."""
    rewards_I = np.asarray([float(row[REWARD]) for row in rows if finite(row.get(REWARD))])
    if len(rewards_I) < 4:
        return None
    flat = np.ptp(rewards_I) == 0
    p = 1.0 if flat else float(stats.spearmanr(np.arange(len(rewards_I)), rewards_I).pvalue)
    last_I = rewards_I[-max(4, len(rewards_I) // 4) :]
    order_I = np.arange(len(last_I))
    rest_I = last_I - np.polyval(np.polyfit(order_I, last_I, 1), order_I)
    metric = watched(rows)
    points = paired(rows, metric) if metric else []
    agreement = math.nan
    if metric is not None and len(points) >= 4:
        _, paid, measured = (np.asarray(column, np.float64) for column in zip(*points, strict=True))
        agreement = BETTER[metric] * spearman(paid, measured)
    return Stability(
        len(rewards_I),
        trend(rewards_I),
        p,
        float(last_I.mean()),
        float(np.sqrt((rest_I**2).sum() / (len(rest_I) - 2))),
        agreement,
    )


def over_seeds(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's t interval over the runs that have a figure (not NaN); NaN bounds for fewer than two."""
    known = np.asarray([value for value in values if math.isfinite(value)], np.float64)
    if len(known) < 2:
        return (float(known[0]) if len(known) else math.nan), math.nan, math.nan
    error = float(known.std(ddof=1)) / math.sqrt(len(known))
    reach = float(stats.t.ppf((1 + level) / 2, len(known) - 1)) * error
    return float(known.mean()), float(known.mean()) - reach, float(known.mean()) + reach
