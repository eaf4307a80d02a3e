"""The filters that come before words: whole contexts and whole sentences, by their scores."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence

import numpy as np

from rlcompress.errors import UserError
from rlcompress.llmlingua.arguments import Kind
from rlcompress.llmlingua.layout import Layout
from rlcompress.llmlingua.request import Request
from rlcompress.questions.bm25 import asked_words, bm25
from rlcompress.questions.sentences import sentence_numbers
from rlcompress.text.bare import bare_words
from rlcompress.words import BoolArray, FloatArray, IntArray

_BUDGET = re.compile(r"\s*([-+*/])\s*(\d+(?:\.\d+)?)\s*")


def gzip_distance(one: str, other: str) -> float:
    """Normalised compression distance, the smaller the nearer (Jiang et al., "Less is More", ACL 2023 Findings)."""
    x, y, both = (len(gzip.compress(text.encode("utf-8", "replace"))) for text in (one, other, f"{one} {other}"))
    return (both - min(x, y)) / max(x, y)


def means(scores_N: FloatArray, costs_N: IntArray, group_N: IntArray, groups: int) -> FloatArray:
    """The mean score a token of each group [G]; a group without tokens has the lowest of all."""
    total_G = np.bincount(group_N, scores_N * costs_N, minlength=groups)
    tokens_G = np.bincount(group_N, costs_N, minlength=groups)
    lowest = float(scores_N.min()) if len(scores_N) else 0.0
    return np.where(tokens_G > 0, total_G / np.maximum(tokens_G, 1), lowest)


def rank_contexts(method: str, contexts: Sequence[str], question: str, own_C: FloatArray) -> list[tuple[int, float]]:
    """Contexts, best first, each with its score; `own_C` are the model's."""
    if method == "bm25":
        score_C = bm25([bare_words(text) for text in contexts], asked_words(question))
    elif method == "gzip":
        score_C = -np.array([gzip_distance(text, question) for text in contexts])
    else:
        score_C = own_C
    return [(int(c), float(score_C[c])) for c in np.argsort(-score_C, kind="stable")]


def widened(budget: str, tokens: float) -> float:
    """`tokens` after `context_budget`: "+100" adds, "*1.5" multiplies.

    Raises:
        UserError: anything else; the original evaluates it as code.
    """
    found = _BUDGET.fullmatch(budget)
    if not found or (found[1] == "/" and not float(found[2])):
        raise UserError(f"context_budget is {budget!r}: write +100, -100, *1.5 or /2")
    number = float(found[2])
    return {"+": tokens + number, "-": tokens - number, "*": tokens * number}.get(found[1], tokens / (number or 1.0))


def filter_contexts(
    request: Request, kind: Kind, layout: Layout, tokens: int, ranked: Sequence[tuple[int, float]]
) -> list[int]:
    """The contexts that stay, best first: until their tokens reach the filter's budget, and those that must.

    Raises:
        UserError: a number in `force_context_ids` that no context has.
    """
    cost_C = np.bincount(layout.context_N, layout.units.costs_N, minlength=len(request.context)).astype(int)
    forced = set(request.force_context_ids or ())
    if wrong := sorted(forced - set(range(len(cost_C)))):
        raise UserError(f"force_context_ids names {wrong[0]} and there are {len(cost_C)} contexts, from 0")
    if request.strict_preserve_uncompressed:
        forced |= {piece.context for piece in layout.pieces if not piece.compress}
    limit = _limit(request, kind, tokens, int(cost_C.sum()))
    numbers = [n for n in (request.force_context_number, request.target_context) if n is not None and n >= 0]
    chosen: list[int] = []
    spent = sum(int(cost_C[c]) for c in forced)
    for c, _ in ranked:
        if c in forced:
            continue
        if (spent >= limit and cost_C[c]) or (numbers and len(chosen) + len(forced) >= min(numbers)):
            break
        chosen.append(c)
        spent += int(cost_C[c])
    return [c for c, _ in ranked if c in forced or c in chosen]


def _limit(request: Request, kind: Kind, tokens: int, total: int) -> float:
    """Tokens of the contexts that stay: what was asked for, else more than the words that will be kept of them."""
    if request.context_level_target_token >= 0:
        return float(request.context_level_target_token)
    if request.context_level_rate < 1.0:
        return request.context_level_rate * total
    if request.target_context >= 0 or request.force_context_number is not None:
        return float(total)
    if not request.use_token_level_filter:
        return float(tokens)
    if kind is Kind.CAUSAL or request.context_budget != "+100":
        return widened(request.context_budget, tokens)
    return 2.0 * tokens if request.targeted else (tokens + total) / 2


def reordered(order: str, kept: Sequence[int]) -> list[int]:
    """Contexts as they come out, from best first: as they came, best first, or the best at both ends."""
    if order == "sort":
        return list(kept)
    return [*kept[::2], *reversed(kept[1::2])] if order == "two_stage" else sorted(kept)


def shares(ratio: float, kept: Sequence[int], contexts: int) -> list[float] | None:
    """How much above the mean rate each context keeps: from +ratio for the best to -ratio, in equal steps."""
    if not ratio or len(kept) < 2:
        return None
    share_C = [0.0] * contexts
    for place, c in enumerate(kept):
        share_C[c] = ratio * (1 - 2 * place / (len(kept) - 1))
    return share_C


def filter_sentences(
    request: Request, layout: Layout, scores_N: FloatArray, alive_N: BoolArray, tokens: int
) -> BoolArray:
    """Units [N] of the best sentences, until their tokens reach `token_budget_ratio` times the budget."""
    units = layout.units
    sentence_N = sentence_numbers(units) if len(units) else np.zeros(0, np.int64)
    _, sentence_N = np.unique(np.stack([layout.context_N, sentence_N]), axis=1, return_inverse=True)
    sentence_N = sentence_N.reshape(-1)
    S = int(sentence_N.max(initial=-1)) + 1
    score_S = means(scores_N, units.costs_N, sentence_N, S)
    span = float(np.ptp(score_S)) if S else 0.0
    score_S = (score_S - score_S.min(initial=0.0 if not S else np.inf)) / (span or 1.0)
    for c in range(len(layout.bounds)):
        mine = np.unique(sentence_N[layout.context_N == c])
        best = mine[np.argsort(-score_S[mine], kind="stable")]
        last = mine[max(0, len(mine) - request.keep_last_sentence) :]
        named = {*mine[: request.keep_first_sentence], *last, *best[: request.keep_sentence_number]}
        score_S[[int(s) for s in named]] += request.high_priority_bonus
    cost_S = np.bincount(sentence_N[alive_N], units.costs_N[alive_N], minlength=S)
    order_S = np.argsort(-score_S, kind="stable")
    before_S = np.cumsum(cost_S[order_S]) - cost_S[order_S]
    stays_S = np.zeros(S, np.bool_)
    stays_S[order_S[before_S < request.token_budget_ratio * tokens]] = True
    fixed_N = np.array([not piece.compress for piece in layout.pieces])[layout.piece_N]
    kept_N: BoolArray = alive_N & (stays_S[sentence_N] | fixed_N)
    return kept_N
