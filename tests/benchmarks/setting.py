"""What the benchmarks share: built-in prose, the quickstart's sizes, judges with untrained weights (equal work)."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tokenizers.implementations import BertWordPieceTokenizer
from transformers import BertConfig, BertForTokenClassification, BertModel, PreTrainedTokenizerFast

from rlcompress.config.files import load_config
from rlcompress.config.schema import RunConfig
from rlcompress.data.corpus import builtin_documents
from rlcompress.data.passages import passages
from rlcompress.judges.reconstruction import ReconstructionJudge
from rlcompress.models.reconstructor import MaskedReconstructor
from rlcompress.models.tokenizer import TextTokenizer, train_tokenizer
from rlcompress.words import Example, Tokenizer

RESULTS = Path(__file__).parent / "results"


def quickstart() -> RunConfig:
    return load_config("tune_configs/masking/quickstart.yaml")


def texts(count: int) -> tuple[list[Example], TextTokenizer]:
    """Passages of the built-in documentation, at most 64 reader tokens each."""
    documents = builtin_documents(60)
    reader = train_tokenizer((text for _, text in documents), 2048)
    cut = [passage for _, text in documents for passage, _ in passages(text, reader, 16, 64)]
    return [Example(f"text#{i}", text) for i, text in enumerate(cut[:count])], reader


def long_texts(tokenizer: Tokenizer, length: int, count: int) -> Iterator[str]:
    """Prose of exactly `length` tokens each; where it does not suffice it begins again, elsewhere."""
    prose = "\n\n".join(text for _, text in builtin_documents(60))
    ends_T = tokenizer.encode(prose)[1][:, 1]
    for i in range(count):
        at = int(ends_T[(i * length + i) % len(ends_T)])
        turned = prose[at:] + "\n\n" + prose[:at]
        while len(tokenizer.encode(turned)[1]) < length:
            turned += "\n\n" + turned
        yield turned[: int(tokenizer.encode(turned)[1][length - 1, 1])]


def small_bert(folder: Path, *, layers: int, width: int, labels: int | None = None) -> Path:
    """A BERT with random weights and WordPiece tokens of the built-in prose; with `labels` a token classifier."""
    pieces = BertWordPieceTokenizer(lowercase=False)
    pieces.train_from_iterator((text for _, text in builtin_documents(60)), vocab_size=8192, show_progress=False)
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    fast = PreTrainedTokenizerFast(tokenizer_object=pieces._tokenizer, **names)
    config = BertConfig(
        vocab_size=fast.vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        intermediate_size=4 * width,
        initializer_range=0.2,  # far from zero, so that no two tokens are alike
        num_labels=labels or 2,
    )
    fast.save_pretrained(folder)
    (BertModel if labels is None else BertForTokenClassification)(config).save_pretrained(folder)
    return folder


def judge(reader: TextTokenizer, config: RunConfig) -> ReconstructionJudge:
    """The reward judge of the quickstart, untrained: its verdicts mean nothing, its work is the same."""
    settings = config.judges.reward
    assert reader.mask_id is not None
    model = MaskedReconstructor("attention", reader.vocabulary, reader.mask_id, settings.width, settings.layers).eval()
    return ReconstructionJudge(model, reader, "untrained", window=settings.window, chunk=settings.chunk)


def alternate(first: Callable[[], object], second: Callable[[], object], runs: int) -> tuple[list[float], list[float]]:
    """Seconds of each, run in turn after one warm-up, so that a drift of the machine meets both."""
    first()
    second()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for work, taken in zip((first, second), seconds, strict=True):
            started = time.perf_counter()
            work()
            taken.append(time.perf_counter() - started)
    return seconds


def record(name: str, figures: dict[str, object]) -> None:
    """Print and keep the figures, with the machine's kind and torch's threads."""
    document = {
        **figures,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": platform.machine(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))


def median_ratio(slow: list[float], fast: list[float]) -> float:
    """Median over pairs of slow / fast."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))
