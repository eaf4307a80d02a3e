"""Baselines: every one ranks units and goes through the same `select` at the same budget as the policy."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlcompress.baselines import heuristics
from rlcompress.baselines.adaptive import AdaptiveAdd, teacher_order
from rlcompress.baselines.frequency import Frequency
from rlcompress.baselines.information import NgramScorer, SelfInformation, TokenScorer
from rlcompress.baselines.llmlingua import LanguageModel, Llmlingua, contrast, surprise
from rlcompress.baselines.method import AskingMethod, FittedMethod, Method, mean_passes
from rlcompress.baselines.sentences import SentenceMethod, by_bm25, by_embedding, by_mix
from rlcompress.baselines.vote import Vote
from rlcompress.errors import UserError
from rlcompress.questions.sentences import Embedder
from rlcompress.words import Judge, Tokenizer

__all__ = [
    "BASELINES",
    "AskingMethod",
    "Embedder",
    "FittedMethod",
    "LanguageModel",
    "Method",
    "Parts",
    "TokenScorer",
    "build_methods",
    "mean_passes",
    "require_baselines",
    "teacher_order",
]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a baseline may be made of; models are made when a baseline first asks for them."""

    tokenizer: Tokenizer
    judge: Judge | None = None
    embedder: Callable[[], Embedder] | None = None
    language_model: Callable[[], LanguageModel] | None = None
    segment: int = 100  # tokens that llmlingua compresses at a time


def _encoder(parts: Parts) -> Embedder | None:
    return parts.embedder() if parts.embedder else None


def _language_model(parts: Parts) -> LanguageModel | None:
    return parts.language_model() if parts.language_model else None


def _rare() -> Frequency:
    return Frequency("rare", sign=-1.0)


def _ngram(parts: Parts) -> SelfInformation:
    return SelfInformation(NgramScorer(parts.tokenizer))


def _voters(parts: Parts) -> list[Method]:
    return [_rare(), _ngram(parts), heuristics.LONG, heuristics.HEAD_TAIL, heuristics.STOPWORDS]


BASELINES: dict[str, Callable[[Parts], Method]] = {
    "identity": lambda parts: heuristics.IDENTITY,
    "random": lambda parts: heuristics.Random(),
    "frequent": lambda parts: Frequency("frequent", sign=1.0),
    "rare": lambda parts: _rare(),
    "short": lambda parts: heuristics.SHORT,
    "long": lambda parts: heuristics.LONG,
    "head": lambda parts: heuristics.HEAD,
    "tail": lambda parts: heuristics.TAIL,
    "head_tail": lambda parts: heuristics.HEAD_TAIL,
    "stride": lambda parts: heuristics.STRIDE,
    "stopwords": lambda parts: heuristics.STOPWORDS,
    "self_information": _ngram,
    "lm_self_information": lambda parts: SelfInformation(_language_model(parts), "lm_self_information"),
    "llmlingua": lambda parts: Llmlingua("llmlingua", surprise, _language_model(parts), parts.segment),
    "longllmlingua": lambda parts: Llmlingua("longllmlingua", contrast, _language_model(parts), parts.segment),
    "adaptive": lambda parts: Vote("adaptive", _voters(parts)),
    "adaptive_add": lambda parts: AdaptiveAdd(parts.judge),
    "bm25_sentences": lambda parts: SentenceMethod("bm25_sentences", by_bm25),
    "embedding_sentences": lambda parts: SentenceMethod("embedding_sentences", by_embedding, _encoder(parts)),
    "mix_sentences": lambda parts: SentenceMethod("mix_sentences", by_mix, _encoder(parts)),
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
    names: Sequence[str],
    *,
    tokenizer: Tokenizer,
    train_texts: Sequence[str],
    judge: Judge | None = None,
    embedder: Callable[[], Embedder] | None = None,
    language_model: Callable[[], LanguageModel] | None = None,
    segment: int = 100,
) -> list[Method]:
    """Baselines by name, in order, fitted on the training texts.

    One that lacks its judge, encoder or language model is built all the same and says so when it is used.

    Raises:
        UserError: an unknown name; the nearest known one is in the message.
    """
    require_baselines(names)
    parts = Parts(tokenizer, judge, embedder, language_model, segment)
    methods = []
    for name in names:
        method = BASELINES[name](parts)
        if isinstance(method, FittedMethod):
            method.fit(train_texts)
        methods.append(method)
    return methods
