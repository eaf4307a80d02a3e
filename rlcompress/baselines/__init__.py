"""Baselines: every one ranks units and goes through the same `select` at the same budget as the policy."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlcompress.baselines import heuristics
from rlcompress.baselines.adaptive import AdaptiveAdd, teacher_order
from rlcompress.baselines.frequency import Frequency
from rlcompress.baselines.information import NgramScorer, SelfInformation, TokenScorer
from rlcompress.baselines.method import FittedMethod, Method
from rlcompress.errors import UserError
from rlcompress.words import Judge, Tokenizer

__all__ = [
    "BASELINES",
    "FittedMethod",
    "Method",
    "Parts",
    "TokenScorer",
    "build_methods",
    "require_baselines",
    "teacher_order",
]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a baseline may be made of."""

    tokenizer: Tokenizer
    judge: Judge | None


BASELINES: dict[str, Callable[[Parts], Method]] = {
    "identity": lambda parts: heuristics.IDENTITY,
    "random": lambda parts: heuristics.Random(),
    "frequent": lambda parts: Frequency("frequent", sign=1.0),
    "rare": lambda parts: Frequency("rare", sign=-1.0),
    "short": lambda parts: heuristics.SHORT,
    "long": lambda parts: heuristics.LONG,
    "head": lambda parts: heuristics.HEAD,
    "tail": lambda parts: heuristics.TAIL,
    "head_tail": lambda parts: heuristics.HEAD_TAIL,
    "stride": lambda parts: heuristics.STRIDE,
    "stopwords": lambda parts: heuristics.STOPWORDS,
    "self_information": lambda parts: SelfInformation(NgramScorer(parts.tokenizer)),
    "adaptive_add": lambda parts: AdaptiveAdd(parts.judge),
}


def require_baselines(names: Sequence[str], key: str = "") -> None:
    """Refuse an unknown name before anything is built; `key` says where it was given."""
    for name in names:
        if name not in BASELINES:
            near = difflib.get_close_matches(name, BASELINES, n=1, cutoff=0.0)
            where = f"{key}: " if key else ""
            raise UserError(
                f"{where}unknown baseline {name!r}: did you mean {near[0]!r}? There are {', '.join(BASELINES)}"
            )


def build_methods(
    names: Sequence[str], *, tokenizer: Tokenizer, train_texts: Sequence[str], judge: Judge | None = None
) -> list[Method]:
    """Baselines by name, in order, fitted on the training texts.

    Without a judge `adaptive_add` is built all the same and says what it lacks when it is used.

    Raises:
        UserError: an unknown name; the nearest known one is in the message.
    """
    require_baselines(names)
    methods = []
    for name in names:
        method = BASELINES[name](Parts(tokenizer, judge))
        if isinstance(method, FittedMethod):
            method.fit(train_texts)
        methods.append(method)
    return methods
