"""Judges on disk: trained and loaded again, loaded from model folders, refused in one line; and do they read?"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlcompress.config.schema import DataConfig, JudgeConfig, RunConfig, SplitConfig
from rlcompress.data.prepare import prepare
from rlcompress.errors import UserError
from rlcompress.judges.build import ContextGain, context_gain, judge_from_name, judge_key, load_judge, train_judge
from rlcompress.models.presence import fingerprint
from rlcompress.models.reconstructor import HubCausalReconstructor, HubMaskedReconstructor
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.models.training import TokenTable, random_kept
from rlcompress.text.segment import Segmenter
from rlcompress.words import JudgeRequest
from tests.rlcompress.small_models import TEXTS, save_bert, save_gpt2

CONFIG = JudgeConfig(steps=5, batch=4, width=16, layers=1, window=32)


class Reader:
    """Guesses well where the visible neighbour is the true one; `blind` does not look."""

    def __init__(self, blind: bool) -> None:
        self.blind = blind

    def dropped_bits(
        self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor, visible_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        seen = ids_BT if visible_BT is None or self.blind else visible_BT
        near = torch.where(kept_BT & (seen == ids_BT), 1.0, 0.0).roll(1, 1)
        dropped = valid_BT & ~kept_BT
        return torch.where(dropped, 8.0 - 7.0 * near, 0.0), torch.zeros_like(dropped)


@pytest.fixture(scope="module")
def table(bpe: TextTokenizer) -> TokenTable:
    rng = np.random.default_rng(0)
    texts = ["".join(chr(97 + i) + " " for i in rng.integers(26, size=30)) for _ in range(20)]
    return TokenTable.of([Segmenter(bpe)(text) for text in texts], bpe, 64)


def test_context_gain_tells_a_reader_from_a_blind_judge(table: TokenTable) -> None:
    reading, blind = context_gain(Reader(blind=False), table), context_gain(Reader(blind=True), table)
    assert blind.gain == 0.0
    assert blind.right == blind.other == reading.right
    assert 0.15 < reading.gain < 0.5
    assert reading == context_gain(Reader(blind=False), table, seed=0)
    assert ContextGain(4.5, 5.0).gain == pytest.approx(0.1)


def test_held_out_accuracy_counts_dropped_tokens(table: TokenTable) -> None:
    """A network that guesses right at even places: in pieces, and the last one uneven, as over the whole."""

    class EvenPlaces(Reader):
        def dropped_bits(
            self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor, visible_BT: Tensor | None = None
        ) -> tuple[Tensor, Tensor]:
            dropped = valid_BT & ~kept_BT
            return dropped.float(), dropped & (torch.arange(ids_BT.shape[1]) % 2 == 0)

    many = TokenTable(*(torch.cat([x] * 8)[:150] for x in (table.ids_BT, table.units_BT, table.valid_BT)))
    dropped = many.valid_BT & ~random_kept(many, 0.5, 0.5, torch.Generator().manual_seed(0))
    reads = context_gain(EvenPlaces(blind=True), many)
    assert reads.right == reads.other == 1.0
    assert reads.accuracy == pytest.approx(float(dropped[:, ::2].sum() / dropped.sum()))


@pytest.fixture
def data(bpe: TextTokenizer, tmp_path: Path) -> Path:
    """Prepared data, as `load_split` reads it."""
    words = " ".join(TEXTS).split()
    rng = np.random.default_rng(0)
    rows = [" ".join(rng.permutation(words)[:12].tolist()) for _ in range(60)]
    source, folder = tmp_path / "texts.jsonl", tmp_path / "data"
    source.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    prepare(RunConfig(data=DataConfig(source=str(source), min_tokens=1, max_tokens=200)), folder)
    bpe.save(folder / "tokenizer")
    return folder


@pytest.mark.parametrize("model", ["builtin:attention", "builtin:convolution"])
def test_train_and_load(bpe: TextTokenizer, data: Path, tmp_path: Path, model: str) -> None:
    config = CONFIG.model_copy(update={"model": model})
    steps: list[int] = []
    gain = train_judge(config, data, tmp_path / "a", lambda step, loss: steps.append(step))
    train_judge(config, data, tmp_path / "b")
    record = json.loads((tmp_path / "a" / "judge.json").read_text())
    judge = load_judge(tmp_path / "a")
    assert steps == list(range(5))
    assert record["reads"] == {"right": gain.right, "other": gain.other, "accuracy": gain.accuracy, "gain": gain.gain}
    assert record["before"]["right"] > gain.right
    assert 0 <= record["before"]["accuracy"] <= 1
    assert judge.version == record["version"] == load_judge(tmp_path / "b").version
    assert judge.version.startswith(f"{model}@")
    assert (judge.window, judge.chunk) == (32, config.chunk)
    other = config.model_copy(update={"seed": 5})
    train_judge(other, data, tmp_path / "c")
    assert load_judge(tmp_path / "c").version != judge.version
    ask = [JudgeRequest(TEXTS[0], Segmenter(bpe)(TEXTS[0]).starts_N, np.zeros(len(Segmenter(bpe)(TEXTS[0])), bool))]
    assert judge.judge(ask)[0].score == judge_from_name(str(tmp_path / "b")).judge(ask)[0].score > 0


def test_a_hub_judge_of_a_run(bpe: TextTokenizer, data: Path, tmp_path: Path) -> None:
    folder = save_gpt2(tmp_path / "model", bpe)
    config = JudgeConfig(model=str(folder), kind="causal", window=32)
    gain = train_judge(config, data, tmp_path / "judge")
    judge = load_judge(tmp_path / "judge")
    assert np.isfinite(gain.gain)
    assert isinstance(judge.model, HubCausalReconstructor)
    assert judge.version == json.loads((tmp_path / "judge" / "judge.json").read_text())["version"]
    before = judge.version
    moved: Any = judge.model
    with torch.no_grad():
        moved.model.transformer.wte.weight += 0.1
    moved.model.save_pretrained(folder)
    assert load_judge(tmp_path / "judge").version != before  # the version names weights, not a folder


def test_kind_from_the_folder(bpe: TextTokenizer, tmp_path: Path) -> None:
    """Masked first, then causal."""
    masked = judge_from_name(str(save_bert(tmp_path / "bert")))
    causal = judge_from_name(str(save_gpt2(tmp_path / "gpt2", bpe)))
    assert isinstance(masked.model, HubMaskedReconstructor)
    assert isinstance(causal.model, HubCausalReconstructor)
    assert masked.model.begin == [2]
    assert masked.model.end == [3]


def test_mistakes(bpe: TextTokenizer, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"judge model .*missing.* cannot be loaded"):
        judge_from_name(str(tmp_path / "missing"))
    with pytest.raises(UserError, match="no judge in"):
        load_judge(tmp_path)
    with pytest.raises(UserError, match="no built-in model 'builtin:magic'"):
        train_judge(CONFIG.model_copy(update={"model": "builtin:magic"}), data, tmp_path / "x")
    small = save_bert(tmp_path / "small", positions=64)
    with pytest.raises(UserError, match=r"reads 64 tokens and a window of 63 takes 65: lower"):
        train_judge(JudgeConfig(model=str(small), window=63), data, tmp_path / "y")
    with pytest.raises(UserError, match="has no mask token"):
        train_judge(JudgeConfig(model=str(without_mask(tmp_path / "maskless"))), data, tmp_path / "z")


def test_a_judge_needs_validation_texts(bpe: TextTokenizer, tmp_path: Path) -> None:
    source, folder = tmp_path / "texts.txt", tmp_path / "data"
    source.write_text("\n".join(f"{text} {text[::-1]}" for text in TEXTS))
    splits = SplitConfig(train=1.0, validation=0.0, test=0.0)
    prepare(RunConfig(data=DataConfig(source=str(source), min_tokens=1, max_tokens=300, splits=splits)), folder)
    bpe.save(folder / "tokenizer")
    with pytest.raises(UserError, match=r"raise data\.splits\.validation"):
        train_judge(CONFIG, folder, tmp_path / "judge")


def without_mask(folder: Path) -> Path:
    save_bert(folder)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    settings["mask_token"] = None
    file.write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("damage", ["weights", "record", "cut"])
def test_a_damaged_judge(data: Path, tmp_path: Path, damage: str) -> None:
    train_judge(CONFIG, data, tmp_path / "judge")
    weights, record = tmp_path / "judge" / "model.safetensors", tmp_path / "judge" / "judge.json"
    if damage == "weights":
        weights.unlink()
    elif damage == "record":
        record.write_text("{")
    else:
        weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(UserError, match="damaged"):
        load_judge(tmp_path / "judge")


def test_judge_key(bpe: TextTokenizer, tmp_path: Path) -> None:
    """Settings that decide weights change the key; settings of serving do not."""
    key = judge_key(CONFIG, "data")
    deciding = (
        {"seed": 9},
        {"steps": 6},
        {"model": "builtin:convolution"},
        {"window": 64},
        {"width": 8},
        {"schedule": "linear"},
        {"warmup": 3},
        {"mask_ratio": (0.2, 0.8)},
        {"precision": "bfloat16"},
        {"micro_batch": 2},
        {"cpus": 2.0},
    )
    keys = {judge_key(CONFIG.model_copy(update=change), "data") for change in deciding}
    keys |= {key, judge_key(CONFIG, "other"), judge_key(CONFIG, "data", "cuda")}
    assert len(keys) == len(deciding) + 3
    serving = {"timeout": 1.0, "chunk": 7, "threads": 4, "save_every": 3, "cpus": 0.5}
    assert judge_key(CONFIG.model_copy(update=serving), "data") == key


def test_the_key_of_a_model_folder_follows_its_weights(bpe: TextTokenizer, tmp_path: Path) -> None:
    config = JudgeConfig(model=str(save_gpt2(tmp_path / "model", bpe)), kind="causal")
    key = judge_key(config, "data")
    assert judge_key(config, "data") == key
    assert judge_key(config.model_copy(update={"finetune": True}), "data") != key
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert judge_key(config, "data") != key


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_a_model_folder_is_fine_tuned_when_asked(bpe: TextTokenizer, data: Path, tmp_path: Path, kind: str) -> None:
    """It reads held-out text better than before; where it came from stays as it was."""
    source = save_bert(tmp_path / "bert") if kind == "masked" else save_gpt2(tmp_path / "gpt2", bpe)
    before = fingerprint(str(source))
    settings = {"model": str(source), "kind": kind, "window": 32, "steps": 150, "learning_rate": 1e-2, "warmup": 5}
    config = JudgeConfig.model_validate({**settings, "finetune": True, "schedule": "cosine", "batch": 8})
    frozen = JudgeConfig.model_validate(settings)
    reads = train_judge(config, data, tmp_path / "tuned")
    untouched = train_judge(frozen, data, tmp_path / "frozen")
    record = json.loads((tmp_path / "tuned" / "judge.json").read_text())
    assert record["before"]["right"] == untouched.right  # both start from the same weights
    assert reads.right < 0.8 * untouched.right
    assert record["reads"]["accuracy"] == reads.accuracy  # of a handful of tokens: no figure to compare
    assert fingerprint(str(source)) == before
    tuned = load_judge(tmp_path / "tuned")
    assert tuned.version == record["version"] != load_judge(tmp_path / "frozen").version
    assert [path.name for path in (tmp_path / "frozen").iterdir()] == ["judge.json"]


KILLED = """
import os, signal, sys
from pathlib import Path
from rlcompress.config.schema import JudgeConfig
from rlcompress.judges.build import train_judge

def die(step, loss):
    if step == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

config = JudgeConfig.model_validate_json(sys.argv[1])
train_judge(config, Path(sys.argv[2]), Path(sys.argv[3]) / "judge", die, state=Path(sys.argv[3]) / "state")
"""


@pytest.mark.parametrize("model", ["builtin:attention", "hub"])
def test_a_stage_that_was_killed_goes_on_to_the_same_judge(
    bpe: TextTokenizer, data: Path, tmp_path: Path, model: str
) -> None:
    name = str(save_gpt2(tmp_path / "gpt2", bpe)) if model == "hub" else model
    config = CONFIG.model_copy(update={"model": name, "kind": "causal", "finetune": True, "save_every": 2, "steps": 7})
    train_judge(config, data, tmp_path / "whole")
    words = [config.model_dump_json(), str(data), str(tmp_path), "4"]
    died = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    steps: list[int] = []
    train_judge(config, data, tmp_path / "judge", lambda step, loss: steps.append(step), state=tmp_path / "state")
    assert steps == [4, 5, 6]
    again, whole = (json.loads((tmp_path / name / "judge.json").read_text()) for name in ("judge", "whole"))
    assert again == whole
