"""`recover`: where an answer quotes the compressed prompt, quote the original (LLMLingua 2023, LongLLMLingua 2024)."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Callable

from rlcompress.words import IntArray

_GAP = 10  # tokens that may be missing between two that match


def recover(encode: Callable[[str], tuple[IntArray, IntArray]], original: str, compressed: str, response: str) -> str:
    """The response with each longest run of words that stands in `compressed` replaced by its place in `original`.

    A run's place is where most of its tokens follow one another, with at most 10 tokens between: the span of the
    source, byte for byte.
    """
    ids_T, spans_T2 = encode(original)
    places: dict[int, list[int]] = defaultdict(list)
    for place, token in enumerate(ids_T.tolist()):
        places[token].append(place)
    words, result, start = response.split(" "), list[str](), 0
    while start < len(words):
        end = start + 1
        if words[start] and words[start] in compressed:
            while end < len(words) and " ".join(words[start : end + 1]) in compressed:
                end += 1
            run = " ".join(words[start:end])
            # a byte-level token holds the space before a word: inside a text a run is written with one
            best = max((_place(encode(text)[0].tolist(), places) for text in (run, " " + run)), key=lambda p: p[0])
            result.append(original[spans_T2[best[1], 0] : spans_T2[best[2], 1]].strip() if best[0][0] else run)
        else:
            result.append(words[start])
        start = end
    return " ".join(result)


def _place(ids: list[int], places: dict[int, list[int]]) -> tuple[tuple[int, int], int, int]:
    """(tokens that match, minus the tokens they span), first and last token of the best place; 0 matches: nowhere."""
    best = ((0, 0), 0, 0)
    for first in places.get(ids[0], ()) if ids else ():
        last, matches = first, 1
        for token in ids[1:]:
            where = places.get(token, [])
            at = bisect.bisect_right(where, last)
            if at < len(where) and where[at] - last <= _GAP:
                last, matches = where[at], matches + 1
        best = max(best, ((matches, first - last - 1), first, last), key=lambda place: place[0])
    return best
