"""Cutting a long text into consecutive passages that fit a limit in reader tokens."""

from __future__ import annotations

import numpy as np

from rlcompress.text.units import token_units, unit_costs, unit_starts
from rlcompress.words import Tokenizer


def count_tokens(text: str, tokenizer: Tokenizer) -> int:
    return len(tokenizer.encode(text)[0])


def passages(text: str, tokenizer: Tokenizer, least: int, most: int) -> list[tuple[str, int]]:
    """(passage, its tokens) of `text` in order, white space at the cuts removed, nothing else lost.

    A passage ends where its last whole sentence does if that leaves it `least` tokens, else after a word. Each has
    at most `most` tokens when tokenised alone; only a single word longer than that stands alone and above it.
    """
    text = text.strip()
    ids_T, spans_T2 = tokenizer.encode(text)
    if len(ids_T) <= most:
        return [(text, len(ids_T))]
    starts_N = unit_starts(text)
    costs_N = unit_costs(len(starts_N), token_units(text, starts_N, spans_T2))
    paid_N = np.concatenate([[0], np.cumsum(costs_N)])  # paid_N[u]: tokens before word u
    bounds = [*starts_N.tolist(), len(text)]
    sentence_ends = np.searchsorted(starts_N, np.append(unit_starts(text, "sentence")[1:], len(text)))
    pieces: list[tuple[str, int]] = []
    begin = 0
    while begin < len(starts_N):
        end = int(np.searchsorted(paid_N, paid_N[begin] + most, side="right")) - 1
        ends = sentence_ends[(sentence_ends <= end) & (paid_N[sentence_ends] >= paid_N[begin] + least)]
        end = int(ends[-1]) if len(ends) and ends[-1] > begin else max(end, begin + 1)
        # alone, a passage may cost a token or two more than it did inside the text
        while True:
            piece = text[bounds[begin] : bounds[end]].strip()
            tokens = count_tokens(piece, tokenizer)
            if tokens <= most or end == begin + 1:
                break
            end -= 1
        pieces.append((piece, tokens))
        begin = end
    return pieces
