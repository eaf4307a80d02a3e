"""What is measured of one compressed text, and how items add up to a corpus figure.

Every metric is a ratio of two measured quantities: the corpus figure is the sum of the numerators over the sum of the
denominators, never a mean of ratios. Items, seeds and bootstrap draws all go through the same two sums; what a metric
makes of the ratio in the end, as perplexity does, it makes of each draw.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlcompress.errors import UserError
from rlcompress.text.bare import bare_words
from rlcompress.words import Compression, Example, FloatArray, Judgement, Status

Source = Literal["judge", "adapted judge", "reader", "reconstruction", "evaluator"]
Better = Literal["lower", "higher", "neither"]
IDENTITY = "identity"  # the method that keeps the original


@dataclass(frozen=True, slots=True)
class Metric:
    """A ratio of two quantities of `QUANTITIES` or `FURTHER`, and which way is better.

    With `quantile` it is that quantile of the numerators of all items in the place of the ratio.
    """

    numerator: str
    denominator: str
    better: Better
    meaning: str
    needs_answer: bool = False
    source: Source | None = None  # who is asked for its quantities; None: the text shows them
    final: Callable[[FloatArray], FloatArray] | None = None  # makes the figure of the corpus' ratio
    quantile: float | None = None
    compared: bool = True  # whether methods are compared in it
    baseline: str | None = None  # a method that all others are compared with, beside the reference


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
# Stored too where a metric asks for them.
FURTHER = (
    "reader_exact",
    "reader_f1",
    "reads",
    "bleu",
    "rouge1",
    "rouge2",
    "rougeL",
    "semantic_similarity",
    "reconstructions",
    "accuracy",
    "accuracy_original",
    "accuracy_change",
    "right_in_other_forms",
    "solves",
    "budget_error",
    "leak_rate",
    "shut_rate",
    "fallback_rate",
    "failed_rate",
    "rewrites",
)

_FILLED: Source = "reconstruction"
_SOLVED: Source = "evaluator"
_HIGHER: Better = "higher"
_LOWER: Better = "lower"
_NEITHER: Better = "neither"
METRICS: dict[str, Metric] = {
    "distortion_bits": Metric(
        "bits", "tokens", "lower", "bits of the dropped tokens per original token", source="judge"
    ),
    "token_accuracy": Metric(
        "hits", "dropped", "higher", "dropped tokens that the judge guesses right", source="judge"
    ),
    "achieved_rate": Metric("kept_tokens", "source_tokens", "neither", "kept reader tokens per source token"),
    "answer_retention": Metric("answer_kept", "answers", "higher", "answers whose every word survives", True),
    "answer_span": Metric("answer_contiguous", "answers", "higher", "answers that survive in one piece", True),
    "distortion_bits_adapted": Metric(
        "adapted_bits",
        "adapted_tokens",
        "lower",
        "distortion_bits by a judge adapted to the method's own masks",
        source="adapted judge",
    ),
    "reader_exact": Metric("reader_exact", "reads", "higher", "questions that a reader answers right", True, "reader"),
    "reader_f1": Metric("reader_f1", "reads", "higher", "word F1 of a reader's answers", True, "reader"),
    "perplexity": Metric("bits", "dropped", "lower", "2^(bits of a dropped token)", source="judge", final=np.exp2),
    **{
        name: Metric(name, "reconstructions", "higher", f"{meaning} of reconstruction and original", source=_FILLED)
        for name, meaning in (
            ("bleu", "BLEU-4"),
            ("rouge1", "F1 of the words"),
            ("rouge2", "F1 of the pairs of words"),
            ("rougeL", "F1 of the longest common subsequence"),
            ("semantic_similarity", "cosine of the vectors"),
        )
    },
    "accuracy": Metric(
        "accuracy", "solves", "higher", "problems that an evaluator solves", True, _SOLVED, baseline=IDENTITY
    ),
    **{
        name: Metric(name, "solves", better, meaning, True, _SOLVED, compared=False)
        for name, better, meaning in (
            ("accuracy_original", _HIGHER, "accuracy on the originals of the same problems"),
            ("accuracy_change", _HIGHER, "accuracy less that on the originals, paired"),
            ("right_in_other_forms", _NEITHER, "right answers that are not in the strict form"),
        )
    },
    **{
        name: Metric(name, "rewrites", _LOWER, meaning, source=_SOLVED, compared=False)
        for name, meaning in (
            ("budget_error", "|achieved − requested rate|, the mean"),
            ("leak_rate", "rewrites that tell a result"),
            ("shut_rate", "rewrites that shut a gate"),
            ("fallback_rate", "rewrites that did not end or are no shorter: the original comes back"),
            ("failed_rate", "problems on which the evaluator failed"),
        )
    },
    "budget_error_p95": Metric(
        "budget_error",
        "rewrites",
        "lower",
        "|achieved − requested rate| that one in twenty exceeds",
        source=_SOLVED,
        quantile=0.95,
        compared=False,
    ),
}
ADAPTED = "distortion_bits_adapted"
SHARED_METRICS = ("distortion_bits", "token_accuracy", "achieved_rate", "answer_retention", "answer_span")

_MENDS: dict[Source, str] = {
    "judge": "judges.heldout.model is none: name a judge",
    "adapted judge": "no judge is adapted: set evaluate.adapt_steps above 0",
    "reader": "no reader is there: set evaluate.reader, or give --reader MODEL",
    "evaluator": "an evaluator solves rewritten prompts alone: name another metric",
    "reconstruction": "nobody fills in what was dropped: name a model in judges.heldout.model or --judge",
}


def chosen_metrics(
    listed: Sequence[str] | None, examples: Sequence[Example], sources: Collection[Source]
) -> tuple[str, ...]:
    """The metrics that will be computed: all that are listed; without a list those of `SHARED_METRICS` that can be.

    `distortion_bits_adapted` is always among them where judges are adapted.

    Raises:
        UserError: a listed metric is unknown, nobody is there to ask for it, or no row has what it needs.
    """
    names = dict.fromkeys(SHARED_METRICS if listed is None else listed)
    if unknown := [name for name in names if name not in METRICS]:
        raise UserError(f"unknown metric {unknown[0]!r}: choose from {', '.join(METRICS)}")
    missing = {name: why for name in names if (why := _missing(METRICS[name], examples, sources))}
    if missing and listed is not None:
        name, why = next(iter(missing.items()))
        raise UserError(f"evaluate.metrics lists {name}, and {why}; or leave it out")
    chosen = [name for name in names if name not in missing]
    return (*chosen, ADAPTED) if "adapted judge" in sources and ADAPTED not in chosen else tuple(chosen)


def _missing(metric: Metric, examples: Sequence[Example], sources: Collection[Source]) -> str:
    """Why it cannot be computed, and the mend; empty where it can."""
    if metric.source is not None and metric.source not in sources:
        return _MENDS[metric.source]
    asked = metric.source == "reader"
    if metric.needs_answer and not any(e.answer and (e.question or not asked) for e in examples):
        return f"no row has {'a question and ' if asked else ''}an answer: give data with some"
    return ""


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
