"""What an evaluator made of a prompt, and what that is worth: right as before, the same answer, the same steps.

An evaluator that failed has no outcome: its values are NaN with a status, and leave the loss and every mean. An answer
counts in its strict form alone unless others are allowed by name; how answers were given is tallied apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

from rlcompress.problems.answers import Answer, Form, extract, strict_number
from rlcompress.problems.calculator import results
from rlcompress.rewards.similarity import f1
from rlcompress.words import Judgement, Status

STRICT = frozenset({Form.STRICT})
_NAN = float("nan")
_NO_ANSWER = Answer(None, Form.MISSING)


@dataclass(frozen=True, slots=True)
class Outcome:
    """An evaluator's solution, read: the answer and what was worked out on the way; nothing where it failed."""

    status: Status
    answer: Answer = _NO_ANSWER
    steps: tuple[Fraction, ...] = ()

    @classmethod
    def of(cls, judgement: Judgement) -> Outcome:
        """Of a verdict that says in `detail["said"]` what the evaluator wrote."""
        if judgement.status is not Status.OK:
            return cls(judgement.status)
        return cls.read(str(judgement.detail["said"]))

    @classmethod
    def read(cls, said: str) -> Outcome:
        steps = [value for value in map(strict_number, results(said)) if value is not None]
        return cls(Status.OK, extract(said), tuple(steps))

    @property
    def failed(self) -> bool:
        return self.status is not Status.OK


def correct(outcome: Outcome, gold: Fraction, forms: Collection[Form] = STRICT) -> float:
    """1 for the right number in an allowed form, else 0; NaN where the evaluator failed."""
    if outcome.failed:
        return _NAN
    return float(outcome.answer.form in forms and outcome.answer.value == gold)


def relative_correctness(after: Outcome, before: Outcome, gold: Fraction, forms: Collection[Form] = STRICT) -> float:
    """(1 + c − o) / 2 with c and o the correctness of the answers from rewrite and original, in [0, 1].

    1/2 where the rewrite does as well. What the evaluator cannot solve gives 1/2 to every rewrite of it, so it decides
    nothing. NaN where the evaluator failed on either.
    """
    return (1.0 + correct(after, gold, forms) - correct(before, gold, forms)) / 2.0


def answer_agreement(after: Outcome, before: Outcome) -> float:
    """1 where both give the same number, right or wrong, else 0; NaN where the evaluator failed on either."""
    if after.failed or before.failed:
        return _NAN
    return float(after.answer.value is not None and after.answer.value == before.answer.value)


def reasoning_similarity(after: Outcome, before: Outcome) -> float:
    """F1 of what both work out on the way, each result as often as both have it; NaN where the evaluator failed.

    Without steps on either side there is nothing to compare: 1 where the answers agree, else 0.
    """
    if after.failed or before.failed:
        return _NAN
    if not after.steps and not before.steps:
        return answer_agreement(after, before)
    return f1([str(step) for step in before.steps], [str(step) for step in after.steps])


@dataclass(frozen=True, slots=True)
class Tally:
    """How a set of problems was answered: right in the strict form, right in others, all forms, failures apart."""

    asked: int
    failed: int
    right: int
    right_in_other_forms: int
    forms: dict[str, int]

    @property
    def accuracy(self) -> float:
        """Right and strict, of those that the evaluator answered at all; NaN of none."""
        answered = self.asked - self.failed
        return self.right / answered if answered else _NAN


def tally(outcomes: Sequence[Outcome], golds: Sequence[Fraction]) -> Tally:
    answered = [(o.answer, gold) for o, gold in zip(outcomes, golds, strict=True) if not o.failed]
    right = Counter(answer.strict for answer, gold in answered if answer.value == gold)
    forms = Counter(str(answer.form) for answer, _ in answered)
    return Tally(len(outcomes), len(outcomes) - len(answered), right[True], right[False], dict(sorted(forms.items())))
