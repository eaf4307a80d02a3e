"""LLMLingua: iterative token-level prompt compression by a causal language model; LongLLMLingua's contrast with it.

Jiang, Wu, Lin, Yang and Qiu, "LLMLingua: Compressing Prompts for Accelerated Inference of Large Language Models" (EMNLP
2023), algorithm 2: the text is cut into segments; in each, what a language model expected least is kept, given the
tokens of the segment before it and, of all segments before that, only what was kept. Of the paper this is the iterative
part. Its budget controller shares a budget among demonstrations, which a single text does not have; the alignment of
the language model with the reader's is not done; whole units are kept instead of tokens, by their mean bits a token.

Jiang et al., "LongLLMLingua" (ACL 2024), equation 3: where there is a question, what matters is how much it makes a
token likelier: log p(x | question, before) − log p(x | before). Its reordering and selection of documents have no
counterpart in a single text.

The order depends on the rate: keep-sets are not nested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from rlcompress.baselines.information import TokenScorer
from rlcompress.baselines.method import questions_of
from rlcompress.errors import UserError
from rlcompress.selection import budget_tokens
from rlcompress.text.units import token_units
from rlcompress.words import BoolArray, Example, FloatArray, IntArray, Units

Row = tuple[IntArray, IntArray, IntArray]  # token ids: of the question, kept so far, of the segment


class LanguageModel(TokenScorer, Protocol):
    """A causal language model that can be asked about a continuation."""

    @property
    def window(self) -> int:
        """Most tokens read together, a start token among them."""
        ...

    def continuation_bits(self, rows: Sequence[tuple[IntArray, IntArray]]) -> list[FloatArray]:
        """−log2 p [T] of each token of a continuation [T] given a prefix [K] and the continuation before it."""
        ...


def surprise(model: LanguageModel, rows: Sequence[Row]) -> list[FloatArray]:
    """Bits [T] of the tokens of each segment given what was kept before it."""
    return model.continuation_bits([(kept_K, segment_T) for _, kept_K, segment_T in rows])


def contrast(model: LanguageModel, rows: Sequence[Row]) -> list[FloatArray]:
    """Bits [T] that the question saves on the tokens of each segment."""
    asked = model.continuation_bits([(np.concatenate([q_Q, kept_K]), segment_T) for q_Q, kept_K, segment_T in rows])
    return [plain_T - asked_T for plain_T, asked_T in zip(surprise(model, rows), asked, strict=True)]


class _Walk:
    """One text on its way through its segments."""

    def __init__(self, units: Units, model: LanguageModel, rate: float, segment: int, question: str) -> None:
        self.units = units
        self.ids_T, spans_T2 = model.tokenizer.encode(units.text)
        self.owner_T = token_units(units.text, units.starts_N, spans_T2)
        self.room = model.window - 1
        self.question_Q = model.tokenizer.encode(f"{question}\n")[0] if question else np.zeros(0, np.int64)
        self.segments = segment_bounds(np.bincount(self.owner_T, minlength=len(units)), segment)
        self.free_N: BoolArray = ~units.protected_N
        self.kept_N: BoolArray = units.protected_N.copy()
        self.score_N = np.zeros(len(units))
        self.budget = max(0, budget_tokens(units, rate) - int(units.costs_N[units.protected_N].sum()))

    def row(self, s: int) -> Row:
        """What the model is asked about segment `s`."""
        first, end = self.segments[s]
        before_T = (self.owner_T < first) & self.kept_N[self.owner_T]
        inside_T = (self.owner_T >= first) & (self.owner_T < end)
        kept_K, segment_T = self.ids_T[before_T], self.ids_T[inside_T]
        # where all does not fit, the oldest of what was kept goes first: never the question
        room = max(0, self.room - len(self.question_Q) - len(segment_T))
        return self.question_Q, kept_K[max(0, len(kept_K) - room) :], segment_T

    def keep(self, s: int, score_T: FloatArray) -> None:
        """Keep the best units of segment `s` within the share of the budget that belongs to the text so far."""
        first, end = self.segments[s]
        owner_T = self.owner_T[(self.owner_T >= first) & (self.owner_T < end)] - first
        count_M = np.bincount(owner_T, minlength=end - first)
        self.score_N[first:end] = np.bincount(owner_T, score_T, minlength=end - first) / np.maximum(count_M, 1)
        costs_N = np.where(self.free_N, self.units.costs_N, 0)
        share = self.budget * int(costs_N[:end].sum()) // max(1, int(costs_N.sum()))
        left = share - int(costs_N[self.kept_N].sum())
        free_M = first + np.flatnonzero(self.free_N[first:end])
        order_M = free_M[np.argsort(-self.score_N[free_M], kind="stable")]
        fits = int(np.searchsorted(np.cumsum(costs_N[order_M]), left, side="right"))
        self.kept_N[order_M[:fits]] = True

    def priorities(self) -> FloatArray:
        """First what was kept, then the rest, each by score: `select` spends what the segments left over."""
        order_N = np.lexsort((-self.score_N, ~self.kept_N))
        priorities_N = np.zeros(len(order_N))
        priorities_N[order_N] = -np.arange(len(order_N), dtype=np.float64)
        return priorities_N


def segment_bounds(tokens_N: IntArray, segment: int) -> list[tuple[int, int]]:
    """Segments of whole units (first, end) of about `segment` tokens: a unit goes where its first token falls."""
    number_N = (np.cumsum(tokens_N) - tokens_N) // segment
    starts = np.flatnonzero(np.diff(number_N, prepend=-1)).tolist()
    return list(pairwise([*starts, len(tokens_N)]))


class Llmlingua:
    """Walks through all texts side by side, a segment of each at a time."""

    stochastic = False
    keeps_all = False

    def __init__(
        self,
        name: str,
        score: Callable[[LanguageModel, Sequence[Row]], list[FloatArray]],
        model: LanguageModel | None,
        segment: int,
    ) -> None:
        self.name = name
        self._score = score
        self._model = model
        self._segment = segment

    def passes_of(self, units: Units) -> int:
        """One a segment, and another with the question."""
        model = self._asked()
        return len(_Walk(units, model, 1.0, self._segment, "").segments) * (2 if self._score is contrast else 1)

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        model = self._asked()
        asked = questions_of(self.name, examples) if self._score is contrast else [""] * len(units)
        walks = [_Walk(u, model, rate, self._segment, question) for u, question in zip(units, asked, strict=True)]
        for s in range(max((len(walk.segments) for walk in walks), default=0)):
            going = [walk for walk in walks if s < len(walk.segments)]
            for walk, score_T in zip(going, self._score(model, [walk.row(s) for walk in going]), strict=True):
                walk.keep(s, score_T)
        return [walk.priorities() for walk in walks]

    def _asked(self) -> LanguageModel:
        if self._model is None:
            raise UserError(
                f"baseline {self.name} asks a language model that is trained or loaded with a run's configuration: "
                "evaluate a run, or leave it out"
            )
        return self._model
