"""`adaptive_add`: ask the judge what is missed most, keep it, ask again.

It spends `passes` judge calls on every text, which a trained policy does not; it is also the teacher of the warm start.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlcompress.errors import JudgeUnavailable, UserError
from rlcompress.selection import budget_tokens
from rlcompress.words import BoolArray, Example, FloatArray, IntArray, Judge, Judgement, JudgeRequest, Status, Units


class _Growth:
    """One text on its way from its protected units to the whole budget; `order` is the order of adding."""

    def __init__(self, units: Units, rate: float, passes: int) -> None:
        self.units = units
        self.passes = passes
        self.kept_N: BoolArray = units.protected_N.copy()
        self.order: list[int] = []
        self.budget = budget_tokens(units, rate) - int(units.costs_N[units.protected_N].sum())

    def add(self, bits_N: FloatArray, step: int) -> None:
        """Keep the units with the most bits a token, up to this step's share of the budget; the last step ranks all."""
        left_M = np.flatnonzero(~self.kept_N)
        value_M = bits_N[left_M] / np.maximum(self.units.costs_N[left_M], 1)
        best_M: IntArray = left_M[np.argsort(-value_M, kind="stable")]
        if step + 1 < self.passes:
            spent = int(self.units.costs_N[self.order].sum()) if self.order else 0
            share = self.budget * (step + 1) / self.passes - spent
            best_M = best_M[np.cumsum(self.units.costs_N[best_M]) <= share]
        self.order += best_M.tolist()
        self.kept_N[best_M] = True

    def priorities(self) -> FloatArray:
        priorities_N = np.zeros(len(self.units))
        priorities_N[self.order] = -np.arange(len(self.order), dtype=np.float64)
        return priorities_N


def teacher_order(
    judge: Judge, units: Sequence[Units], examples: Sequence[Example], passes: int, rate: float = 1.0
) -> list[FloatArray]:
    """Priorities [N] of each text that encode the order of greedy adding with `passes` judge calls for all texts.

    Args:
        judge: gives bits per unit.
        units: the texts.
        examples: one for each text, with the question and answer that a reader judge wants.
        passes: scorings on the way to `rate`, each with about the same number of tokens added.
        rate: where to stop scoring; units beyond it are ranked by the last scores.

    Raises:
        JudgeUnavailable: a verdict failed, so that the order is unknown.
    """
    assert passes >= 1, "the teacher needs at least one pass"
    growing = [_Growth(u, rate, passes) for u in units]
    for step in range(passes):
        requests = [
            JudgeRequest(g.units.text, g.units.starts_N, g.kept_N.copy(), example.question, example.answer)
            for g, example in zip(growing, examples, strict=True)
        ]
        for g, verdict in zip(growing, judge.judge(requests), strict=True):
            g.add(_bits(verdict), step)
    return [g.priorities() for g in growing]


def _bits(verdict: Judgement) -> FloatArray:
    if verdict.status is not Status.OK:
        raise JudgeUnavailable(f"adaptive_add had no verdict: {verdict.detail.get('why', verdict.status)}")
    if verdict.per_unit_N is None:
        raise UserError("adaptive_add needs a judge that gives bits per unit: name a reconstruction judge")
    return verdict.per_unit_N


class AdaptiveAdd:
    """Greedy adding for the rate at hand. The order depends on the rate: keep-sets are not nested."""

    name = "adaptive_add"
    stochastic = False
    keeps_all = False

    def __init__(self, judge: Judge | None, passes: int = 6) -> None:
        self._judge = judge
        self.passes = passes

    def passes_of(self, units: Units) -> int:
        return self.passes

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        if self._judge is None:
            raise UserError("baseline adaptive_add asks a judge: name one, or leave it out of evaluate.methods")
        return teacher_order(self._judge, units, examples, self.passes, rate)
