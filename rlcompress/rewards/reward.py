"""The reward of one compression: reward = g · (R - R_min).

R is the weighted sum of the terms, each clipped to its range; R_min the least that sum can be; g is 1 if all gates are
open, else 0. So a closed gate pays 0, which no honest output falls below, whatever the signs of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rlcompress.config.schema import RewardConfig
from rlcompress.errors import UserError
from rlcompress.rewards.gates import bare_open, floor_open, leak_open, order_open
from rlcompress.rewards.importance import Importance
from rlcompress.rewards.terms import RewardInput, find_term, reads
from rlcompress.words import Example, FloatArray, Status, Units


@dataclass(frozen=True, slots=True)
class RewardBreakdown:
    """A reward and what it was made of: `terms` are clipped and unweighted, `gates` say which were open.

    `total` is NaN where the judge or a term failed: there is no verdict, and the sample must be masked out. A text
    over its budget is judged and has a total, but its status keeps it out of the loss as well.
    """

    total: float
    terms: dict[str, float] = field(default_factory=dict)
    gates: dict[str, bool] = field(default_factory=dict)
    status: Status = Status.OK


class Reward:
    """Named terms and weights from the configuration, ready to score.

    A term with weight 0 is computed and logged, but pays nothing. `counts` (see `count_words`) fit the `rarity`
    importance. `reads` is what a reader has to find out; empty where no term needs one. An exception inside a term is
    not caught: it carries its traceback to whoever runs the training.
    """

    def __init__(self, config: RewardConfig | None = None, counts: Mapping[str, int] | None = None) -> None:
        self.config = config or RewardConfig()
        self.weights = dict(self.config.terms)
        self.terms = {name: find_term(name) for name in self.weights}
        self.reads = reads(self.config)
        self._importance = Importance(self.config.importance, counts)

    def _gain(self, name: str, value: float) -> float:
        """What a clipped term adds above the least it could add: its share of R - R_min, never below 0."""
        term, weight = self.terms[name], self.weights[name]
        return weight * (value - (term.low if weight >= 0 else term.high))

    def check(self, examples: Sequence[Example]) -> None:
        """Refuse examples that lack what a term needs.

        Raises:
            UserError: naming the first such example and the term.
        """
        for name, term in self.terms.items():
            for example in examples:
                if "answer" in term.needs and example.answer is None:
                    raise UserError(f"reward.terms.{name} needs an answer, and example {example.id!r} has none")

    def importance(self, units: Units) -> FloatArray | None:
        """Weights [N] of the units inside the distortion, or None for equal ones."""
        return self._importance(units)

    def score(self, item: RewardInput) -> RewardBreakdown:
        gates = self._gates(item)
        verdict, empty = item.judgement, item.empty_judgement
        judged = verdict.status is Status.OK and empty.status is Status.OK and verdict.version == empty.version
        if not judged or not self._was_read(item):
            return RewardBreakdown(math.nan, gates=gates, status=Status.JUDGE_FAILED)
        item = replace(item, settings=self.config)
        values = {name: float(term.function(item)) for name, term in self.terms.items()}
        if not all(math.isfinite(value) for name, value in values.items() if self.weights[name]):
            return RewardBreakdown(math.nan, values, gates, Status.REWARD_FAILED)
        values = {name: min(max(x, self.terms[name].low), self.terms[name].high) for name, x in values.items()}
        paid = sum(self._gain(name, x) for name, x in values.items() if self.weights[name])
        total = paid if all(gates.values()) else 0.0
        return RewardBreakdown(total, values, gates, item.compression.status)

    def _was_read(self, item: RewardInput) -> bool:
        """Whether the reader, if a term needs one, gave a verdict on both texts."""
        if not self.reads:
            return True
        read, original = item.readings
        both = read.status is Status.OK and original.status is Status.OK
        return both and read.version == original.version

    def _gates(self, item: RewardInput) -> dict[str, bool]:
        gates: dict[str, bool] = {}
        if self.config.gates.floor > 0:
            gates["floor"] = floor_open(item.rate, self.config.gates.floor)
        if self.config.gates.leak:
            gates["leak"] = leak_open(item.compression, item.written)
        if self.config.gates.bare:
            example = item.example
            gates["bare"] = bare_open(item.compression.units.text, item.written, example.answer, example.question)
        if self.config.gates.order:
            gates["order"] = order_open(item.compression.units.text, item.written)
        return gates


@dataclass(frozen=True, slots=True)
class SpreadReport:
    """How rewards are scaled. `n` counts the finite ones; `warnings` are sentences for the log."""

    n: int
    failed: int
    mean: float
    std: float
    largest: float
    warnings: tuple[str, ...]


def spread_report(rewards: Sequence[float] | FloatArray) -> SpreadReport:
    """Mean and spread of a batch of rewards, with a warning where learning would starve or the scale is off."""
    values = np.asarray(rewards, np.float64)
    finite = values[np.isfinite(values)]
    failed = len(values) - len(finite)
    if not len(finite):
        return SpreadReport(0, failed, math.nan, math.nan, math.nan, ("no reward is finite: every sample failed",))
    std, largest = float(finite.std()), float(np.abs(finite).max())
    warnings: list[str] = []
    if std < 1e-3:
        warnings.append(f"rewards hardly differ (standard deviation {std:.1e}): nothing can be learned from them")
    if not 0.1 <= largest <= 10.0:
        warnings.append(f"rewards are not of order 1 (largest size {largest:.3g}): rescale reward.terms")
    return SpreadReport(len(finite), failed, float(finite.mean()), std, largest, tuple(warnings))
