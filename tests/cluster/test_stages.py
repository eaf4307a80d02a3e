"""The stage of the judges alone: trained once, taken from the cache, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster import judges as judges_of_a_run
from cluster import train_judges
from rlcompress.config.files import load_config
from rlcompress.config.schema import RunConfig
from rlcompress.judges.build import load_judge

pytestmark = pytest.mark.ray

TINY = ["data.source=builtin:docs-mini-300", "reader.vocabulary=512", "judges.gate=0.0", "name=tiny"]
TINY += [f"judges.{role}.{key}" for role in ("reward", "heldout") for key in ("steps=60", "width=32")]


def config(runs: Path, *more: str) -> RunConfig:
    return load_config(None, [*TINY, f"runs={runs}", *more])


def test_judges_are_trained_once_and_described(
    ray_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train_judges(config(tmp_path))
    said = capsys.readouterr().out
    assert folder == tmp_path / "judges" / "tiny"
    for role in ("reward", "heldout"):
        record = json.loads((folder / role / "judge.json").read_text())
        (line,) = [line for line in said.splitlines() if line.startswith(role)]
        assert f"{record['reads']['right']:.3f} bits a dropped token" in line
        assert f"{record['reads']['accuracy']:.1%} guessed right" in line
        assert f"before training {record['before']['right']:.3f}" in line
    cache = sorted((tmp_path / "cache" / "judges").iterdir())
    assert len(cache) == 2  # and no state of a training that is over
    again = train_judges(config(tmp_path, "judges.reward.chunk=7"), out=tmp_path / "again")
    assert sorted((tmp_path / "cache" / "judges").iterdir()) == cache
    assert load_judge(again / "reward").version == load_judge(folder / "reward").version
    assert load_judge(again / "reward").chunk == 7
    train_judges(config(tmp_path, "judges.reward.schedule=cosine"))
    assert len(list((tmp_path / "cache" / "judges").iterdir())) == 3


def test_the_device_of_a_training(tmp_path: Path) -> None:
    """Ray hands out CUDA devices; MPS is taken when it is asked for by name."""
    judge = config(tmp_path).judges.reward
    card = judge.model_copy(update={"gpus": 0.5})
    for device, expected in (("auto", ["cpu", "auto"]), ("mps", ["mps", "mps"]), ("cuda:1", ["cpu", "cuda:1"])):
        run = config(tmp_path).model_copy(update={"device": device})
        assert [judges_of_a_run._device(run, one) for one in (judge, card)] == expected
