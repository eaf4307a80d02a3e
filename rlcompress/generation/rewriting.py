"""A language model as a rewriter of prompts: the template, sampling, and what of the output is the rewrite."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from rlcompress.config.generating import DecodingConfig
from rlcompress.generation.language import LanguageModel
from rlcompress.generation.prompting import RewritingTemplate
from rlcompress.generation.writing import Ending, Written, write
from rlcompress.words import Unfinished


def rewriter(
    language: LanguageModel, template: RewritingTemplate, decoding: DecodingConfig, seed: int = 0
) -> Callable[[Sequence[str], Sequence[float]], list[str]]:
    """Prompts and target rates to rewrites, `Unfinished` where the output did not end.

    A rewrite depends on the model, its prompt, the rate and the seed alone, not on the company it is written in.
    """

    def rewrite(prompts: Sequence[str], rates: Sequence[float]) -> list[str]:
        asked = [template.prompt(text, rate, language.tokenizer) for text, rate in zip(prompts, rates, strict=True)]
        ids = [language.prompt_ids(prompt) for prompt in asked]
        seeds = [[seed, _number(prompt.text)] for prompt in asked]
        return [rewritten(output, template) for output in write(language, ids, decoding, seeds=seeds)]

    return rewrite


def rewritten(output: Written, template: RewritingTemplate) -> str:
    """The rewrite in an output: what an environment takes as an action."""
    text = template.rewritten(output.text)
    return text if output.ending is Ending.ENDED else Unfinished(text)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
