"""Judges on disk: training one, loading any, and the test that it reads at all.

A judge folder holds `judge.json` (settings, version, gate) and weights and tokenizer of what was trained here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn

from rlcompress.config.schema import JudgeConfig
from rlcompress.data.dataset import load_split
from rlcompress.errors import UserError
from rlcompress.judges.reconstruction import ReconstructionJudge
from rlcompress.models.presence import fingerprint
from rlcompress.models.reconstructor import (
    MaskedReconstructor,
    Reconstructor,
    TrainableReconstructor,
    load_hub_reconstructor,
    save_hub_reconstructor,
    weights_hash,
)
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer
from rlcompress.models.training import TokenTable, random_kept, train_reconstructor
from rlcompress.text.segment import Segmenter

_BUILTIN = "builtin:"
_TUNED = "model"  # folder of a fine-tuned hub model inside its judge's
_GATE_TEXTS = 256
_GATE_ROWS = 64  # of one forward


@dataclass(frozen=True, slots=True)
class ContextGain:
    """Bits a dropped token at random rate 0.5, with the right kept text and with another document's.

    `accuracy` is the share of the dropped tokens that are guessed right with the right text.
    """

    right: float
    other: float
    accuracy: float = math.nan

    @property
    def gain(self) -> float:
        """Share of bits that the right text saves; 0 for a judge that does not read."""
        return 1.0 - self.right / self.other


def context_gain(
    model: Reconstructor, table: TokenTable, seed: int = 0, device: torch.device | None = None
) -> ContextGain:
    """Does the model use what was kept? The design's gate for every judge, before any learning is claimed."""
    kept_BT = random_kept(table, 0.5, 0.5, torch.Generator().manual_seed(seed))
    # the row half the table away comes from another document; its tokens stand at the same kept places
    other_BT = torch.roll(table.ids_BT, len(table.ids_BT) // 2, 0)
    right = other = hits = 0.0
    for first in range(0, len(kept_BT), _GATE_ROWS):
        part = slice(first, first + _GATE_ROWS)
        tensors = (table.ids_BT[part], kept_BT[part], table.valid_BT[part], other_BT[part])
        ids, kept, valid, others = (tensor.to(device) for tensor in tensors)
        bits, hit = model.dropped_bits(ids, kept, valid)
        right += float(bits.sum())
        hits += float(hit.sum())
        other += float(model.dropped_bits(ids, kept, valid, others)[0].sum())
    dropped = int((table.valid_BT & ~kept_BT).sum())
    return ContextGain(right / dropped, other / dropped, hits / dropped)


def judge_key(config: JudgeConfig, data_hash: str, device: str = "cpu") -> str:
    """Names a judge by all that decides its weights: settings, data, device, and the weights that it starts from."""
    decisive = {"model", "kind", "seed", "finetune", "steps", "batch", "micro_batch", "learning_rate", "schedule"}
    decisive |= {"warmup", "mask_ratio", "precision", "width", "layers", "window"}
    trained_by = config.model_dump(include=decisive, mode="json")
    start = "" if config.model.startswith(_BUILTIN) else fingerprint(config.model)
    named = json.dumps([trained_by, _threads(config), data_hash, device, start], sort_keys=True)
    return hashlib.blake2b(named.encode(), digest_size=8).hexdigest()


def _threads(config: JudgeConfig) -> int:
    """Torch threads of the training: from the configuration, so that the weights do not depend on the machine."""
    return max(1, math.ceil(config.cpus))


def train_judge(
    config: JudgeConfig,
    data: Path,
    folder: Path,
    on_step: Callable[[int, float], None] | None = None,
    *,
    device: torch.device | None = None,
    state: Path | None = None,
) -> ContextGain:
    """Train (or fetch) the judge that `config` names on the prepared data and write it to `folder`.

    `judge.json` tells how well it reads validation texts, and how well it did before it was trained. In the folder
    `state` a training leaves what it needs to go on with after it was killed.

    Raises:
        UserError: an unknown or unloadable model, fewer than two validation texts, a precision without its device.
    """
    unseen = load_split(data, "validation")[:_GATE_TEXTS]
    if len(unseen) < 2:
        raise UserError("judges are checked on validation texts and there are too few: raise data.splits.validation")
    torch.set_num_threads(_threads(config))
    folder.mkdir(parents=True, exist_ok=True)
    builtin = config.model.startswith(_BUILTIN)
    model, tokenizer = _new_builtin(config, data) if builtin else _hub(config)
    model.to(device or torch.device("cpu"))
    segmenter = Segmenter(tokenizer)
    held_out = TokenTable.of([segmenter(example.text) for example in unseen], tokenizer, config.window)
    before = None
    if builtin or config.finetune:
        texts = [segmenter(example.text) for example in load_split(data, "train")]
        table = TokenTable.of(texts, tokenizer, config.window)
        if isinstance(model, MaskedReconstructor):
            model.start_from_unigrams(torch.bincount(table.ids_BT[table.valid_BT], minlength=tokenizer.vocabulary))
        else:
            model.float()  # weights of the hub may be half precision: those that learn are not
        before = context_gain(model.eval(), held_out, device=device)
        train_reconstructor(model, table, config, state=state, on_step=on_step)
    reads = context_gain(model, held_out, device=device)
    record = {
        "settings": config.model_dump(mode="json"),
        "version": _version(config, model),
        "before": before and {**asdict(before), "gain": before.gain},
        "reads": {**asdict(reads), "gain": reads.gain},
    }
    _save(model, tokenizer, config, folder)
    (folder / "judge.json").write_text(json.dumps(record, indent=2, sort_keys=True), encoding="utf-8")
    return reads


def _new_builtin(config: JudgeConfig, data: Path) -> tuple[MaskedReconstructor, TextTokenizer]:
    kind = config.model.removeprefix(_BUILTIN)
    if kind not in ("attention", "convolution"):
        raise UserError(f"judges: no built-in model {config.model!r}: use builtin:attention or builtin:convolution")
    tokenizer = load_tokenizer(str(data / "tokenizer"))
    if tokenizer.mask_id is None:
        raise UserError("built-in judges need a tokenizer with a [MASK] token: set reader.tokenizer to builtin:bpe")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = MaskedReconstructor(kind, tokenizer.vocabulary, tokenizer.mask_id, config.width, config.layers)
    return model, tokenizer


def _save(model: TrainableReconstructor, tokenizer: TextTokenizer, config: JudgeConfig, folder: Path) -> None:
    """What `load_judge` cannot find elsewhere: nothing of a hub model that was not trained."""
    if isinstance(model, MaskedReconstructor):
        model.save(folder)
        tokenizer.save(folder / "tokenizer")
    elif config.finetune:
        save_hub_reconstructor(model, config.model, folder / _TUNED)


def bits_saved(folder: Path) -> float:
    """Share of the bits that the judge in this folder saves by reading the text, as its `judge.json` says."""
    return float(json.loads((folder / "judge.json").read_text(encoding="utf-8"))["reads"]["gain"])


def load_judge(folder: Path, device: torch.device | None = None) -> ReconstructionJudge:
    """The judge that `train_judge` wrote.

    Raises:
        UserError: the folder holds no judge, or a damaged one.
    """
    config = judge_settings(folder)
    try:
        return _judge(config, folder, device)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, error) from error


def judge_settings(folder: Path) -> JudgeConfig:
    """The settings of the judge in `folder`; raises as `load_judge` does."""
    file = folder / "judge.json"
    if not file.is_file():
        raise UserError(f"no judge in {folder}: train the run first, or name a judge model")
    try:
        return JudgeConfig.model_validate(json.loads(file.read_text(encoding="utf-8"))["settings"])
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> UserError:
    return UserError(f"the judge in {folder} is damaged ({str(error).splitlines()[0]}): train it again")


def judge_from_name(name: str, device: torch.device | None = None) -> ReconstructionJudge:
    """A judge from a judge folder, a model folder or a hub id (masked first, then causal)."""
    if (Path(name) / "judge.json").is_file():
        return load_judge(Path(name), device)
    try:
        return _judge(JudgeConfig(model=name), Path(name), device)
    except UserError:
        return _judge(JudgeConfig(model=name, kind="causal"), Path(name), device)


def _judge(config: JudgeConfig, folder: Path, device: torch.device | None) -> ReconstructionJudge:
    model: TrainableReconstructor
    if config.model.startswith(_BUILTIN):
        model, tokenizer = MaskedReconstructor.load(folder), load_tokenizer(str(folder / "tokenizer"))
    else:
        model, tokenizer = _hub(config, folder / _TUNED if config.finetune else None)
    return ReconstructionJudge(
        model.to(device or torch.device("cpu")).eval(),
        tokenizer,
        _version(config, model),
        window=config.window,
        chunk=config.chunk,
        device=device,
    )


def _hub(config: JudgeConfig, folder: Path | None = None) -> tuple[TrainableReconstructor, TextTokenizer]:
    """The model that `config` names, or what was fine-tuned of it and lies in `folder`."""
    name = config.model if folder is None else str(folder)
    model = load_hub_reconstructor(name, config.kind)
    needed, longest = model.positions(config.window), getattr(model.model.config, "max_position_embeddings", None)
    if longest is not None and needed > longest:
        raise UserError(
            f"judge model {config.model!r} reads {longest} tokens and a window of {config.window} takes {needed}: "
            "lower the judge's window or choose a model that reads more"
        )
    return model, load_tokenizer(name)


def _version(config: JudgeConfig, model: nn.Module) -> str:
    return f"{config.model}@{weights_hash(model)}"
