"""`make study-ablation`: GRPO, PPO and REINFORCE from one start, at equal samples and at equal time, on three seeds.

A sample is one judged compression: a one-step episode has one, an episode of K passes has K. First every algorithm
gets the samples of GRPO's iterations; then PPO and REINFORCE get as many iterations as take as long as GRPO's learning
took in the same session. `ppo` decides once, as the others do; `ppo_passes` twice, as `progressive.yaml` ships it. The
runs of a seed share data, judges and warm start, and are compared on the same held-out texts under the judge that no
training saw.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from cluster.comparing import compare
from cluster.training import train
from rlcompress.config.files import load_config
from rlcompress.config.schema import RunConfig
from rlcompress.measuring.results import read_jsonl
from rlcompress.recording.directory import RunDirectory

RESULTS = Path(__file__).parent / "results" / "ablation"
FILES = ("results.json", "items.parquet", "table.txt")
GRPO_ITERATIONS = 150
BESIDE = ("random", "rare", "adaptive_add", "prior", "warm_start")
# algorithm -> its configuration; judges and evaluation are the masking study's
VARIANTS = {
    "grpo": ("tune_configs/masking/quickstart.yaml", []),
    "ppo": ("tune_configs/masking/progressive.yaml", ["env.passes=1", "learner.minibatch=128"]),
    "ppo_passes": ("tune_configs/masking/progressive.yaml", []),
    "reinforce": ("tune_configs/masking/quickstart.yaml", ["learner.algorithm=reinforce"]),
}
COMMON = [
    "runs=runs/ablation",
    "judges.reward.steps=1500",
    "judges.heldout.steps=1500",
    "evaluate.rates=[0.5, 0.33]",
    "evaluate.texts=400",
    "evaluate.methods=[warm_start]",
]


def samples_an_iteration(config: RunConfig) -> int:
    passes = config.env.passes if config.env.form == "progressive" else 1
    return config.learner.prompts_per_step * config.learner.samples_per_prompt * passes


def configured(variant: str, name: str, seed: int, changes: list[str]) -> RunConfig:
    file, own = VARIANTS[variant]
    return load_config(file, [*own, *COMMON, f"seed={seed}", f"name={name}-{seed}", *changes])


def learned(config: RunConfig) -> tuple[RunDirectory, dict[str, Any]]:
    """A trained run, and what its learning cost."""
    run = train(config, command="make study-ablation", overwrite=True)
    rows = list(read_jsonl(run.metrics))
    cost = {
        "iterations": config.learner.iterations,
        "samples": config.learner.iterations * samples_an_iteration(config),
        "seconds": sum(row.get("time/sample", 0.0) + row.get("time/learn", 0.0) for row in rows),
    }
    return run, cost


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--iterations", type=int, default=GRPO_ITERATIONS, help="of GRPO")
    options.add_argument("--set", nargs="*", default=[], help="overrides, as in the command line")
    options.add_argument("--results", type=Path, default=RESULTS)
    arguments = options.parse_args()
    for seed in arguments.seeds:
        runs, costs = {}, {}
        first = configured("grpo", "grpo", seed, [*arguments.set, f"learner.iterations={arguments.iterations}"])
        samples = arguments.iterations * samples_an_iteration(first)
        for variant in VARIANTS:
            config = configured(variant, variant, seed, arguments.set)
            count = max(1, round(samples / samples_an_iteration(config)))
            config = configured(variant, variant, seed, [*arguments.set, f"learner.iterations={count}"])
            runs[variant], costs[variant] = learned(config)
        for variant in ("ppo", "ppo_passes", "reinforce"):
            count = max(1, round(costs[variant]["iterations"] * costs["grpo"]["seconds"] / costs[variant]["seconds"]))
            name = f"{variant}_equal_time"
            config = configured(variant, name, seed, [*arguments.set, f"learner.iterations={count}"])
            runs[name], costs[name] = learned(config)
        keep(seed, list(runs.values()), costs, arguments.results)


def keep(seed: int, runs: list[RunDirectory], costs: dict[str, dict[str, Any]], results: Path) -> None:
    """Compare the runs of a seed and keep figures, items, costs and the record of the first run."""
    compared = compare([run.path for run in runs], rates=[0.5, 0.33], methods=BESIDE)
    folder = results / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copy(compared / name, folder / name)
    environment = json.loads((runs[0].path / "environment.json").read_text(encoding="utf-8"))
    (folder / "environment.json").write_text(json.dumps(environment, indent=1) + "\n", encoding="utf-8")
    (folder / "costs.json").write_text(json.dumps(costs, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
