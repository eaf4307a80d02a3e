"""Several passes over a text: each scores what the last one left, and drops down to its own share of the budget.

Pass t = 1 .. K keeps at most round(rate^(t/K) · Σc) tokens of the whole text, so that pass K meets the one budget. What
K passes decide is *one* order of the units: first those that reach the last pass, by its scores, then those that the
pass before it dropped, and so on. `select` on that order keeps exactly what the passes keep: where all that reach the
last pass fit, the unit that overflowed the pass before is next in line, and it did not fit a budget that was no
smaller. So evaluation, validation, serving and every baseline go through the same `select`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from rlcompress.selection import pass_rate, select
from rlcompress.words import BoolArray, FloatArray, IntArray, Units

# masks of the units that are left, one a text -> scores [N] of each text
Scores = Callable[[Sequence[BoolArray]], list[FloatArray]]


class TextScores(Protocol):
    """A `TextScorer`, which this module does not import: selection needs no torch."""

    def scores(
        self, texts: Sequence[Units], questions: Sequence[str | None], *, alive: Sequence[BoolArray]
    ) -> list[FloatArray]: ...


def priorities_in_passes(
    units: Sequence[Units],
    scores: Scores,
    passes: int,
    rate: float | None = None,
    *,
    target_tokens: int | None = None,
) -> list[FloatArray]:
    """Priorities [N] of each text, for `select` at the same `rate` or `target_tokens`.

    One pass gives the scores themselves, at any budget. More passes give −(place in their common order), which holds
    for this budget alone: keep-sets of different budgets need not be nested.
    """
    alive = [np.ones(len(one), np.bool_) for one in units]
    if passes == 1:
        return scores(alive)
    rates = [_rate(one, rate, target_tokens) for one in units]
    dropped: list[list[IntArray]] = [[] for _ in units]  # by each text's passes, first to last
    for t in range(1, passes):
        for i, values_N in enumerate(scores(alive)):
            kept_N = select(units[i], values_N, pass_rate(rates[i], t, passes), alive_N=alive[i]).kept_N
            dropped[i].append(_ordered(values_N, alive[i] & ~kept_N))
            alive[i] = kept_N
    last = [_ordered(values_N, alive_N) for values_N, alive_N in zip(scores(alive), alive, strict=True)]
    return [_places([order, *orders[::-1]]) for order, orders in zip(last, dropped, strict=True)]


def served_priorities(
    scorer: TextScores,
    passes: int,
    units: Sequence[Units],
    questions: Sequence[str | None],
    rate: float | None = None,
    *,
    target_tokens: int | None = None,
) -> list[FloatArray]:
    """What a policy of so many passes is served by; see `priorities_in_passes`."""

    def scores(alive: Sequence[BoolArray]) -> list[FloatArray]:
        return scorer.scores(units, questions, alive=alive)

    return priorities_in_passes(units, scores, passes, rate, target_tokens=target_tokens)


def _rate(units: Units, rate: float | None, target_tokens: int | None) -> float:
    if rate is not None:
        return rate
    assert target_tokens is not None, "give rate or target_tokens"
    return min(1.0, target_tokens / units.total_cost) if units.total_cost else 1.0


def _ordered(values_N: FloatArray, among_N: BoolArray) -> IntArray:
    among_M = np.flatnonzero(among_N)
    return among_M[np.argsort(-values_N[among_M], kind="stable")]


def _places(orders: Sequence[IntArray]) -> FloatArray:
    order_N = np.concatenate(orders)
    priorities_N = np.zeros(len(order_N))
    priorities_N[order_N] = -np.arange(len(order_N), dtype=np.float64)
    return priorities_N
