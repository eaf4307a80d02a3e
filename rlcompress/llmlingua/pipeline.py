"""From a request to what is left of it: contexts, sentences, then words, all within one budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import regex

from rlcompress.llmlingua import filters
from rlcompress.llmlingua.arguments import Kind
from rlcompress.llmlingua.budget import filter_words, without_repeats
from rlcompress.llmlingua.layout import SEPARATOR, Layout, lay_out, pieces_of
from rlcompress.llmlingua.request import Request
from rlcompress.words import BoolArray, FloatArray, Units

_ROUNDS = 8  # in which freed budget is spent again


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What stays of each context that stays, in the order in which they come out, and a label for each word."""

    texts: list[str]
    contexts: list[int]
    layout: Layout
    kept_N: BoolArray

    @property
    def labels(self) -> list[tuple[str, int]]:
        """Each word of the contexts, without white space, with 1 (kept) or 0."""
        words = (word.strip() for word in self.layout.units.words())
        return [(word, int(kept)) for word, kept in zip(words, self.kept_N.tolist(), strict=True) if word]


def protected_patterns(request: Request) -> list[str]:
    """Regular expressions of what must stay: forced tokens as whole words, numbers, empty lines."""
    patterns = []
    for text in request.force_tokens:
        before = r"(?<!\w)" if text[:1].isalnum() else ""
        after = r"(?!\w)" if text[-1:].isalnum() else ""
        patterns.append(f"{before}(?:{regex.escape(text)}){after}" if text else "(?:)")
    if request.force_reserve_digit:
        patterns += ["numbers", r"\w*\d\w*"]
    return [*patterns, r"\n\s*\n"] if request.keep_split else patterns


def budget(request: Request, total: int, around: int, asked: int) -> int:
    """Tokens of the contexts that may stay; `rate` counts instruction (`around`) and question (`asked`) as well."""
    if request.targeted:
        return int(request.target_token)
    return max(0, round(request.rate * (total + around + asked)) - around - asked * request.concate_question)


def compress(
    request: Request,
    kind: Kind,
    cut: Callable[[str, list[str]], Units],
    score: Callable[[Units, Request, float], FloatArray],
    count: Callable[[str], int],
) -> Kept:
    """Apply the filters of a request.

    Args:
        request: what is asked.
        kind: what scores words.
        cut: a text and patterns to its units.
        score: units, the request and the rate of the words to one score a unit.
        count: reader tokens of a text.
    """
    patterns = protected_patterns(request)
    layout = lay_out(pieces_of(request), lambda text: cut(text, patterns))
    total = layout.tokens()
    tokens = budget(request, total, count(request.instruction), count(request.question))
    rate = min(1.0, max(tokens, 1) / total) if total else 1.0
    scores_N = score(layout.units, request, rate)
    alive_N = np.ones(len(layout.units), np.bool_)
    kept = list(range(len(layout.bounds)))
    shares = None
    if request.use_context_level_filter and len(kept) > 1:
        own_C = filters.means(scores_N, layout.units.costs_N, layout.context_N, len(kept))
        ranked = filters.rank_contexts(request.rank_method, request.context, request.question, own_C)
        kept = filters.filter_contexts(request, kind, layout, tokens, ranked)
        alive_N = np.isin(layout.context_N, kept)
        shares = filters.shares(request.dynamic_context_compression_ratio, kept, len(layout.bounds))
        kept = filters.reordered(request.reorder_context, kept)
    if request.use_sentence_level_filter:
        alive_N = filters.filter_sentences(request, layout, scores_N, alive_N, tokens)
    if request.use_token_level_filter:
        free = rest_tokens(layout, tokens)
        kept_N = filter_words(layout, scores_N, alive_N, free, shares)
        words = layout.units.words()
        for _ in range(_ROUNDS * request.drop_consecutive):
            repeats_N = without_repeats(words, kept_N, request.force_tokens)
            if not repeats_N.any():
                break
            alive_N &= ~repeats_N
            kept_N = filter_words(layout, scores_N, alive_N, free, shares)
    else:
        kept_N = alive_N
    if request.drop_consecutive:
        kept_N &= ~without_repeats(layout.units.words(), kept_N, request.force_tokens)
    texts = layout.texts(kept_N)
    return Kept([texts[c] for c in kept], kept, layout, kept_N)


def rest_tokens(layout: Layout, tokens: int) -> int:
    """The budget of the pieces without a rate: their share of it where others have their own."""
    plain_N = np.array([piece.compress and piece.rate is None for piece in layout.pieces])[layout.piece_N]
    if plain_N.all():
        return tokens
    total = layout.tokens()
    return round(tokens * layout.tokens(plain_N) / total) if total else 0


def assemble(request: Request, texts: list[str]) -> str:
    """Instruction, what is left of the contexts, and question, parted by empty lines."""
    asked = request.question if request.concate_question else ""
    return SEPARATOR.join(part for part in [request.instruction, *texts, asked] if part)
