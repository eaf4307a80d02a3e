"""Reward terms: pure functions of one judged compression, each with a stated range."""

from __future__ import annotations

import importlib
from difflib import get_close_matches

import numpy as np

from rlcompress.config.rewarding import PRICE_LIMIT, RewardConfig
from rlcompress.errors import UserError
from rlcompress.measuring.metrics import answer_retention as retained
from rlcompress.rewards.answers import agreement, answer_likelihood, task, text_similarity
from rlcompress.rewards.item import RewardInput as RewardInput
from rlcompress.rewards.item import Term as Term
from rlcompress.rewards.recipes import RECIPES
from rlcompress.text.bare import bare_words
from rlcompress.words import Judgement


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


def answer_retention(item: RewardInput) -> float:
    """1 where every word of the answer survives in the output, else 0: the metric of the same name."""
    return float(retained(item.example.answer or "", item.text))


def rate(item: RewardInput) -> float:
    """Dropped share of reader tokens. For samplers that choose their length; constant under an exact budget."""
    return 1.0 - item.rate


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
    "answer_retention": Term(answer_retention, needs=("answer",)),
    "rate": Term(rate),
    "simple": Term(simple),
    "rate_distortion": Term(rate_distortion, high=1.0 + PRICE_LIMIT),
    "answer_likelihood": Term(answer_likelihood, needs=("answer",), reads=("bits",)),
    "task": Term(task, needs=("answer",), reads=("said",)),
    "agreement": Term(agreement, reads=("said",)),
    "similarity": Term(text_similarity),
    **RECIPES,
}


def reads(config: RewardConfig) -> frozenset[str]:
    """What a reader has to find out for the reward of this configuration; empty where no term needs one."""
    asked = {name for term in config.terms for name in find_term(term).reads}
    if "similarity" in config.terms:
        asked |= {"embedding": {"embedding"}, "judge": {"same"}}.get(config.similarity.kind, set())
    return frozenset(asked)


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
