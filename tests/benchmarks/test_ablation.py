"""The committed ablation of the algorithms: its figures follow from the stored items, whichever way they fall."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlcompress.measuring.results import load_results
from tests.benchmarks.ablation import VARIANTS

STUDY = Path(__file__).parent / "results" / "ablation"
SEEDS = sorted(STUDY.glob("seed-*"))
EQUAL_TIME = ("ppo_equal_time", "ppo_passes_equal_time", "reinforce_equal_time")


@pytest.mark.parametrize("folder", SEEDS, ids=lambda folder: folder.name)
def test_samples_are_equal_where_they_should_be_and_times_nearly(folder: Path) -> None:
    costs = json.loads((folder / "costs.json").read_text())
    assert set(costs) == {*VARIANTS, *EQUAL_TIME}
    assert len({costs[name]["samples"] for name in VARIANTS}) == 1
    for name in EQUAL_TIME:
        assert costs[name]["seconds"] == pytest.approx(costs["grpo"]["seconds"], rel=0.5), "a busy machine, no more"


@pytest.mark.parametrize("folder", SEEDS, ids=lambda folder: folder.name)
def test_all_are_paired_with_grpo_at_both_rates(folder: Path) -> None:
    seed = folder.name.removeprefix("seed-")
    document = load_results(folder / "results.json")
    assert document["settings"]["reference"] == f"grpo-{seed}"
    found = {(row["against"], row["rate"]) for row in document["comparisons"] if row["metric"] == "distortion_bits"}
    wanted = {f"{name}-{seed}" for name in (*VARIANTS, *EQUAL_TIME) if name != "grpo"}
    assert {(name, rate) for name in wanted for rate in (0.5, 0.33)} <= found
