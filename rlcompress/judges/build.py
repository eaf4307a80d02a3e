"""Judges on disk: training a built-in one, loading any, and the test that it reads at all.

A judge folder holds `judge.json` (settings, version, gate) and, for built-in models, weights and tokenizer.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from rlcompress.config.schema import JudgeConfig
from rlcompress.data.dataset import load_split
from rlcompress.errors import UserError
from rlcompress.judges.reconstruction import ReconstructionJudge
from rlcompress.models.reconstructor import (
    HubReconstructor,
    MaskedReconstructor,
    Reconstructor,
    load_hub_reconstructor,
    weights_hash,
)
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer
from rlcompress.models.training import TokenTable, random_kept, train_reconstructor
from rlcompress.text.segment import Segmenter

_BUILTIN = "builtin:"
_GATE_TEXTS = 256


@dataclass(frozen=True, slots=True)
class ContextGain:
    """Bits a dropped token at random rate 0.5, with the right kept text and with another document's."""

    right: float
    other: float

    @property
    def gain(self) -> float:
        """Share of bits that the right text saves; 0 for a judge that does not read."""
        return 1.0 - self.right / self.other


def context_gain(model: Reconstructor, table: TokenTable, seed: int = 0) -> ContextGain:
    """Does the model use what was kept? The design's gate for every judge, before any learning is claimed."""
    kept_BT = random_kept(table, 0.5, 0.5, torch.Generator().manual_seed(seed))
    # the row half the table away comes from another document; its tokens stand at the same kept places
    other_BT = torch.roll(table.ids_BT, len(table.ids_BT) // 2, 0)
    dropped = int((table.valid_BT & ~kept_BT).sum())
    right, _ = model.dropped_bits(table.ids_BT, kept_BT, table.valid_BT)
    other, _ = model.dropped_bits(table.ids_BT, kept_BT, table.valid_BT, other_BT)
    return ContextGain(float(right.sum()) / dropped, float(other.sum()) / dropped)


def judge_key(config: JudgeConfig, data_hash: str) -> str:
    """Names a built-in judge by all that decides its weights."""
    decisive = {"model", "seed", "steps", "batch", "learning_rate", "width", "layers", "window"}
    trained_by = config.model_dump(include=decisive)
    return hashlib.blake2b(json.dumps([trained_by, data_hash], sort_keys=True).encode(), digest_size=8).hexdigest()


def train_judge(
    config: JudgeConfig, data: Path, folder: Path, on_step: Callable[[int, float], None] | None = None
) -> ContextGain:
    """Train (or fetch) the judge that `config` names on the prepared data and write it to `folder`.

    The number of torch threads comes from the configuration, so that the weights do not depend on the machine.

    Raises:
        UserError: an unknown or unloadable model, or fewer than two validation texts.
    """
    unseen = load_split(data, "validation")[:_GATE_TEXTS]
    if len(unseen) < 2:
        raise UserError("judges are checked on validation texts and there are too few: raise data.splits.validation")
    torch.set_num_threads(max(1, math.ceil(config.cpus)))
    folder.mkdir(parents=True, exist_ok=True)
    model: MaskedReconstructor | HubReconstructor
    if config.model.startswith(_BUILTIN):
        model, tokenizer = _train_builtin(config, data, on_step)
        model.save(folder)
        tokenizer.save(folder / "tokenizer")
    else:
        model, tokenizer = _hub(config)
    segmenter = Segmenter(tokenizer)
    texts = [segmenter(example.text) for example in unseen]
    reads = context_gain(model, TokenTable.of(texts, tokenizer, config.window))
    record = {
        "settings": config.model_dump(),
        "version": _version(config, model),
        "reads": {**asdict(reads), "gain": reads.gain},
    }
    (folder / "judge.json").write_text(json.dumps(record, indent=2, sort_keys=True), encoding="utf-8")
    return reads


def _train_builtin(
    config: JudgeConfig, data: Path, on_step: Callable[[int, float], None] | None
) -> tuple[MaskedReconstructor, TextTokenizer]:
    kind = config.model.removeprefix(_BUILTIN)
    if kind not in ("attention", "convolution"):
        raise UserError(f"judges: no built-in model {config.model!r}: use builtin:attention or builtin:convolution")
    tokenizer = load_tokenizer(str(data / "tokenizer"))
    if tokenizer.mask_id is None:
        raise UserError("built-in judges need a tokenizer with a [MASK] token: set reader.tokenizer to builtin:bpe")
    segmenter = Segmenter(tokenizer)
    texts = [segmenter(example.text) for example in load_split(data, "train")]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = MaskedReconstructor(kind, tokenizer.vocabulary, tokenizer.mask_id, config.width, config.layers)
    train_reconstructor(
        model,
        TokenTable.of(texts, tokenizer, config.window),
        steps=config.steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
        seed=config.seed,
        on_step=on_step,
    )
    return model, tokenizer


def load_judge(folder: Path, device: torch.device | None = None) -> ReconstructionJudge:
    """The judge that `train_judge` wrote.

    Raises:
        UserError: the folder holds no judge, or a damaged one.
    """
    file = folder / "judge.json"
    if not file.is_file():
        raise UserError(f"no judge in {folder}: train the run first, or name a judge model")
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        config = JudgeConfig.model_validate(record["settings"])
        return _judge(config, folder, device)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"the judge in {folder} is damaged ({str(error).splitlines()[0]}): train it again") from error


def judge_from_name(name: str, device: torch.device | None = None) -> ReconstructionJudge:
    """A judge from a judge folder, a model folder or a hub id (masked first, then causal)."""
    if (Path(name) / "judge.json").is_file():
        return load_judge(Path(name), device)
    try:
        return _judge(JudgeConfig(model=name), Path(name), device)
    except UserError:
        return _judge(JudgeConfig(model=name, kind="causal"), Path(name), device)


def _judge(config: JudgeConfig, folder: Path, device: torch.device | None) -> ReconstructionJudge:
    model: MaskedReconstructor | HubReconstructor
    if config.model.startswith(_BUILTIN):
        model, tokenizer = MaskedReconstructor.load(folder), load_tokenizer(str(folder / "tokenizer"))
    else:
        model, tokenizer = _hub(config)
    return ReconstructionJudge(
        model.to(device or torch.device("cpu")).eval(),
        tokenizer,
        _version(config, model),
        window=config.window,
        chunk=config.chunk,
        device=device,
    )


def _hub(config: JudgeConfig) -> tuple[HubReconstructor, TextTokenizer]:
    model = load_hub_reconstructor(config.model, config.kind)
    needed, longest = model.positions(config.window), getattr(model.model.config, "max_position_embeddings", None)
    if longest is not None and needed > longest:
        raise UserError(
            f"judge model {config.model!r} reads {longest} tokens and a window of {config.window} takes {needed}: "
            "lower the judge's window or choose a model that reads more"
        )
    return model, load_tokenizer(config.model)


def _version(config: JudgeConfig, model: nn.Module) -> str:
    return f"{config.model}@{weights_hash(model)}"
