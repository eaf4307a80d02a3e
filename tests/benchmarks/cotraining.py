"""`make study-cotraining`: does a reward judge that learns on the policy's own masks teach better than a frozen one?

With seeds 0, 1 and 2, `tune_configs/masking/cotrain.yaml` is trained as it stands and with its judge frozen: the same
data, judges to start from, warm start and iterations. Both policies are compared on the same held-out texts by the
judge that no training saw, shared and adapted to each policy's own masks. Figures, per-item scores and what the live
judge learned are kept under `tests/benchmarks/results/cotraining/`, whichever way they fall.
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
from rlcompress.measuring.results import read_jsonl
from rlcompress.recording.directory import RunDirectory

CONFIG = "tune_configs/masking/cotrain.yaml"
RESULTS = Path(__file__).parent / "results" / "cotraining"
FILES = ("results.json", "items.parquet", "table.txt")
BESIDE = ("random", "rare", "prior", "warm_start")
RATES = (0.5, 0.33)
VARIANTS: dict[str, list[str]] = {"cotrained": [], "frozen": ["cotrain.steps=0"]}
COMMON = [
    "runs=runs/cotraining",
    "judges.reward.steps=1500",
    "judges.heldout.steps=1500",
    "learner.iterations=150",
    "checkpoint.validate_every=50",
    "evaluate.rates=[0.5, 0.33]",
    "evaluate.texts=400",
    "evaluate.adapt_steps=100",
    "evaluate.methods=[]",
]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--set", nargs="*", default=[], help="overrides, as in the command line")
    options.add_argument("--results", type=Path, default=RESULTS)
    arguments = options.parse_args()
    for seed in arguments.seeds:
        runs = {}
        for variant, own in VARIANTS.items():
            overrides = [*COMMON, f"seed={seed}", f"name={variant}-{seed}", *arguments.set, *own]
            config = load_config(CONFIG, overrides)
            runs[variant] = train(config, command=f"make study-cotraining (seed {seed})", overwrite=True)
        keep(seed, runs, arguments.results)


def keep(seed: int, runs: dict[str, RunDirectory], results: Path) -> None:
    """Compare the two runs of a seed and keep figures, items, costs and the curves of live and frozen bits."""
    compared = compare([run.path for run in runs.values()], rates=RATES, methods=BESIDE)
    folder = results / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copy(compared / name, folder / name)
    first = runs["cotrained"]
    write(folder / "environment.json", json.loads((first.path / "environment.json").read_text(encoding="utf-8")))
    write(folder / "costs.json", {variant: cost(run) for variant, run in runs.items()})
    write(folder / "curves.json", curves(first))
    for role in ("reward", "heldout"):
        record = json.loads((first.judges / role / "judge.json").read_text(encoding="utf-8"))
        write(folder / f"judge-{role}.json", record["reads"])


def cost(run: RunDirectory) -> dict[str, Any]:
    rows, learner = list(read_jsonl(run.metrics)), run.config.learner
    seconds = {part: sum(row.get(f"time/{part}", 0.0) for row in rows) for part in ("sample", "learn", "cotrain")}
    samples = learner.iterations * learner.prompts_per_step * learner.samples_per_prompt
    return {"iterations": learner.iterations, "samples": samples, "seconds": seconds}


def curves(run: RunDirectory) -> list[dict[str, float]]:
    """Of each barrier: the iteration, and bits a dropped token of the live judge and its frozen twin."""
    names = ("cotrain/version", "cotrain/live_bits", "cotrain/live_bits_after", "cotrain/frozen_bits")
    rows = [row for row in read_jsonl(run.metrics) if names[0] in row]
    return [{"step": row["step"], **{name: round(row[name], 4) for name in names}} for row in rows]


def write(file: Path, document: Any) -> None:
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
