"""`make bench-llmlingua`: our drop-in beside the `llmlingua` package, on the same checkpoint and the same texts.

The checkpoint has the shape of `llmlingua-2-bert-base-multilingual-cased-meetingbank` (12 layers of 768) and random
weights: right for seconds, meaningless for quality. How far the achieved rate is from the one asked for is counted with
the checkpoint's own tokenizer, on both outputs, with a small checkpoint of the same kind.

The package wants the network when it is made, for a tiktoken encoding that it only counts with: it gets one of bytes.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import llmlingua
import tiktoken

from rlcompress.llmlingua import PromptCompressor
from rlcompress.models.tokenizer import load_tokenizer
from tests.benchmarks.setting import alternate, long_texts, median_ratio, record, small_bert

LENGTHS, ROUNDS = (64, 256, 1024, 4096), 5
RATES, TEXTS, TOKENS = (0.5, 0.33, 0.2), 40, 300
# `compress_prompt` with its filter of contexts, as it is called by default, and without
CALLS: dict[str, dict[str, Any]] = {"default": {}, "no_context_filter": {"use_context_level_filter": False}}
BYTES = tiktoken.Encoding(
    "bytes", pat_str=r"\S+|\s+", mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={}
)


def main() -> None:
    record(
        "llmlingua",
        {
            "baseline": f"llmlingua {version('llmlingua')}, use_llmlingua2=True, one prompt at a time",
            "speed": speed(LENGTHS, ROUNDS, layers=12, width=768),
            "rates": rates(RATES, TEXTS, TOKENS),
        },
    )


@contextmanager
def both(layers: int, width: int) -> Iterator[tuple[Path, Any, PromptCompressor]]:
    """A checkpoint's folder, the original on it, and ours."""
    with tempfile.TemporaryDirectory() as folder:
        saved = small_bert(Path(folder) / "bert-base-multilingual-cased", layers=layers, width=width, labels=2)
        with mock.patch.object(tiktoken, "encoding_for_model", return_value=BYTES):
            theirs = llmlingua.PromptCompressor(str(saved), device_map="cpu", model_config={}, use_llmlingua2=True)
        yield saved, theirs, PromptCompressor(saved, "cpu", use_llmlingua2=True)


def speed(lengths: Sequence[int], rounds: int, layers: int, width: int) -> dict[str, Any]:
    """Tokens a second of both, and the median over rounds of the ratio, by call and length."""
    found: dict[str, Any] = {}
    with both(layers, width) as (saved, theirs, ours):
        tokenizer = load_tokenizer(str(saved))
        for call, options in CALLS.items():
            for length in lengths:
                texts = list(long_texts(tokenizer, length, rounds + 1))
                one, other = iter(texts), iter(texts)  # each text once: nothing is remembered
                slow, fast = alternate(
                    lambda: theirs.compress_prompt(next(one), rate=0.5, **options),  # noqa: B023 -- called at once
                    lambda: ours.compress_prompt(next(other), rate=0.5, **options),  # noqa: B023
                    rounds,
                )
                found.setdefault(call, {})[str(length)] = {
                    "tokens_per_second_baseline": length / statistics.median(slow),
                    "tokens_per_second": length / statistics.median(fast),
                    "speed_up": median_ratio(slow, fast),
                    "seconds_baseline": slow,
                    "seconds": fast,
                }
    return {"layers": layers, "width": width, "calls": found}


def rates(asked: Sequence[float], count: int, length: int) -> dict[str, Any]:
    """Mean of |achieved - asked| of both over texts, by call and rate; rates of the outputs, tokenised again."""
    found: dict[str, Any] = {"texts": count, "tokens": length}
    with both(2, 64) as (saved, theirs, ours):
        tokenizer = load_tokenizer(str(saved))
        texts = list(long_texts(tokenizer, length, count))
        for call, options in CALLS.items():
            for rate in asked:
                errors = {
                    name: [
                        len(tokenizer.encode(one.compress_prompt(text, rate=rate, **options)["compressed_prompt"])[0])
                        / length
                        - rate
                        for text in texts
                    ]
                    for name, one in (("baseline", theirs), ("ours", ours))
                }
                found.setdefault(call, {})[str(rate)] = {
                    name: {
                        "mean_absolute_error": statistics.mean(abs(e) for e in of),
                        "mean_error": statistics.mean(of),
                        "worst": max(of, key=abs),
                    }
                    for name, of in errors.items()
                }
    return found


if __name__ == "__main__":
    main()
