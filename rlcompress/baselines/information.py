"""Selective Context: keep what a language model did not expect from its left context.

Li, Dong, Lin and Guerin, "Compressing Context to Enhance Inference Efficiency of Large Language Models" (EMNLP 2023).
The paper adds up the bits of a unit's tokens; its released code takes their mean, and so do we, for the budget counts
tokens and a sum would favour whatever has many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from rlcompress.baselines.ngram import NgramModel
from rlcompress.errors import UserError
from rlcompress.text.units import token_units
from rlcompress.words import Example, FloatArray, Tokenizer, Units


class TokenScorer(Protocol):
    """A causal language model as self-information needs it; `tokenizer` made the tokens that are scored."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    def bits(self, texts: Sequence[str]) -> list[FloatArray]:
        """−log2 p [T] of each token of each text given its left context."""
        ...


class NgramScorer:
    """The trigram model as a scorer; it learns from the training texts."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._model = NgramModel()

    def fit(self, texts: Sequence[str]) -> None:
        self._model.fit([self.tokenizer.encode(text)[0] for text in texts])

    def bits(self, texts: Sequence[str]) -> list[FloatArray]:
        if not self._model.fitted:
            raise UserError("baseline self_information learns an n-gram model: fit it on training texts first")
        return [self._model.bits(self.tokenizer.encode(text)[0]) for text in texts]


class SelfInformation:
    """Mean bits a token of each unit. Independent of the rate, so its keep-sets are nested."""

    stochastic = False
    keeps_all = False

    def __init__(self, scorer: TokenScorer | None, name: str = "self_information") -> None:
        self.name = name
        self._scorer = scorer

    def fit(self, texts: Sequence[str]) -> None:
        """Train the n-gram scorer; a pretrained one stays as it is."""
        if isinstance(self._scorer, NgramScorer):
            self._scorer.fit(texts)

    def passes_of(self, units: Units) -> int:
        return 0 if isinstance(self._scorer, NgramScorer) else 1  # a table of counts is no model

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        if self._scorer is None:
            raise UserError(
                f"baseline {self.name} asks a language model that is trained or loaded with a run's configuration: "
                "evaluate a run, or leave it out"
            )
        tokenizer, bits = self._scorer.tokenizer, self._scorer.bits([u.text for u in units])
        return [self._mean_bits(u, tokenizer, bits_T) for u, bits_T in zip(units, bits, strict=True)]

    def _mean_bits(self, units: Units, tokenizer: Tokenizer, bits_T: FloatArray) -> FloatArray:
        _, spans_T2 = tokenizer.encode(units.text)
        owner_T = token_units(units.text, units.starts_N, spans_T2)
        tokens_N = np.bincount(owner_T, minlength=len(units))
        bits_N = np.bincount(owner_T, bits_T, minlength=len(units)).astype(np.float64)
        return bits_N / np.maximum(tokens_N, 1)
