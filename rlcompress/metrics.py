"""What is measured of one compressed text, and how items add up to a corpus figure.

Every metric is a ratio of two measured quantities: the corpus figure is the sum of the numerators over the sum of the
denominators, never a mean of ratios. Items, seeds and bootstrap draws all go through the same two sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rlcompress.text.bare import bare_words
from rlcompress.words import Compression, Judgement, Status


@dataclass(frozen=True, slots=True)
class Metric:
    """A ratio of two quantities of `QUANTITIES`, and which way is better."""

    numerator: str
    denominator: str
    better: Literal["lower", "higher", "neither"]
    meaning: str
    needs_answer: bool = False
    needs_judge: bool = False


# What is stored of each (method, rate, seed, item): enough to compute every metric again.
QUANTITIES = (
    "kept_tokens",
    "source_tokens",
    "bits",
    "tokens",
    "dropped",
    "hits",
    "adapted_bits",
    "adapted_tokens",
    "answer_kept",
    "answer_contiguous",
    "answers",
)

METRICS: dict[str, Metric] = {
    "distortion_bits": Metric(
        "bits", "tokens", "lower", "bits of the dropped tokens per original token", needs_judge=True
    ),
    "token_accuracy": Metric(
        "hits", "dropped", "higher", "dropped tokens that the judge guesses right", needs_judge=True
    ),
    "achieved_rate": Metric("kept_tokens", "source_tokens", "neither", "kept reader tokens per source token"),
    "answer_retention": Metric("answer_kept", "answers", "higher", "answers whose every word survives", True),
    "answer_span": Metric("answer_contiguous", "answers", "higher", "answers that survive in one piece", True),
    "distortion_bits_adapted": Metric(
        "adapted_bits", "adapted_tokens", "lower", "distortion_bits by a judge adapted to the method's own masks"
    ),
}


def distortion_bits(judgement: Judgement) -> float:
    """D(S) per original token: bits of the dropped tokens / the judge's tokens of the original; NaN if failed."""
    if judgement.status is not Status.OK or not judgement.tokens:
        return float("nan")
    return judgement.score / judgement.tokens


def token_accuracy(judgement: Judgement) -> float:
    """Share of the dropped tokens whose most likely guess was right; NaN if failed or nothing was dropped."""
    if judgement.status is not Status.OK or not judgement.dropped:
        return float("nan")
    return judgement.hits / judgement.dropped


def answer_retention(answer: str, kept_text: str) -> bool:
    """Whether every word of the answer survives somewhere in the kept text, in any order."""
    return set(bare_words(answer)) <= set(bare_words(kept_text))


def answer_span(answer: str, kept_text: str) -> bool:
    """Whether the words of the answer survive next to each other and in order."""
    words, kept = bare_words(answer), bare_words(kept_text)
    return any(kept[i : i + len(words)] == words for i in range(len(kept) - len(words) + 1))


def compression_quantities(compression: Compression, answer: str | None) -> dict[str, float]:
    """Quantities that need no judge; those of the answer are 0 / 0 where the row has none."""
    quantities = {
        "kept_tokens": float(compression.kept_tokens),
        "source_tokens": float(compression.units.total_cost),
        "answer_kept": 0.0,
        "answer_contiguous": 0.0,
        "answers": 0.0,
    }
    if answer is not None and bare_words(answer):
        text = compression.text
        quantities["answer_kept"] = float(answer_retention(answer, text))
        quantities["answer_contiguous"] = float(answer_span(answer, text))
        quantities["answers"] = 1.0
    return quantities


def judgement_quantities(judgement: Judgement) -> dict[str, float]:
    """Quantities of a reconstructor's verdict; all NaN where it failed, so that no mean can swallow a failure."""
    if judgement.status is not Status.OK:
        return dict.fromkeys(("bits", "tokens", "dropped", "hits"), float("nan"))
    return {
        "bits": float(judgement.score),
        "tokens": float(judgement.tokens),
        "dropped": float(judgement.dropped),
        "hits": float(judgement.hits),
    }
