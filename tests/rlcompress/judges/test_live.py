"""The live judge: it starts as the reward judge, learns a planted rule from masks, and every version is exact."""

from __future__ import annotations

import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from rlcompress.config.schema import CotrainConfig, JudgeConfig
from rlcompress.errors import UserError
from rlcompress.judges.build import load_judge, train_judge
from rlcompress.judges.live import LiveJudge, bits_a_dropped_token, newest_version, version_folders
from rlcompress.models.reconstructor import weights_hash
from rlcompress.models.tokenizer import load_tokenizer
from rlcompress.recording.publish import why_torn
from rlcompress.words import JudgeRequest
from tests.rlcompress.colours import own_masks, write_data
from tests.rlcompress.small_models import save_bert, save_gpt2

COTRAIN = CotrainConfig(steps=4, batch=8, learning_rate=2e-3)
JUDGE = JudgeConfig(steps=30, batch=8, width=32, layers=1, window=32)
Make = Callable[..., LiveJudge]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def frozen(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    threads = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("judges") / "reward"
    train_judge(JUDGE, data, folder)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def make(data: Path, frozen: Path, tmp_path: Path) -> Make:
    def make(name: str = "versions", config: CotrainConfig = COTRAIN, seed: int = 0) -> LiveJudge:
        return LiveJudge(frozen, tmp_path / name, data, config, seed)

    return make


def scores(judge: LiveJudge, asked: list[JudgeRequest]) -> list[float]:
    return [verdict.score for verdict in judge.judge(asked)]


def test_it_starts_as_the_reward_judge_to_the_bit(make: Make, frozen: Path, data: Path) -> None:
    """Pretrained weights are never reset: the hash is the same before and after initialisation, and on disk."""
    live, judge, asked = make(), load_judge(frozen), own_masks(data)
    assert weights_hash(live.descent.model) == weights_hash(judge.model) == judge.version.partition("@")[2]
    stored = load_file(str(live.folder(0) / "state.safetensors"))
    for name, parameter in judge.model.named_parameters():
        assert torch.equal(stored[f"weight {name}"], parameter)
    assert why_torn(live.folder(0)) is None
    assert scores(live, asked) == [verdict.score for verdict in judge.judge(asked)]
    assert live.version.startswith(f"{judge.version}+live-0@")


def test_versions_are_in_every_verdict_and_none_is_taken_for_another(make: Make, data: Path) -> None:
    live, asked = make(), own_masks(data)
    first, twin = live.judge(asked), live.judge_frozen(asked)
    live.advance(1, asked)
    second, twin_again = live.judge(asked), live.judge_frozen(asked)
    assert {verdict.version for verdict in first} != {verdict.version for verdict in second}
    assert len({verdict.version for verdict in [*first, *second, *twin]}) == 3
    assert [v.score for v in first] != [v.score for v in second]
    assert [v.score for v in twin] == [v.score for v in twin_again]
    assert [v.score for v in live.frozen.judge(asked)] == [v.score for v in twin]
    assert live.frozen.computed == len({request.key() for request in asked})  # frozen verdicts are computed once


def test_it_learns_the_policys_masks_and_says_so(make: Make, data: Path) -> None:
    """The optimum is known: things cost 0 bits when colours are kept. The twin stays where it was."""
    live = make(config=COTRAIN.model_copy(update={"steps": 25, "batch": 16, "learning_rate": 4e-3}))
    metrics = [live.advance(number, own_masks(data, seed=number)) for number in range(1, 9)]
    held_out = own_masks(data, 40, seed=99)
    assert metrics[0]["live_bits"] == metrics[0]["frozen_bits"]
    assert metrics[-1]["live_bits"] < 0.5 * metrics[0]["live_bits"]
    assert bits_a_dropped_token(live.judge(held_out)) < 0.5 * bits_a_dropped_token(live.judge_frozen(held_out))
    frozen_bits = [row["frozen_bits"] for row in metrics]
    assert max(frozen_bits) - min(frozen_bits) < 0.2 * np.mean(frozen_bits)
    for number, row in enumerate(metrics, 1):
        assert row["version"] == number
        assert row["random_share"] == 0.5
        assert row["live_bits_after"] < row["live_bits"]


def test_metrics_are_bits_a_dropped_token_by_hand(make: Make, data: Path) -> None:
    live, asked = make(), own_masks(data, 80)
    before, twin = live.judge(asked), live.judge_frozen(asked)
    metrics = live.advance(1, asked)
    after = live.judge(asked)
    shown = range(0, 80, 3)  # at most 32 of them, spread over the iteration
    for name, verdicts in (("live_bits", before), ("frozen_bits", twin), ("live_bits_after", after)):
        expected = sum(verdicts[i].score for i in shown) / sum(verdicts[i].dropped for i in shown)
        assert metrics[name] == pytest.approx(expected, rel=1e-12)


def history(live: LiveJudge, data: Path, until: int = 3) -> list[tuple[str, dict[str, float]]]:
    return [
        (weights_hash(live.descent.model), live.advance(number, own_masks(data, seed=number)))
        for number in range(live.number + 1, until + 1)
    ] + [(weights_hash(live.descent.model), {})]


def test_a_version_follows_from_what_it_came_from_alone(make: Make, data: Path) -> None:
    """Another process, another state of chance, a new object at every version: the same bits."""
    whole = history(make("whole"), data)
    parts = []
    for number in range(3):
        torch.manual_seed(number)
        parts += history(make("parts"), data, number + 1)[:1]
    parts += history(make("parts"), data)
    assert parts == whole
    assert len({weights for weights, _ in whole}) == 4
    assert history(make("seed", seed=1), data)[1:] != whole[1:]


def test_asked_again_it_learns_nothing_twice(make: Make, data: Path) -> None:
    live, asked = make(), own_masks(data)
    metrics = live.advance(1, asked)
    weights = weights_hash(live.descent.model)
    files = {path: path.stat().st_mtime_ns for path in live.folder(1).iterdir()}
    assert live.advance(1, own_masks(data, seed=5)) == metrics
    again = make()
    assert again.advance(1, asked) == metrics
    assert weights_hash(live.descent.model) == weights_hash(again.descent.model) == weights
    assert again.version == live.version
    assert {path: path.stat().st_mtime_ns for path in live.folder(1).iterdir()} == files
    for number in (0, 3):
        with pytest.raises(ValueError, match=f"version {number} of a live judge cannot follow version 1"):
            live.advance(number, asked)


def test_a_torn_version_is_learned_again(make: Make, data: Path) -> None:
    live = make()
    live.advance(1, own_masks(data, seed=1))
    metrics = live.advance(2, own_masks(data, seed=2))
    version = live.version
    file = live.folder(2) / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    again = make()
    assert again.number == 1
    assert again.advance(2, own_masks(data, seed=2)) == metrics
    assert again.version == version


def test_an_error_while_learning_leaves_the_version_that_was(make: Make, data: Path) -> None:
    live, asked = make(), own_masks(data)
    before, version = scores(live, asked), live.version
    step, calls = live.descent.step, []

    def fails(*batch: torch.Tensor) -> float:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("the card fell off the bus")
        return step(*batch)  # type: ignore[arg-type]

    live.descent.step = fails  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError, match="fell off"):
        live.advance(1, asked)
    assert (live.number, live.version) == (0, version)
    assert scores(live, asked) == before
    live.descent.step = step  # type: ignore[method-assign]
    assert live.advance(1, asked) == make("undisturbed").advance(1, asked)


def test_two_versions_stay_on_disk(make: Make, data: Path) -> None:
    live = make()
    for number in range(1, 5):
        live.advance(number, own_masks(data, seed=number))
        assert [path.name for path in version_folders(live.versions)][-1] == f"version-{number:06d}"
        assert len(version_folders(live.versions)) == 2
    assert newest_version(live.versions) == 4
    assert newest_version(live.versions / "nothing") is None


@pytest.mark.parametrize(("share", "batch", "expected"), [(0.5, 8, 0.5), (0.5, 9, 5 / 9), (0.75, 8, 0.75), (1.0, 8, 1)])
def test_half_of_the_masks_or_more_are_random(
    make: Make, data: Path, monkeypatch: pytest.MonkeyPatch, share: float, batch: int, expected: float
) -> None:
    """Counted in the batches themselves: own masks keep every colour, which random ones hardly ever do."""
    live = make(config=CotrainConfig(steps=20, batch=batch, random_share=share))
    own = []

    def count(ids: torch.Tensor, kept: torch.Tensor, valid: torch.Tensor, rate: float) -> float:
        alike = [bool((kept[b, : int(valid[b].sum())][::2]).all()) for b in range(len(ids))]
        hidden = [not bool((kept[b, : int(valid[b].sum())][1::2]).any()) for b in range(len(ids))]
        own.append(np.mean([a and h for a, h in zip(alike, hidden, strict=True)]))
        return 0.0

    monkeypatch.setattr(live.descent, "step", count)
    metrics = live.advance(1, own_masks(data))
    assert metrics["random_share"] == pytest.approx(expected)
    assert 1 - np.mean(own) == pytest.approx(expected, abs=0.03)


def test_too_few_random_masks_are_refused() -> None:
    with pytest.raises(ValidationError, match="random_share"):
        CotrainConfig(random_share=0.49)


def test_without_a_mask_random_ones_teach_alone(make: Make) -> None:
    live = make()
    assert live.advance(1, []) == {"version": 1.0, "random_share": 1.0}
    assert weights_hash(live.descent.model) != weights_hash(live.frozen.model)


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_a_model_folder_learns_too(data: Path, tmp_path: Path, kind: str) -> None:
    reader = load_tokenizer(str(data / "tokenizer"))
    source = save_bert(tmp_path / "bert") if kind == "masked" else save_gpt2(tmp_path / "gpt2", reader)
    threads = torch.get_num_threads()
    train_judge(JudgeConfig.model_validate({"model": str(source), "kind": kind, "window": 32}), data, tmp_path / "j")
    torch.set_num_threads(threads)
    live = LiveJudge(tmp_path / "j", tmp_path / "v", data, COTRAIN, 0)
    assert weights_hash(live.descent.model) == weights_hash(load_judge(tmp_path / "j").model)
    metrics = live.advance(1, own_masks(data))
    assert metrics["live_bits_after"] < metrics["live_bits"]
    again = LiveJudge(tmp_path / "j", tmp_path / "v", data, COTRAIN, 0)
    assert again.version == live.version


def test_half_precision_weights_are_refused_by_name(data: Path, tmp_path: Path) -> None:
    source = save_bert(tmp_path / "bert", dtype=torch.bfloat16)
    threads = torch.get_num_threads()
    train_judge(JudgeConfig(model=str(source), window=32), data, tmp_path / "j")
    torch.set_num_threads(threads)
    with pytest.raises(UserError, match=r"half precision.*set judges\.reward\.finetune"):
        LiveJudge(tmp_path / "j", tmp_path / "v", data, COTRAIN, 0)


def test_what_crosses_a_process(make: Make, data: Path) -> None:
    asked = pickle.loads(pickle.dumps(own_masks(data)))
    live = make()
    metrics = pickle.loads(pickle.dumps(live.advance(1, asked)))
    assert metrics == make("other").advance(1, own_masks(data))
    copy = live.versions.with_name("copied")
    shutil.copytree(live.versions, copy)  # as a checkpoint does
    assert make("copied").version == live.version


def test_bits_of_nothing() -> None:
    assert math.isnan(bits_a_dropped_token([]))
