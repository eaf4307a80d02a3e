"""Okapi BM25: how well each document of a small collection matches the words of a query.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3:

    score(d) = Σ over words q of the query: idf(q) · tf · (k1 + 1) / (tf + k1 · (1 − b + b · |d| / mean |d|))

The collection is what is ranked. For a text's sentences that is the text itself, as people use BM25 on retrieved
passages: a word that only one sentence has tells that sentence from the others, however common it may be elsewhere.
idf is Lucene's ln(1 + (S − n + ½) / (n + ½)), which is never negative: the classic form punishes sentences for a word
that more than half of them have.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from rlcompress.text.bare import bare_words
from rlcompress.text.stop_words import STOP_WORDS
from rlcompress.words import FloatArray

K1 = 1.2  # how soon repetitions stop counting
B = 0.75  # how much longer documents are held back: 0 not at all, 1 in proportion


def bm25(documents: Sequence[Sequence[str]], query: Sequence[str], k1: float = K1, b: float = B) -> FloatArray:
    """Scores [S] of S documents, each a list of words; 0 without a common word. A word asked twice counts twice.

    Args:
        documents: words of each document; any of them may be empty.
        query: words of the query, spelled as in the documents; may be empty.
        k1: saturation of the term frequency, at least 0.
        b: share of the length normalisation, 0 to 1.
    """
    counts = [Counter(words) for words in documents]
    length_S = np.array([float(len(words)) for words in documents])
    score_S = np.zeros(len(documents))
    if not length_S.sum():
        return score_S
    held_back_S = k1 * (1.0 - b + b * length_S / length_S.mean())
    for word, asked in Counter(query).items():
        tf_S = np.array([float(count[word]) for count in counts])
        having = int((tf_S > 0).sum())
        if having:
            idf = math.log1p((len(documents) - having + 0.5) / (having + 0.5))
            gain_S = tf_S * (k1 + 1.0) / np.where(tf_S > 0, tf_S + held_back_S, 1.0)
            score_S += asked * idf * gain_S
    return score_S


def asked_words(question: str) -> list[str]:
    """The words of a question that are looked for: all but stop words, or all where there is nothing else.

    Among a handful of sentences chance decides which have "did" or "who", and idf cannot tell.
    """
    words = bare_words(question)
    return [word for word in words if word not in STOP_WORDS] or words
