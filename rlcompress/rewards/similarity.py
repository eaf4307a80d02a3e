"""How alike two texts are, in [0, 1]: exact, word F1, sentence BLEU, ROUGE-L.

Normalisation, for all of them: `bare_words` (case-folded words and numbers, without punctuation and white space); no
stemming, no articles removed. Two texts without words are alike, a text without words and one with some are not.

No padding helps: a word counts as often as it stands in the reference and no oftener (the first times count), and what
does not count still lengthens the candidate. For BLEU this goes for its brevity penalty too, which in the published
formula is bought off with words of any kind: there the length that has to be reached is that of the words that count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from rlcompress.text import ngrams
from rlcompress.text.bare import bare_words


def counted(reference: Sequence[str], candidate: Sequence[str]) -> list[str]:
    """The words of the candidate in order, each as often as the reference has it and no oftener."""
    left = Counter(reference)
    kept = []
    for word in candidate:
        if left[word] > 0:
            left[word] -= 1
            kept.append(word)
    return kept


def exact(reference: Sequence[str], candidate: Sequence[str]) -> float:
    """1 for the same words in the same order, else 0."""
    return float(list(reference) == list(candidate))


def f1(reference: Sequence[str], candidate: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of the words in any order (Rajpurkar et al. 2016)."""
    return ngrams.harmonic(len(counted(reference, candidate)), len(reference), len(candidate))


def rouge_l(reference: Sequence[str], candidate: Sequence[str]) -> float:
    """F1 of the longest common subsequence (Lin 2004, β = 1)."""
    return ngrams.harmonic(ngrams.subsequence(reference, counted(reference, candidate)), len(reference), len(candidate))


def bleu(reference: Sequence[str], candidate: Sequence[str]) -> float:
    """Sentence BLEU of the words that count, over the n-grams of the whole candidate; see `text/ngrams.py`."""
    words = counted(reference, candidate)
    if candidate and not words:
        return 0.0
    return ngrams.bleu(reference, words, len(candidate))


SIMILARITIES: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "exact": exact,
    "f1": f1,
    "bleu": bleu,
    "rouge_l": rouge_l,
}


def similarity(kind: str, reference: str, candidate: str) -> float:
    """`SIMILARITIES[kind]` of the bare words of two texts."""
    return SIMILARITIES[kind](bare_words(reference), bare_words(candidate))


def excess(reference: str, candidate: str) -> float:
    """Share of the candidate, in (0, 1], that its words over the reference's length leave: for measures that do not
    count words, which padding and echoing could raise.
    """
    long, allowed = len(bare_words(candidate)), len(bare_words(reference))
    return min(1.0, allowed / long) if long else 1.0
