"""A reader of word overlap, without torch and without training: for tests and for runs without a language model.

It looks for the answer near the question's words: position i of the text gets the evidence

    e_i = Σ_q rarity(q) · exp(−|i − nearest q| / 6)

over the question's content words q that stand in the text; numbers get more where the question asks how many or when,
capitalised words more where it asks who, which or where. Attention a = softmax(2·e) over all positions but those of
question words and stop words, and one more, of evidence 0, that stands for "not in this text". An answer word w costs
−log2(Σ_{i: w_i = w} a_i + 2^-16) bits. What it says is the run of like words around the best position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rlcompress.errors import UserError
from rlcompress.text.bare import bare_words
from rlcompress.text.stop_words import STOP_WORDS
from rlcompress.text.units import word_starts
from rlcompress.words import FloatArray, Judgement, JudgeRequest

_REACH = 6.0  # words
_SHARPNESS = 2.0
_FLOOR = 2.0**-16  # of a word that is not in the text
_LONGEST = 4  # words of an answer
_COUNTING = {"many", "much", "year", "date", "old", "long", "when", "percentage", "number"}
_NAMING = {"who", "whom", "whose", "where", "which"}


class OverlapReader:
    """A `Judge` of answers; `measures` are what it is asked for: `bits` and `said`."""

    version = "overlap-1"
    computed = 0

    def __init__(self, measures: Sequence[str] = ("bits", "said")) -> None:
        if beyond := sorted(set(measures) - {"bits", "said"}):
            raise UserError(
                f"reward.similarity.kind: builtin:overlap knows no {', '.join(beyond)}: give a causal model as "
                "judges.reader.model"
            )
        self.asked = 0

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        self.asked += len(requests)
        return [self.read(request.text, request.question or "", request.answer or "") for request in requests]

    def read(self, text: str, question: str, answer: str) -> Judgement:
        """`score` is the bits of the answer's words, `tokens` their number, `detail["said"]` its own answer."""
        bounds = [*word_starts(text).tolist(), len(text)]
        pieces = [text[a:b].strip() for a, b in pairwise(bounds)]
        pieces = [piece for piece in pieces if any(c.isalnum() for c in piece)]
        words = [piece.casefold() for piece in pieces]
        attention_N = _attention(pieces, words, question)
        found: Counter[str] = Counter()
        for word, share in zip(words, attention_N.tolist(), strict=True):
            found[word] += share
        wanted = bare_words(answer)
        bits = float(sum(-np.log2(found[word] + _FLOOR) for word in wanted))
        said = _said(pieces, words, attention_N)
        return Judgement(bits, version=self.version, tokens=len(wanted), detail={"said": said})


def _attention(pieces: list[str], words: list[str], question: str) -> FloatArray:
    """Shares [N] of the positions; they add up to less than 1, for the answer may not be there."""
    asked = bare_words(question)
    content = {word for word in asked if word not in STOP_WORDS}
    position_N = np.arange(len(words))
    evidence_N = np.zeros(len(words))
    counts = Counter(words)
    for word in content & counts.keys():
        at = np.asarray([i for i, other in enumerate(words) if other == word])
        distance_N = np.abs(position_N[:, None] - at[None, :]).min(1)
        evidence_N += np.exp(-distance_N / _REACH) / np.sqrt(counts[word])
    evidence_N += np.asarray([_fits(piece, set(asked)) for piece in pieces])
    free_N = np.asarray([word not in content and word not in STOP_WORDS for word in words], np.bool_)
    weight_N: FloatArray = np.where(free_N, np.exp(_SHARPNESS * evidence_N), 0.0)
    shares_N: FloatArray = weight_N / (weight_N.sum() + 1.0)
    return shares_N


def _fits(piece: str, asked: set[str]) -> float:
    """Whether a word has the shape that the question asks for: 1 or 0."""
    if asked & _COUNTING:
        return float(any(c.isdigit() for c in piece))
    return float(piece[0].isupper()) if asked & _NAMING else 0.0


def _said(pieces: list[str], words: list[str], attention_N: FloatArray) -> str:
    if not len(attention_N) or attention_N.max() <= 0:
        return ""
    best = int(np.argmax(attention_N))
    first = last = best
    while last + 1 < len(pieces) and last - first + 1 < _LONGEST and _alike(pieces, attention_N, best, last + 1):
        last += 1
    while first > 0 and last - first + 1 < _LONGEST and _alike(pieces, attention_N, best, first - 1):
        first -= 1
    return " ".join(pieces[first : last + 1])


def _alike(pieces: list[str], attention_N: FloatArray, best: int, other: int) -> bool:
    """A neighbour belongs to the answer if it begins as the best word does and is nearly as likely."""
    return pieces[best][0].isupper() == pieces[other][0].isupper() and attention_N[other] > 0.3 * attention_N[best]
