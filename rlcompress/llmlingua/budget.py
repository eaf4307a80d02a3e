"""The last filter: which words stay, by one selection over the whole prompt or one for each part with its own rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlcompress.llmlingua.layout import Layout
from rlcompress.selection import select
from rlcompress.words import BoolArray, FloatArray, IntArray, Units


def spend(units: Units, scores_N: FloatArray, among_M: IntArray, tokens: int) -> IntArray:
    """Which of some units [M] stay: the best that cost at most so many tokens, protected ones first."""
    part = Units(
        units.text, units.starts_N[among_M], units.ends_N[among_M], units.costs_N[among_M], units.protected_N[among_M]
    )
    return among_M[select(part, scores_N[among_M], target_tokens=max(0, tokens)).kept_N]


def filter_words(
    layout: Layout, scores_N: FloatArray, alive_N: BoolArray, tokens: int, shares: Sequence[float] | None = None
) -> BoolArray:
    """Units [N] that stay.

    Args:
        layout: the prompt.
        scores_N: one score a unit.
        alive_N: what the filters of contexts and sentences left.
        tokens: budget of all pieces without a rate of their own, in reader tokens.
        shares: of each context, how much more (above 0) or less than the mean it keeps; None for one selection.
    """
    units = layout.units
    fixed_N = np.array([not piece.compress for piece in layout.pieces])[layout.piece_N]
    own_N = np.array([piece.compress and piece.rate is not None for piece in layout.pieces])[layout.piece_N]
    kept_N: BoolArray = fixed_N & alive_N
    bounds = np.searchsorted(layout.piece_N, np.arange(len(layout.pieces) + 1))
    for piece, first, end in zip(layout.pieces, bounds, bounds[1:], strict=False):
        if piece.compress and piece.rate is not None:
            among_M = first + np.flatnonzero(alive_N[first:end])
            kept_N[spend(units, scores_N, among_M, round(piece.rate * int(units.costs_N[first:end].sum())))] = True
    rest_N = ~fixed_N & ~own_N & alive_N
    if shares is None:
        kept_N[spend(units, scores_N, np.flatnonzero(rest_N), tokens)] = True
        return kept_N
    for c, budget in enumerate(divide(layout, rest_N, tokens, shares)):
        kept_N[spend(units, scores_N, np.flatnonzero(rest_N & (layout.context_N == c)), budget)] = True
    return kept_N


def divide(layout: Layout, rest_N: BoolArray, tokens: int, shares: Sequence[float]) -> list[int]:
    """The budget of each context: its tokens times clip(mean rate + share, 0, 1), scaled so that they sum to `tokens`.

    What rounding leaves goes to the contexts that lost most by it.
    """
    cost_C = np.bincount(layout.context_N[rest_N], layout.units.costs_N[rest_N], minlength=len(shares))
    total = cost_C.sum()
    if not total:
        return [0] * len(shares)
    tokens = int(min(tokens, total))
    wanted_C = cost_C * np.clip(tokens / total + np.asarray(shares), 0.0, 1.0)
    for _ in shares:  # what one cannot take goes to the others
        wanted_C = np.minimum(cost_C, wanted_C * tokens / max(wanted_C.sum(), 1e-9))
    budget_C = np.floor(wanted_C).astype(np.int64)
    for c in np.argsort(budget_C - wanted_C, kind="stable")[: tokens - int(budget_C.sum())]:
        budget_C[c] += 1
    return [int(b) for b in np.minimum(budget_C, cost_C.astype(np.int64))]


def without_repeats(words: Sequence[str], kept_N: BoolArray, forced: Sequence[str]) -> BoolArray:
    """Kept units [N] that repeat the forced text kept right before them: `drop_consecutive` lets go of them."""
    marks = {text.strip() or text for text in forced}
    repeats_N = np.zeros(len(kept_N), np.bool_)
    before = None
    for n in np.flatnonzero(kept_N).tolist():
        word = words[n].strip() or words[n]
        repeats_N[n] = word in marks and word == before
        before = word
    return repeats_N
