"""Published measures of how alike two lists of words are, in [0, 1]: BLEU, ROUGE-N and ROUGE-L.

For measuring alone: what is trained on is in `rlcompress/rewards/similarity.py`, where padding does not pay.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

_ORDER = 4  # longest n-gram of BLEU


def bleu(reference: Sequence[str], candidate: Sequence[str], length: int | None = None) -> float:
    """Sentence BLEU (Papineni et al. 2002), orders above 1 smoothed by one more match and n-gram (Lin & Och 2004).

    Orders that the reference is too short for are left out, so that a text is wholly like itself. Precision is over the
    n-grams of `length` words, by default those of the candidate.
    """
    if not reference or not candidate:
        return float(not reference and not candidate)
    length = len(candidate) if length is None else length
    logs = []
    for n in range(1, min(_ORDER, len(reference)) + 1):
        matched = (ngrams(candidate, n) & ngrams(reference, n)).total()
        among, more = max(0, length - n + 1), int(n > 1)
        if not matched + more:
            return 0.0
        logs.append(math.log((matched + more) / (among + more)))
    brevity = min(0.0, 1.0 - len(reference) / len(candidate))
    return math.exp(brevity + sum(logs) / len(logs))


def rouge_n(reference: Sequence[str], candidate: Sequence[str], n: int) -> float:
    """F1 of the n-grams, each as often as both have it (Lin 2004); where both are too short for one, of equality."""
    theirs, mine = ngrams(reference, n), ngrams(candidate, n)
    if not theirs and not mine:
        return float(list(reference) == list(candidate))
    return harmonic((theirs & mine).total(), theirs.total(), mine.total())


def rouge_l(reference: Sequence[str], candidate: Sequence[str]) -> float:
    """F1 of the longest common subsequence (Lin 2004, β = 1)."""
    return harmonic(subsequence(reference, candidate), len(reference), len(candidate))


def ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each run of n words stands there."""
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def harmonic(matched: int, reference: int, candidate: int) -> float:
    """2·P·R / (P + R) = 2·matched / (reference + candidate)."""
    return 2.0 * matched / (reference + candidate) if reference + candidate else 1.0


def subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of its table as the bits of one number (Hyyrö 2004)."""
    where: dict[str, int] = {}
    for i, word in enumerate(first):
        where[word] = where.get(word, 0) | 1 << i
    everything = (1 << len(first)) - 1
    row = everything  # a bit is 0 where the table grows by one
    for word in second:
        matches = row & where.get(word, 0)
        row = (row + matches | row - matches) & everything
    return len(first) - row.bit_count()
