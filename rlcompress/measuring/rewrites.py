"""What is measured of rewritten prompts: accuracy beside that on the originals, length, leaks, fallbacks apart.

Every figure is a ratio of two sums over rows, so that it goes through the one cluster bootstrap. A rewrite that did not
end is what serving would make of it: the original comes back, all its tokens are paid for, and it counts as a fallback.
A row on which the evaluator failed on either side is in no accuracy, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from rlcompress.measuring.statistics import Difference, Interval, group_numbers, paired_difference, ratio_interval
from rlcompress.problems.calculator import plain
from rlcompress.problems.problem import WordProblem
from rlcompress.rewards.lengths import kept_fraction
from rlcompress.rewards.rewriting import Rewrite, closed
from rlcompress.rewards.solving import Outcome, correct
from rlcompress.words import FloatArray, PromptJudge, Solve, Unfinished


@dataclass(frozen=True, slots=True)
class MeasuredRewrite:
    """One problem, what the evaluator made of it before and after, and the rewrite's length and faults."""

    problem: str
    group: str  # what the bootstrap draws
    gold: Fraction
    before: Outcome
    after: Outcome
    tokens_in: int
    tokens_out: int
    target: float  # kept fraction that was asked for
    shut: tuple[str, ...]  # gates, by name
    fell_back: bool

    @property
    def judged(self) -> bool:
        return not (self.before.failed or self.after.failed)


def measured(
    problems: Sequence[WordProblem],
    rewrites: Sequence[str],
    targets: Sequence[float],
    evaluator: PromptJudge,
    count: Callable[[str], int],
    cluster: Literal["template", "problem"] = "template",
) -> list[MeasuredRewrite]:
    """Ask the evaluator once, about all rewrites and originals.

    Args:
        problems: originals.
        rewrites: one for each; an `Unfinished` one falls back to its original.
        targets: kept fractions that were asked for.
        evaluator: frozen; in an evaluation one that took no part in the training, if there is one.
        count: tokens of a text, by the evaluator's tokenizer.
        cluster: what the bootstrap draws; a problem without a template is a cluster of its own.
    """
    texts = [p.text if isinstance(r, Unfinished) else r for p, r in zip(problems, rewrites, strict=True)]
    requests = [_request(p, text) for p, text in zip(problems, texts, strict=True)]
    verdicts = evaluator.judge([*requests, *(_request(p, p.text) for p in problems)])
    outcomes = [Outcome.of(verdict) for verdict in verdicts]
    rows = []
    for i, (problem, text, target) in enumerate(zip(problems, texts, targets, strict=True)):
        shut = closed(Rewrite.of(problem, text))
        rows.append(
            MeasuredRewrite(
                problem=problem.id,
                group=problem.template or problem.id if cluster == "template" else problem.id,
                gold=problem.answer,
                before=outcomes[len(problems) + i],
                after=outcomes[i],
                tokens_in=count(problem.text),
                tokens_out=count(text),
                target=target,
                shut=shut,
                fell_back=isinstance(rewrites[i], Unfinished),
            )
        )
    return rows


def _request(problem: WordProblem, text: str) -> Solve:
    return Solve(text, plain(problem.answer) or str(problem.answer))


def _change(row: MeasuredRewrite) -> float:
    return correct(row.after, row.gold) - correct(row.before, row.gold)


def _other_form(outcome: Outcome, gold: Fraction) -> float:
    return float(not outcome.failed and outcome.answer.value == gold and not outcome.answer.strict)


# name -> numerator and denominator of a row; a denominator of 0 leaves the row out
QUANTITIES: dict[str, Callable[[MeasuredRewrite], tuple[float, float]]] = {
    "accuracy": lambda r: (correct(r.after, r.gold), 1.0) if r.judged else (0.0, 0.0),
    "accuracy_original": lambda r: (correct(r.before, r.gold), 1.0) if r.judged else (0.0, 0.0),
    "accuracy_change": lambda r: (_change(r), 1.0) if r.judged else (0.0, 0.0),
    "right_in_other_forms": lambda r: (_other_form(r.after, r.gold), float(r.judged)),
    "achieved_rate": lambda r: (float(r.tokens_out), float(r.tokens_in)),
    "budget_error": lambda r: (abs(kept_fraction(r.tokens_in, r.tokens_out) - r.target), 1.0),
    "leak_rate": lambda r: (float("leak" in r.shut), 1.0),
    "shut_rate": lambda r: (float(bool(r.shut)), 1.0),
    "fallback_rate": lambda r: (float(r.fell_back), 1.0),
    "failed_rate": lambda r: (float(not r.judged), 1.0),
}


def columns(rows: Sequence[MeasuredRewrite], quantity: str) -> FloatArray:
    """Numerators and denominators [2, I] of a quantity."""
    return np.asarray([QUANTITIES[quantity](row) for row in rows], np.float64).reshape(-1, 2).T


def figures(rows: Sequence[MeasuredRewrite], *, draws: int = 2000, seed: int = 0) -> dict[str, Interval]:
    """Every quantity with its 95 % interval; `accuracy` and `accuracy_original` are of the same rows."""
    groups_I = group_numbers([row.group for row in rows])
    if not rows:
        return dict.fromkeys(QUANTITIES, _nothing())
    found = {}
    for name in QUANTITIES:
        numerator_I, denominator_I = columns(rows, name)
        counts_I = denominator_I > 0
        found[name] = ratio_interval(
            numerator_I[counts_I], denominator_I[counts_I], groups_I[counts_I], draws=draws, seed=seed
        )
    return found


def accuracy_change(rows: Sequence[MeasuredRewrite], *, draws: int = 2000, seed: int = 0) -> Difference:
    """Accuracy on rewrites minus that on their originals, paired."""
    return _paired(rows, columns(rows, "accuracy"), columns(rows, "accuracy_original"), draws, seed)


def difference(
    first: Sequence[MeasuredRewrite],
    second: Sequence[MeasuredRewrite],
    quantity: str,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Difference:
    """A quantity of the first method minus that of the second, on the rows that count for both.

    Raises:
        ValueError: the two are not of the same problems in the same order.
    """
    if [row.problem for row in first] != [row.problem for row in second]:
        raise ValueError("two methods are paired on the same problems in the same order")
    return _paired(first, columns(first, quantity), columns(second, quantity), draws, seed)


def budget_error_p95(rows: Sequence[MeasuredRewrite]) -> float:
    """The error |achieved − asked| that one row in twenty is above; NaN of none."""
    return float(np.quantile(columns(rows, "budget_error")[0], 0.95)) if rows else float("nan")


def _paired(
    rows: Sequence[MeasuredRewrite], first_2I: FloatArray, second_2I: FloatArray, draws: int, seed: int
) -> Difference:
    both_I = (first_2I[1] > 0) & (second_2I[1] > 0)
    if not both_I.any():
        return Difference(_nothing(), float("nan"), float("nan"), 0)
    groups_I = group_numbers([row.group for row in rows])[both_I]
    return paired_difference(first_2I[:, both_I], second_2I[:, both_I], groups_I, draws=draws, seed=seed)


def _nothing() -> Interval:
    return Interval(float("nan"), float("nan"), float("nan"))
