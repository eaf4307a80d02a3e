"""Terms that compare texts: the reader's answers with the right one and each other, outputs with originals."""

from __future__ import annotations

import numpy as np

from rlcompress.rewards.item import RewardInput
from rlcompress.rewards.similarity import exact, excess, f1, similarity
from rlcompress.text.bare import bare_words
from rlcompress.words import FloatArray


def answer_likelihood(item: RewardInput) -> float:
    """p(a | output, question) / (p(a | output, question) + p(a | original, question)), p the geometric mean a token.

    The logistic function, to base 2, of log2 p(a | output) − log2 p(a | original) a token: 1/2 where the reader expects
    the answer as it did before, more where dropping text helped it, 0 where it no longer has a clue.
    """
    read, original = item.readings
    gain = (original.score - read.score) / max(1, read.tokens)
    return float(1.0 / (1.0 + np.exp2(np.clip(-gain, -100.0, 100.0))))


def gold(item: RewardInput, said: str) -> tuple[float, float]:
    """Exact match and F1 of what a reader said with the example's answer, on bare words."""
    answer, words = bare_words(item.example.answer or ""), bare_words(said)
    return exact(answer, words), f1(answer, words)


def task(item: RewardInput) -> float:
    """(1 + c − o) / 2 with c and o the mean of exact match and F1 of the answers from output and original.

    1/2 where the answer is as good as it was. A question that the reader answers wrongly either way gives 1/2 to every
    sample, so it decides nothing.
    """
    after, before = (sum(gold(item, said)) / 2.0 for said in item.said)
    return (1.0 + after - before) / 2.0


def agreement(item: RewardInput) -> float:
    """Similarity of what the reader says from the output to what it says from the original, whether right or wrong."""
    after, before = item.said
    return _from_threshold(item, similarity(item.settings.similarity.kind, before, after))


def text_similarity(item: RewardInput) -> float:
    """Similarity of the output to its original; of a written output to the answer, where there is one.

    By `reward.similarity`: word measures (see `similarity.py`), or two that `judges.reader` answers: the cosine of its
    embeddings, and the probability of yes when it is asked whether both texts say the same. Those two are multiplied
    by the share of the output that its words above the reference's length leave.
    """
    kind = item.settings.similarity.kind
    if kind in ("embedding", "judge"):
        read, original = item.readings
        source = item.compression.units.text
        if kind == "judge":
            value = float(read.detail["same"])
        else:
            value = _cosine(np.asarray(read.detail["embedding"]), np.asarray(original.detail["embedding"]))
        return _from_threshold(item, value * excess(source, item.text))
    answered = item.written is not None and item.example.answer is not None
    reference = str(item.example.answer) if answered else item.compression.units.text
    return _from_threshold(item, similarity(kind, reference, item.text))


def _cosine(first_D: FloatArray, second_D: FloatArray) -> float:
    """In [0, 1]: opposite directions count as unlike; a text without direction is like nothing."""
    norm = float(np.linalg.norm(first_D) * np.linalg.norm(second_D))
    return max(0.0, float(first_D @ second_D) / norm) if norm else 0.0


def _from_threshold(item: RewardInput, value: float) -> float:
    return value if value >= item.settings.similarity.threshold else 0.0
