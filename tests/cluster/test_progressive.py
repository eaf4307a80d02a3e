"""A tiny progressive run through all stages: PPO across actors, evaluated, reported and served in its passes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cluster.training import train
from rlcompress.compressor import Compressor
from rlcompress.config.files import load_config
from rlcompress.data.dataset import load_split
from rlcompress.measuring.results import load_results
from rlcompress.recording.directory import RunDirectory
from rlcompress.selection import select
from tests.cluster.test_training import TINY

pytestmark = pytest.mark.ray

PROGRESSIVE = ["env.form=progressive", "env.passes=3", "learner.algorithm=ppo", "learner.epochs=2"]
SMALL = ["evaluate.adapt_steps=0", "evaluate.methods=[random,warm_start]", "learner.iterations=2"]


@pytest.fixture(scope="module")
def run(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("runs")
    return train(load_config(None, [*TINY, *PROGRESSIVE, *SMALL, f"runs={folder}", "name=passes"]), command="the test")


def test_it_is_learned_validated_measured_and_reported(run: RunDirectory) -> None:
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert rows[-1]["episode/decisions"] > 1
    assert 1 <= rows[-1]["learner/updates"] <= 2, "48 steps are one minibatch, twice"
    assert np.isfinite(rows[-1]["validation/distortion_bits"])
    document = load_results(run.path / "evaluation" / "results.json")
    assert {row["method"] for row in document["results"]} == {"rl", "random", "warm_start"}
    assert (run.path / "report.html").is_file()


def test_what_is_served_says_in_how_many_passes(run: RunDirectory) -> None:
    compressor = Compressor.from_pretrained(run.path)
    assert (compressor.manifest.passes, compressor.manifest.nested) == (3, False)
    assert Compressor.from_pretrained(run.path / "warm_start").manifest.passes == 3
    assert not any("critic" in name for name in compressor._scorer.network.state_dict())
    [data] = (Path(run.config.runs) / "cache" / "data").iterdir()
    for example in load_split(data, "test")[:5]:
        one = compressor.compress(example.text, 0.5)
        assert one.kept_tokens <= round(0.5 * one.original_tokens)


def test_a_warm_start_is_served_alike_in_one_pass_and_in_three(run: RunDirectory) -> None:
    """Its scores do not depend on what is gone yet, so the passes change nothing."""
    compressor = Compressor.from_pretrained(run.path / "warm_start")
    text = "A judge reads the kept words and guesses those that were dropped, one after the other, to the end."
    units = compressor.segmenter(text)
    [scores_N] = compressor._scorer.scores([units], [None])
    for rate in (0.3, 0.6):
        assert compressor.compress(text, rate).kept == select(units, scores_N, rate).kept_N.tolist()
