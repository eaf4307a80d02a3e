"""The reward of a rewritten prompt: g · (R − R_min), R a weighted sum of terms in [0, 1], g 0 where a gate is shut.

Built as `reward.py` is for kept words. Length and correctness multiply in `guarded`, so that no saving pays for a wrong
answer; as terms of their own they add.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from rlcompress.config.rewarding import LengthConfig
from rlcompress.config.rewriting import RewriteRewardConfig
from rlcompress.errors import UserError
from rlcompress.rewards.lengths import around, kept_fraction, under_cap, up_to
from rlcompress.rewards.reward import RewardBreakdown
from rlcompress.rewards.rewriting import REWRITE_GATES, Rewrite, closed
from rlcompress.rewards.solving import Outcome, answer_agreement, reasoning_similarity, relative_correctness
from rlcompress.words import Judgement, Status

_LENGTH = LengthConfig()


@dataclass(frozen=True)
class JudgedRewrite:
    """All that a reward may look at.

    `after` and `before` are the evaluator's verdicts on rewrite and original: `detail["said"]` is what it wrote,
    `score` the bits of the right answer over `tokens` tokens. `tokens_in` and `tokens_out` are counted by the
    evaluator's tokenizer; `target` is the kept fraction that was asked for.
    """

    rewrite: Rewrite
    gold: Fraction
    after: Judgement
    before: Judgement
    tokens_in: int
    tokens_out: int
    target: float
    length: LengthConfig = _LENGTH

    @property
    def rate(self) -> float:
        return kept_fraction(self.tokens_in, self.tokens_out)

    @cached_property
    def shut(self) -> tuple[str, ...]:
        """Names of all gates that are shut, whether or not a reward heeds them."""
        return closed(self.rewrite)

    @cached_property
    def outcomes(self) -> tuple[Outcome, Outcome]:
        return Outcome.of(self.after), Outcome.of(self.before)


def correctness(item: JudgedRewrite) -> float:
    return relative_correctness(*item.outcomes, item.gold)


def agreement(item: JudgedRewrite) -> float:
    return answer_agreement(*item.outcomes)


def reasoning(item: JudgedRewrite) -> float:
    return reasoning_similarity(*item.outcomes)


def likelihood(item: JudgedRewrite) -> float:
    """p(a | rewrite) / (p(a | rewrite) + p(a | original)), p the geometric mean a token: 1/2 where nothing changed."""
    gain = (item.before.score - item.after.score) / max(1, item.after.tokens)
    return float(1.0 / (1.0 + np.exp2(np.clip(-gain, -100.0, 100.0))))


def length(item: JudgedRewrite) -> float:
    return around(item.rate, _target(item), item.length.tolerance, item.length.slope)


def shorter(item: JudgedRewrite) -> float:
    """As `length`, and what is shorter than asked for costs nothing."""
    return up_to(item.rate, _target(item), item.length.tolerance, item.length.slope)


def guarded(item: JudgedRewrite) -> float:
    """Correctness relative to the original, times `length`."""
    return correctness(item) * length(item)


def _target(item: JudgedRewrite) -> float:
    return item.target if item.length.target is None else item.length.target


REWRITE_TERMS: dict[str, Callable[[JudgedRewrite], float]] = {
    "correctness": correctness,
    "agreement": agreement,
    "reasoning": reasoning,
    "likelihood": likelihood,
    "length": length,
    "shorter": shorter,
    "guarded": guarded,
}


class RewriteReward:
    """Named terms with weights, gates by name and a cap of the kept fraction, ready to score.

    Raises:
        UserError: an unknown term or gate, or no weight at all.
    """

    def __init__(
        self, weights: Mapping[str, float], gates: Collection[str] = tuple(REWRITE_GATES), cap: float = 1.0
    ) -> None:
        for key, names, known in (("terms", weights, REWRITE_TERMS), ("gates", gates, REWRITE_GATES)):
            if unknown := [name for name in names if name not in known]:
                raise UserError(f"reward.{key}: {unknown[0]!r} is unknown: use {', '.join(known)}")
        if not any(weights.values()):
            raise UserError("reward.terms needs at least one term with a weight other than 0")
        self.weights, self.gates, self.cap = dict(weights), tuple(gates), cap

    @classmethod
    def of(cls, config: RewriteRewardConfig) -> RewriteReward:
        """What a configuration says; `config.length` belongs to each `JudgedRewrite`."""
        return cls(config.terms, config.gates, config.cap)

    def score(self, item: JudgedRewrite) -> RewardBreakdown:
        """The reward and what it is made of; NaN with a status where the evaluator failed or a term is not finite."""
        gates = {name: name not in item.shut for name in self.gates} | {"cap": under_cap(item.rate, self.cap)}
        for verdict in (item.after, item.before):
            if verdict.status is not Status.OK:
                return RewardBreakdown(math.nan, gates=gates, status=Status.JUDGE_FAILED)
        if item.after.version != item.before.version:
            return RewardBreakdown(math.nan, gates=gates, status=Status.JUDGE_FAILED)
        values = {name: REWRITE_TERMS[name](item) for name in self.weights}
        if not all(math.isfinite(value) for name, value in values.items() if self.weights[name]):
            return RewardBreakdown(math.nan, values, gates, Status.REWARD_FAILED)
        # each term's share of R − R_min: what it adds above the least that it could add
        paid = sum(weight * (values[name] - (weight < 0)) for name, weight in self.weights.items() if weight)
        return RewardBreakdown(paid if all(gates.values()) else 0.0, values, gates)
