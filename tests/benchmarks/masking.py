"""`make study-masking`: does GRPO learn to compress prose better than strong heuristics, on three seeds?

Trains `tune_configs/masking/study.yaml` with seeds 0, 1 and 2 on the same data and judges, evaluates each on the same
held-out texts and keeps figures and per-item scores under `tests/benchmarks/results/masking/`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from cluster.training import train
from rlcompress.config.files import load_config

RESULTS = Path(__file__).parent / "results"
KEPT = ("results.json", "items.parquet", "table.txt")


def study(name: str, config: str, about: str | None, changes: Sequence[str] = ()) -> None:
    """Train and evaluate one configuration with several seeds; the results of each go to `results/NAME/seed-N/`."""
    options = argparse.ArgumentParser(description=about)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--set", nargs="*", default=[], help="overrides, as in the command line")
    options.add_argument("--results", type=Path, default=RESULTS / name)
    arguments = options.parse_args()
    for seed in arguments.seeds:
        chosen = load_config(config, [*changes, *arguments.set, f"seed={seed}", f"name={name}-{seed}"])
        run = train(chosen, command=f"make study-{name} (seed {seed})", overwrite=True)
        folder = arguments.results / f"seed-{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in KEPT:
            shutil.copy(run.path / "evaluation" / file, folder / file)
        for role in ("reward", "heldout"):
            record = json.loads((run.judges / role / "judge.json").read_text(encoding="utf-8"))
            (folder / f"judge-{role}.json").write_text(json.dumps(record["reads"], indent=1) + "\n", encoding="utf-8")
        environment = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
        (folder / "environment.json").write_text(json.dumps(environment, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    study("masking", "tune_configs/masking/study.yaml", __doc__)
