"""Readers on disk: making one ready for a run, loading it, and the test that it reads at all.

A reader's folder holds `judge.json` (settings, how it reads) and, for `builtin:causal`, the model that was trained here
on the questions of the training split.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from rlcompress.config.baselines import LanguageModelConfig
from rlcompress.config.judging import ReaderJudgeConfig
from rlcompress.data.dataset import load_split
from rlcompress.errors import UserError
from rlcompress.judges.overlap import OverlapReader
from rlcompress.judges.reader import ReaderJudge, prompt
from rlcompress.models.answering import CausalAnswerer
from rlcompress.models.causal import load_causal, train_causal
from rlcompress.models.presence import fingerprint, positions
from rlcompress.models.tokenizer import load_tokenizer
from rlcompress.text.units import unit_starts
from rlcompress.words import Example, Judge, JudgeRequest, Status

BUILTIN = ("builtin:overlap", "builtin:causal")
_MODEL = "model"  # folder of what was trained here inside the reader's
_GATE_TEXTS = 128


@dataclass(frozen=True, slots=True)
class ReadingGain:
    """Bits a token of the answer with the right text and with another row's, over `read` of `asked` questions."""

    right: float
    other: float
    read: int
    asked: int

    @property
    def gain(self) -> float:
        """Share of the bits that the right text saves; 0 for a reader that answers by heart."""
        return 1.0 - self.right / self.other if self.other else 0.0


def reading_gain(reader: Judge, examples: Sequence[Example]) -> ReadingGain:
    """Does the reader use the text? Asked of whole texts, before any compression.

    Raises:
        UserError: fewer than two questions with answers, or none that the reader could take.
    """
    asked = [example for example in examples if example.answer and example.question][:_GATE_TEXTS]
    if len(asked) < 2:
        raise UserError(
            "judges.reader is checked on questions and answers of the validation split and there are too few: give "
            "data with questions, or raise data.splits.validation"
        )
    others = asked[len(asked) // 2 :] + asked[: len(asked) // 2]  # of another document, as rows come by documents
    right = reader.judge([_whole(e.text, e) for e in asked])
    other = reader.judge([_whole(o.text, e) for o, e in zip(others, asked, strict=True)])
    both = [(r, o) for r, o in zip(right, other, strict=True) if r.status is o.status is Status.OK]
    if not both:
        why = next(verdict.detail["why"] for verdict in (*right, *other) if verdict.status is not Status.OK)
        raise UserError(f"judges.reader gave no verdict on any of {len(asked)} validation rows ({why})")
    tokens = max(1, sum(r.tokens for r, _ in both))
    right_bits, other_bits = (sum(pair[i].score for pair in both) / tokens for i in (0, 1))
    return ReadingGain(right_bits, other_bits, len(both), len(asked))


def _whole(text: str, example: Example) -> JudgeRequest:
    starts_N = unit_starts(text)
    return JudgeRequest(text, starts_N, np.ones(len(starts_N), np.bool_), example.question, example.answer)


def reader_key(config: ReaderJudgeConfig, data_hash: str) -> str:
    """Names a reader by all that decides what it answers."""
    decisive = config.model_dump(mode="json", exclude={"chunk", "threads", "gpus", "timeout", "gate"})
    start = "" if config.model in BUILTIN else fingerprint(config.model)
    return hashlib.blake2b(json.dumps([decisive, data_hash, start], sort_keys=True).encode(), digest_size=8).hexdigest()


def make_reader(config: ReaderJudgeConfig, data: Path, folder: Path, device: torch.device | None = None) -> ReadingGain:
    """Make the reader that `config` names ready in `folder`: trained if it is built in, and tried on validation rows.

    Raises:
        UserError: an unknown or unloadable model, too few questions, or rows that are all too long for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if config.model == "builtin:causal":
        told = [_told(example) for example in load_split(data, "train") if example.question and example.answer]
        training = LanguageModelConfig(
            seed=config.seed,
            steps=config.steps,
            batch=config.batch,
            learning_rate=config.learning_rate,
            width=config.width,
            layers=config.layers,
            window=config.window,
        )
        train_causal(training, told, load_tokenizer(str(data / "tokenizer")), folder / _MODEL)
    _write(folder, config, {})
    reads = reading_gain(load_reader(folder, ("bits",), device), load_split(data, "validation"))
    _write(folder, config, {**asdict(reads), "gain": reads.gain})
    return reads


def _told(example: Example) -> str:
    return f"{prompt(example.text, example.question)} {example.answer}\n"


def _write(folder: Path, config: ReaderJudgeConfig, reads: dict[str, float]) -> None:
    record = {"settings": config.model_dump(mode="json"), "reads": reads}
    (folder / "judge.json").write_text(json.dumps(record, indent=2, sort_keys=True), encoding="utf-8")


def reader_from_name(
    name: str, settings: ReaderJudgeConfig, measures: Sequence[str], device: torch.device | None = None
) -> ReaderJudge | OverlapReader:
    """A reader from a reader's folder, a model folder, a hub id or `builtin:overlap`.

    A model reads as much as it can: `settings.window` holds for one that does not say how much that is.

    Raises:
        UserError: nothing can be loaded from there.
    """
    if (Path(name) / "judge.json").is_file():
        return load_reader(Path(name), measures, device)
    if name == "builtin:overlap":
        return OverlapReader(measures)
    if name in BUILTIN:
        raise UserError(f"{name} is trained in a run whose reward asks it: name the folder judges/reader of that run")
    model = load_causal(name, window=positions(name) or settings.window, chunk=settings.chunk, device=device)
    return ReaderJudge(CausalAnswerer(model), measures, answer_tokens=settings.answer_tokens)


def load_reader(
    folder: Path, measures: Sequence[str] = ("bits", "said"), device: torch.device | None = None
) -> ReaderJudge | OverlapReader:
    """The reader in `folder`, asked for `measures` (see `judges.reader.MEASURES`).

    Raises:
        UserError: the folder holds no reader, or its model cannot be loaded or knows no such measure.
    """
    file = folder / "judge.json"
    try:
        config = ReaderJudgeConfig.model_validate(json.loads(file.read_text(encoding="utf-8"))["settings"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"no reader in {folder} ({str(error).splitlines()[0]}): train the run first") from error
    if config.model == "builtin:overlap":
        return OverlapReader(measures)
    name = str(folder / _MODEL) if config.model == "builtin:causal" else config.model
    model = load_causal(name, window=config.window, chunk=config.chunk, device=device)
    return ReaderJudge(CausalAnswerer(model), measures, answer_tokens=config.answer_tokens)
