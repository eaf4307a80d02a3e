"""`make study-context_qa`: does a policy that hears the question keep more answers than sentences that match it?

Trains `tune_configs/masking/context_qa.yaml` on questions over contexts, and the same policy deaf to the question, with
five seeds each on one split by context, and measures both beside the baselines on contexts that no training saw. Rows
come from `context-qa/train.jsonl` in the folder that `RLCOMPRESS_TEST_DATA` names. The encoder is the configuration's;
`--set embedder.model=FOLDER` takes a local one. Figures and per-item scores are kept under
`tests/benchmarks/results/context_qa/`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

from cluster.comparing import compare
from cluster.training import train
from rlcompress.config.files import load_config
from rlcompress.results import read_jsonl
from rlcompress.runs import RunDirectory

CONFIG = "tune_configs/masking/context_qa.yaml"
RESULTS = Path(__file__).parent / "results" / "context_qa"
FILES = ("results.json", "items.parquet", "table.txt")
BESIDE = (
    *("random", "rare", "head", "self_information", "bm25_sentences", "embedding_sentences", "mix_sentences"),
    *("prior", "supervised"),
)
VARIANTS: dict[str, list[str]] = {"context_qa": [], "query_free": ["policy.channels=text", "supervised.steps=0"]}
COMMON = ["runs=runs/context_qa", "evaluate.methods=[]"]  # all is measured at the end, together


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options.add_argument("--set", nargs="*", default=[], help="overrides, as in the command line")
    options.add_argument("--results", type=Path, default=RESULTS)
    arguments = options.parse_args()
    source = Path(os.environ["RLCOMPRESS_TEST_DATA"]) / "context-qa" / "train.jsonl"
    for seed in arguments.seeds:
        runs = {}
        for variant, own in VARIANTS.items():
            overrides = [*COMMON, f"data.source={source}", f"seed={seed}", f"name={variant}-{seed}", *own]
            config = load_config(CONFIG, [*overrides, *arguments.set])
            runs[variant] = train(config, command=f"make study-context_qa (seed {seed})", overwrite=True)
        keep(seed, runs, arguments.results)


def keep(seed: int, runs: dict[str, RunDirectory], results: Path) -> None:
    """Compare the runs of a seed on all held-out rows, and keep figures, items, costs and validations."""
    compared = compare([run.path for run in runs.values()], methods=BESIDE)
    folder = results / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copy(compared / name, folder / name)
    first = runs["context_qa"]
    write(folder / "environment.json", json.loads((first.path / "environment.json").read_text(encoding="utf-8")))
    write(folder / "costs.json", {variant: cost(run) for variant, run in runs.items()})


def cost(run: RunDirectory) -> dict[str, Any]:
    """What a run took, and the reward that it was chosen by, by iteration."""
    rows, learner = list(read_jsonl(run.metrics)), run.config.learner
    return {
        "iterations": learner.iterations,
        "samples": sum(int(row.get("samples/ok", 0)) for row in rows),
        "seconds": {part: round(sum(row.get(f"time/{part}", 0.0) for row in rows), 1) for part in ("sample", "learn")},
        "validation_reward": {row["step"]: -row["validation/cost"] for row in rows if "validation/cost" in row},
        "encoder": "builtin:lsa" if run.config.embedder.model == "builtin:lsa" else "pretrained",
    }


def write(file: Path, document: Any) -> None:
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
