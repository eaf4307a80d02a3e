"""What a learned rewriter is measured against: prompts shortened by a ranking of their words, at a matched rate.

A rewriter takes prompts with a target rate for each and gives as many shorter prompts. Those made of a `Method` keep
words; those that write are `rlcompress.generation.rewriting.rewriter` of a model: untrained it is `zero_shot`, after
fine-tuning alone `sft_only`. All are measured by `rlcompress.measuring.rewrites`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rlcompress.baselines import build_methods
from rlcompress.baselines.method import Method
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, FloatArray, Units

Rewriter = Callable[[Sequence[str], Sequence[float]], list[str]]
"""Prompts and a target rate (tokens out / tokens in) for each, to rewrites; `Unfinished` ones did not end."""
WORD_METHODS = ("identity", "random", "stopwords", "self_information")


def word_rewriters(
    segmenter: Segmenter, train_texts: Sequence[str], more: Mapping[str, Method] | None = None
) -> dict[str, Rewriter]:
    """Rewriters that keep words, by name.

    Args:
        segmenter: with the evaluator's tokenizer, which counts every length. What it protects always stays.
        train_texts: what baselines with counts learn from.
        more: further methods, say `CompressorMethod(compressor)` for a trained masking policy.
    """
    built = build_methods(WORD_METHODS, tokenizer=segmenter.tokenizer, train_texts=train_texts)
    methods = {method.name: method for method in built} | dict(more or {})
    return {name: keeping(method, segmenter) for name, method in methods.items()}


def keeping(method: Method, segmenter: Segmenter, seed: int = 0) -> Rewriter:
    """A rewriter of a ranking: as many of the best words as bring the rewrite nearest to its target.

    Each prompt's words depend on that prompt, its rate and the seed alone.
    """

    def rewrite(prompts: Sequence[str], rates: Sequence[float]) -> list[str]:
        if method.keeps_all:
            return list(prompts)
        return [_shortened(prompt, rate) for prompt, rate in zip(prompts, rates, strict=True)]

    def _shortened(prompt: str, rate: float) -> str:
        units = segmenter(prompt)
        [priorities_N] = method.priorities([units], [Example(prompt, prompt)], rate, seed)
        return nearest(units, priorities_N, rate, lambda text: len(segmenter.tokenizer.encode(text)[0]))

    return rewrite


def nearest(units: Units, priorities_N: FloatArray, rate: float, count: Callable[[str], int]) -> str:
    """The kept text whose own tokens come nearest to `rate` of the original's; of two as near the shorter.

    `select` counts tokens of the source. A kept text is tokenised anew, and takes a few more or less.
    """
    wanted = rate * count(units.text)
    kept = dict.fromkeys(
        select(units, priorities_N, target_tokens=budget).text.strip() for budget in range(units.total_cost + 1)
    )
    return min(kept, key=lambda text: (abs(count(text) - wanted), count(text)))
