"""`make study-masking`: does GRPO learn to compress prose better than strong heuristics, on three seeds?

Trains `tune_configs/masking/study.yaml` with seeds 0, 1 and 2 on the same data and judges, evaluates each on the same
held-out texts and keeps figures and per-item scores under `tests/benchmarks/results/masking/`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from cluster.training import train
from rlcompress.config.files import load_config

CONFIG = Path("tune_configs/masking/study.yaml")
RESULTS = Path(__file__).parent / "results" / "masking"
KEPT = ("results.json", "items.parquet", "table.txt")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--set", nargs="*", default=[], help="overrides, as in the command line")
    arguments = options.parse_args()
    for seed in arguments.seeds:
        config = load_config(CONFIG, [*arguments.set, f"seed={seed}", f"name=study-{seed}"])
        run = train(config, command=f"make study-masking (seed {seed})", overwrite=True)
        folder = RESULTS / f"seed-{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in KEPT:
            shutil.copy(run.path / "evaluation" / name, folder / name)
        for role in ("reward", "heldout"):
            record = json.loads((run.judges / role / "judge.json").read_text(encoding="utf-8"))
            (folder / f"judge-{role}.json").write_text(json.dumps(record["reads"], indent=1) + "\n", encoding="utf-8")
        environment = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
        (folder / "environment.json").write_text(json.dumps(environment, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
