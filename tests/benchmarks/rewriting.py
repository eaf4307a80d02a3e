"""`make study-rewriting`: does GRPO rewrite prompts better than fine-tuning, at equal length, on three seeds?

Trains `tune_configs/rewriting/study.yaml` with seeds 0, 1 and 2 on the same problems and with the same evaluator, each
beside a masking policy of the same problems, and evaluates them on the same held-out problems. `--no-leak-gate` is the
ablation: the reward does not heed the gates `leak` and `numbers`, which are reported all the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from cluster.training import train
from rlcompress.config.files import load_run
from rlcompress.config.rewriting import EVERY_GATE
from rlcompress.recording.directory import RunDirectory

RESULTS = Path(__file__).parent / "results" / "rewriting"
KEPT = ("results.json", "items.parquet", "table.txt", "outputs.jsonl")
MASKING = "rewriting-masking"


def study() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--set", nargs="*", default=[], help="overrides, as in the command line")
    options.add_argument("--no-leak-gate", action="store_true")
    arguments = options.parse_args()
    masking = masked(arguments.set)
    kept = [gate for gate in EVERY_GATE if gate not in ("leak", "numbers")]
    gates = [f"reward.gates=[{','.join(kept)}]"] if arguments.no_leak_gate else []
    name = "rewriting-no-leak-gate" if gates else "rewriting"
    for seed in arguments.seeds:
        changes = [*gates, *arguments.set, f"evaluate.masking={masking}", f"seed={seed}", f"name={name}-{seed}"]
        plain = load_run("tune_configs/rewriting/study.yaml", changes)
        methods = ",".join([*plain.evaluate.methods, "masking"])
        config = load_run("tune_configs/rewriting/study.yaml", [*changes, f"evaluate.methods=[{methods}]"])
        run = train(config, command=f"make study-rewriting (seed {seed})", overwrite=True)
        keep(run, (RESULTS / "no_leak_gate" if gates else RESULTS) / f"seed-{seed}")


def masked(overrides: list[str]) -> Path:
    """The masking policy of the same problems, trained once."""
    runs = [override for override in overrides if override.startswith("runs=")]
    config = load_run("tune_configs/masking/problems.yaml", [*runs, f"name={MASKING}"])
    folder = Path(config.runs) / MASKING
    if not (folder / "artifact").is_dir():
        train(config, command="make study-rewriting (masking)", overwrite=True)
    return folder


def keep(run: RunDirectory[Any], folder: Path) -> None:
    """Figures, items, rewrites, what the evaluator solves, curves and costs of a run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in KEPT:
        shutil.copy(run.path / "evaluation" / file, folder / file)
    for file in ("environment.json", "metrics.jsonl"):
        shutil.copy(run.path / file, folder / file)
    evaluator = json.loads((run.judges / "evaluator" / "evaluator.json").read_text(encoding="utf-8"))
    tuned = {name: run.path / name / "fine_tuning.json" for name in ("sft", "continued_sft")}
    record = {"evaluator_solves": evaluator["solves"]}
    for name, file in tuned.items():
        if file.is_file():
            found = json.loads(file.read_text(encoding="utf-8"))
            record[name] = {"best": found["best"], "updates": len(found["losses"]), "validation": found["validation"]}
    (folder / "before.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    study()
