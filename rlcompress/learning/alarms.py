"""Is the reward still worth something? Trends of the training reward against a metric that no reward has seen.

A policy that games its reward shows it in one way: the reward goes on rising while the held-out metric gets worse. Both
trends are Spearman correlations with time (Spearman 1904), over the same window of validations, so that neither scale
nor a single outlier decides. All functions are pure: rows of metrics in, findings out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlcompress.words import FloatArray

REWARD = "reward/mean"
HELDOUT = "heldout/distortion_bits"  # of the policy on validation texts, by the judge that is in no reward
RETENTION = "heldout/answer_retention"  # of the policy on validation texts that have answers
BETTER = {HELDOUT: -1.0, RETENTION: 1.0}  # sign of what is better

WINDOW = 10  # validations
LEAST = 8  # validations before anything is said
BOUND = 0.8  # of both correlations
SHIFT = 3.0  # standard errors between the halves of the window

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trends:
    """The last window: correlations with time, signed so that above 0 is better, and whether they raise the alarm."""

    metric: str
    reward: float
    heldout: float
    first: int
    last: int
    raised: bool

    def __str__(self) -> str:
        return (
            f"the reward rises (ρ {self.reward:+.2f}) while {self.metric} gets worse (ρ {self.heldout:+.2f}) from step "
            f"{self.first} to {self.last}: the policy may be gaming the reward; compare texts, and look at the terms"
        )

    def metrics(self) -> dict[str, float]:
        """As they are logged."""
        return {
            "alarm/reward_trend": self.reward,
            "alarm/heldout_trend": self.heldout,
            "alarm/raised": float(self.raised),
        }


def watched(rows: Sequence[Row]) -> str | None:
    """The held-out metric that these rows have, the first of `BETTER`; None where they have none."""
    return next((name for name in BETTER if any(finite(row.get(name)) for row in rows)), None)


def paired(rows: Sequence[Row], metric: str) -> list[tuple[int, float, float]]:
    """(step, mean reward of the rows since the validation before, metric) of each validation; gaps are left out."""
    points, rewards = [], []
    for row in rows:
        if finite(row.get(REWARD)):
            rewards.append(float(row[REWARD]))
        if finite(row.get(metric)):
            if rewards:
                points.append((int(row["step"]), float(np.mean(rewards)), float(row[metric])))
            rewards = []
    return points


def trends(rows: Sequence[Row], *, window: int = WINDOW, bound: float = BOUND) -> Trends | None:
    """The trends of the last `window` validations; None before there are enough, or without a held-out metric.

    The alarm is raised where both correlations reach `bound`, the reward's up and the metric's for the worse, and the
    halves of the window differ by `SHIFT` standard errors in both: a trend, and one that is larger than the noise.
    """
    metric = watched(rows)
    points = paired(rows, metric)[-window:] if metric else []
    if metric is None or len(points) < LEAST:
        return None
    steps, rewards_I, measured_I = (np.asarray(column, np.float64) for column in zip(*points, strict=True))
    good_I = BETTER[metric] * measured_I
    reward, heldout = trend(rewards_I), trend(good_I)
    moved = shift(rewards_I) >= SHIFT and shift(good_I) <= -SHIFT
    return Trends(
        metric, reward, heldout, int(steps[0]), int(steps[-1]), reward >= bound and heldout <= -bound and moved
    )


def trend(values_I: FloatArray) -> float:
    """Spearman's ρ of the values with their order; 0 where they do not move."""
    return spearman(np.arange(len(values_I), dtype=np.float64), values_I)


def spearman(first_I: FloatArray, second_I: FloatArray) -> float:
    """Pearson's correlation of the ranks, equal values sharing theirs; 0 where either does not move."""
    a_I, b_I = (_ranks(values_I) - (len(values_I) - 1) / 2 for values_I in (first_I, second_I))
    norm = float(np.sqrt((a_I**2).sum() * (b_I**2).sum()))
    return float(a_I @ b_I) / norm if norm else 0.0


def _ranks(values_I: FloatArray) -> FloatArray:
    """Ranks from 0, the mean one for equal values: how many are less, and half of the others that are equal."""
    less_I = (values_I[None, :] < values_I[:, None]).sum(1)
    equal_I = (values_I[None, :] == values_I[:, None]).sum(1)
    return np.asarray(less_I + (equal_I - 1) / 2, np.float64)


def shift(values_I: FloatArray) -> float:
    """How far the second half lies above the first, in standard errors about each half's own line.

    Residuals of straight lines, not of means: a steady trend is no noise.
    """
    half = len(values_I) // 2
    halves = (values_I[:half], values_I[-half:])
    residuals = [part - np.polyval(np.polyfit(np.arange(half), part, 1), np.arange(half)) for part in halves]
    freedom = 2 * (half - 2)
    variance = float(sum((part**2).sum() for part in residuals)) / freedom if freedom else 0.0
    difference = float(halves[1].mean() - halves[0].mean())
    error = math.sqrt(2.0 * variance / half)
    return math.copysign(math.inf, difference) if error < 1e-12 and difference else difference / max(error, 1e-12)


def alarms(rows: Sequence[Row]) -> list[str]:
    """Sentences for people about the rows of a run: the last alarm that was logged, if any was."""
    raised = [i for i, row in enumerate(rows) if row.get("alarm/raised")]
    found = trends(rows[: raised[-1] + 1]) if raised else None
    return [str(found)] if found is not None and found.raised else []


def finite(value: Any) -> bool:
    """Whether a row has a number there."""
    return isinstance(value, int | float) and math.isfinite(value)
