"""Reward terms: pure functions of one judged compression, each with a stated range."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from rlcompress.config.schema import PRICE_LIMIT
from rlcompress.errors import UserError
from rlcompress.text.bare import bare_words
from rlcompress.words import Compression, Example, FloatArray, Judgement


@dataclass(frozen=True, slots=True, eq=False)
class RewardInput:
    """All that a reward may look at.

    `empty_judgement` is D(∅): the same judge version on nothing kept. `written` is an output that was not made by
    dropping units; None for masks, whose text is `compression.text`. `price` is β of the iteration: what all tokens of
    the text cost, in shares of its bits.
    """

    example: Example
    compression: Compression
    judgement: Judgement
    empty_judgement: Judgement
    importance_N: FloatArray | None = None
    written: str | None = None
    price: float = 1.0

    @property
    def text(self) -> str:
        return self.compression.text if self.written is None else self.written


@dataclass(frozen=True, slots=True)
class Term:
    """A reward term. `Reward` clips its value to [low, high]; `needs` names what an example must have."""

    function: Callable[[RewardInput], float]
    low: float = 0.0
    high: float = 1.0
    needs: tuple[str, ...] = ()


def distortion(item: RewardInput) -> float:
    """1 - D(S) / D(∅): the share of the text's bits that a reconstructor gets from what was kept.

    With importance weights w: 1 - Σ w_u bits_u(S) / Σ w_u bits_u(∅). A text without bits loses nothing: 1.
    """
    kept, empty = _bits(item, item.judgement), _bits(item, item.empty_judgement)
    return 1.0 - kept / empty if empty else 1.0


def _bits(item: RewardInput, judgement: Judgement) -> float:
    if item.importance_N is None:
        return judgement.score
    if judgement.per_unit_N is None:
        raise UserError("reward.importance needs a judge that splits its bits over units: set it to none")
    return float(np.dot(item.importance_N, judgement.per_unit_N))


def answer_kept(item: RewardInput) -> float:
    """Share of the answer's distinct bare words that survive in the output; 1 for an answer without words."""
    answer = set(bare_words(item.example.answer or ""))
    if not answer:
        return 1.0
    return len(answer & set(bare_words(item.text))) / len(answer)


def rate(item: RewardInput) -> float:
    """Dropped share of reader tokens. For samplers that choose their length; constant under an exact budget."""
    return 1.0 - item.compression.achieved_rate


def simple(item: RewardInput) -> float:
    """Share of the bits saved × share of the tokens dropped; 0 for keeping all and for keeping nothing.

    (1 − D(S)/D(∅)) · (1 − rate). Any reader that gets more than its share of bits from a part of the tokens puts the
    best kept fraction in between: where each bit is as good as another, at one half.
    """
    return _share(distortion(item)) * rate(item)


def rate_distortion(item: RewardInput) -> float:
    """1 − D(S)/D(∅) + β·(1 − achieved rate), from 0 to 1 + β: the information kept, and the tokens saved at price β.

    The Lagrangian of rate–distortion theory (Shannon 1959), both sides as shares of the whole text, so that β is of
    order 1: keeping all is worth 1, keeping nothing β.
    """
    return _share(distortion(item)) + item.price * rate(item)


def _share(value: float) -> float:
    """Inside [0, 1], as `distortion` counts when it is a term by itself; NaN stays NaN."""
    return float(np.clip(value, 0.0, 1.0))


TERMS: dict[str, Term] = {
    "distortion": Term(distortion),
    "answer_kept": Term(answer_kept, needs=("answer",)),
    "rate": Term(rate),
    "simple": Term(simple),
    "rate_distortion": Term(rate_distortion, high=1.0 + PRICE_LIMIT),
}


def find_term(name: str) -> Term:
    """A term by name, or a function of yours by Python path `package.module:function` with range [0, 1].

    Raises:
        UserError: no such term, module or function.
    """
    if name in TERMS:
        return TERMS[name]
    if ":" not in name:
        near = get_close_matches(name, TERMS, 1)
        hint = f"did you mean {near[0]}?" if near else f"use {', '.join(TERMS)} or package.module:function"
        raise UserError(f"reward.terms: {name!r} is unknown: {hint}")
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise UserError(f"reward.terms: {name!r} cannot be imported ({error}): check the Python path") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UserError(f"reward.terms: {name!r}: module {module_name} has no function {function_name!r}")
    return Term(function)
