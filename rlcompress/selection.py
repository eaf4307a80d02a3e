"""The one rule that turns priorities into a kept text, for policies, baselines, evaluation and serving alike.

With c_u the reader tokens of unit u, the budget is B = round(rate * sum(c)) - c(protected). Free units are taken in
order of priority (ties by position) as long as they fit; the first that does not fit ends the selection. Skipping it
for a cheaper one would fill the budget better but break nesting: a higher rate must keep a superset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlcompress.words import BoolArray, Compression, FloatArray, IntArray, Status, Units


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The order in which free units were considered, and where the budget ended it.

    `order_M` holds unit numbers by falling priority. The first `kept` of them stay. `draws` counts decisions: the
    kept units and the one that overflowed; 0 where all free units fit or none may, for then nothing was decided.
    """

    order_M: IntArray
    kept: int
    draws: int
    over_budget: bool


def budget_tokens(units: Units, rate: float) -> int:
    """Reader tokens that may stay in all, protected ones included."""
    return round(rate * units.total_cost)


def pass_rate(rate: float, t: int, passes: int) -> float:
    """What pass t = 1 .. `passes` keeps of the *whole* text: equal shares in the logarithm, and `rate` at the end."""
    return float(rate ** (t / passes))


def rank(units: Units, priorities_N: FloatArray, budget: int, alive_N: BoolArray | None = None) -> Ranking:
    """Order the free units and find the longest prefix that fits `budget` (protected units are paid first).

    `alive_N` names the units that an earlier pass left; without it all take part.

    Raises:
        ValueError: priorities of another length than the units, or NaN among them.
    """
    priorities_N = np.asarray(priorities_N, np.float64)
    if priorities_N.shape != (len(units),):
        raise ValueError(f"{len(units)} units need as many priorities, got shape {priorities_N.shape}")
    if np.isnan(priorities_N).any():
        raise ValueError("a priority is NaN: every unit needs a number to be ordered by")
    free_M = np.flatnonzero(~units.protected_N if alive_N is None else alive_N & ~units.protected_N)
    order_M = free_M[np.argsort(-priorities_N[free_M], kind="stable")]
    left = budget - int(units.costs_N[units.protected_N].sum())
    if left < 0:
        return Ranking(order_M, kept=0, draws=0, over_budget=True)
    costs_M = units.costs_N[order_M]
    kept = int(np.searchsorted(np.cumsum(costs_M), left, side="right"))
    decided = kept < len(order_M) and int(costs_M.min()) <= left
    return Ranking(order_M, kept=kept, draws=kept + 1 if decided else 0, over_budget=False)


def select(
    units: Units,
    priorities_N: FloatArray,
    rate: float | None = None,
    *,
    target_tokens: int | None = None,
    alive_N: BoolArray | None = None,
) -> Compression:
    """Keep the protected units and the best free ones (of those in `alive_N`) within the budget.

    Exactly one of `rate` (kept fraction of reader tokens) and `target_tokens` is given. With `used` the tokens of the
    kept free units, 0 <= B - used < cost of the next unit, unless the status is `OVER_BUDGET`.
    """
    if (rate is None) == (target_tokens is None):
        raise ValueError("give exactly one of rate and target_tokens")
    if rate is not None and not 0.0 <= rate <= 1.0:
        raise ValueError(f"rate must lie between 0 and 1, got {rate}")
    if target_tokens is not None and target_tokens < 0:
        raise ValueError(f"target_tokens must not be negative, got {target_tokens}")
    total = units.total_cost
    if rate is None:
        assert target_tokens is not None
        rate = min(1.0, target_tokens / total) if total else 1.0
        budget = target_tokens
    else:
        budget = budget_tokens(units, rate)
    ranking = rank(units, priorities_N, budget, alive_N)
    kept_N = units.protected_N.copy()
    kept_N[ranking.order_M[: ranking.kept]] = True
    return Compression(units, kept_N, rate, Status.OVER_BUDGET if ranking.over_budget else Status.OK)


def cut(units: Units, priorities_N: FloatArray) -> Ranking:
    """Order the free units and keep those whose priority is not negative: each of them was decided, without a budget.

    Raises:
        ValueError: priorities of another length than the units, or NaN among them.
    """
    order_M = rank(units, priorities_N, units.total_cost).order_M
    kept = int((np.asarray(priorities_N, np.float64)[order_M] >= 0).sum())
    return Ranking(order_M, kept=kept, draws=len(order_M), over_budget=False)


def threshold(units: Units, priorities_N: FloatArray) -> Compression:
    """Keep the protected units and the free ones whose priority is not negative; `rate` is what came of it.

    For the scores of a policy that samples with probability sigmoid(s/τ), these are the units with p >= 1/2.
    """
    ranking = cut(units, priorities_N)
    kept_N = units.protected_N.copy()
    kept_N[ranking.order_M[: ranking.kept]] = True
    return Compression(units, kept_N, Compression(units, kept_N, 1.0).achieved_rate)
