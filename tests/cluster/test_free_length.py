"""A run whose policy chooses its length, from training to serving: what is logged, what is best, what is served."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from cluster.training import train
from rlcompress import __main__ as cli
from rlcompress.artifact import read_manifest
from rlcompress.compressor import Compressor
from rlcompress.config.files import load_config
from rlcompress.data.dataset import load_split
from rlcompress.measuring.results import load_results
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.publish import find_checkpoint
from tests.cluster.test_training import TINY

pytestmark = pytest.mark.ray

PRICED = [
    "env.sampler=bernoulli",
    "reward.terms={distortion: 0.0, rate_distortion: 1.0}",
    "reward.target_rate=0.4",
    "learner.algorithm=reinforce",
    "evaluate.methods=[random]",
]


@pytest.fixture(scope="module")
def run(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    config = load_config(None, [*TINY, *PRICED, f"runs={tmp_path_factory.mktemp('runs')}", "name=free"])
    return train(config, command="the test")


def rows(run: RunDirectory) -> list[dict[str, float]]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def test_the_length_is_logged_and_decides_which_checkpoint_is_the_best(run: RunDirectory) -> None:
    logged = rows(run)
    for row in logged[1:]:
        assert row["lagrangian/error"] == pytest.approx(row["rate/served"] - 0.4)
        assert row["lagrangian/multiplier"] >= 0
        assert "price" in row
    validated = {row["step"]: row for row in logged if "validation/cost" in row}
    assert list(validated) == [0, 2, 4]
    for row in validated.values():
        assert 0.0 < row["validation/rate_served"] <= 1.0
        missed = max(0.0, abs(row["validation/rate_served"] - 0.4) - 0.01) / 0.01
        assert missed - 1.0 <= row["validation/cost"] <= missed, "minus the share of bits saved"
        assert row["validation/distortion_bits@0.5"] > 0, "its scores also meet any budget"
    best = min(validated, key=lambda step: (validated[step]["validation/cost"], step))
    assert find_checkpoint(run.checkpoints, "best").name == f"iteration-{best:06d}"


def test_validation_measures_what_is_served(run: RunDirectory) -> None:
    manifest = read_manifest(run.artifact)
    assert manifest.sampler == "bernoulli"
    assert read_manifest(run.path / "warm_start").sampler == "exact", "imitation taught it an order, not a length"
    compressor = Compressor.from_pretrained(run.artifact, "cpu")
    (data,) = (Path(run.config.runs) / "cache" / "data").iterdir()
    texts = [example.text for example in load_split(data, "validation")[:8]]
    served = compressor.compress(texts, abstain=False)  # validation measures what the policy keeps
    rate = sum(one.kept_tokens for one in served) / sum(one.original_tokens for one in served)
    (row,) = [row for row in rows(run) if row["step"] == manifest.iteration]
    assert rate == pytest.approx(row["validation/rate_served"], abs=1e-9)


def test_it_is_evaluated_at_the_budgets_of_all(run: RunDirectory) -> None:
    results = load_results(run.path / "evaluation" / "results.json")["results"]
    achieved = {
        row["rate"]: row["mean"] for row in results if (row["method"], row["metric"]) == ("rl", "achieved_rate")
    }
    assert achieved.keys() == {0.65, 0.5, 0.33}
    assert all(rate - 0.1 < mean <= rate + 1e-9 for rate, mean in achieved.items())


def test_the_command_compresses_without_a_rate(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    text = "The old man, who was well-known for it, paid the whole sum at once and left the house."

    def compress(*words: str) -> dict[str, object]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert cli.main(["compress", str(run.path), "--json", *words]) == 0
        shown: dict[str, object] = json.loads(capfdbinary.readouterr().out)
        return shown

    free = compress()
    assert free["kept"] == [score >= 0 for score in free["scores"]]  # type: ignore[attr-defined]
    assert compress("--rate", "0.5")["rate"] == 0.5
