"""`make study-context_qa`: does a policy that hears the question keep more answers than sentences that match it?

Trains `tune_configs/masking/context_qa.yaml` on questions over contexts with five seeds, seed k on fold k of a
cross-validation by context, and measures each policy beside the baselines on contexts that its training never saw: one
split of 42 contexts favours this method or that by several points, all 198 say more. The policies of all seeds are also
measured at rates that they were not trained for. The controls are trained with the first three seeds and each compared
with the policy of its seed: the same policy deaf to the question, and either term of the reward alone. Last, one
source of questions is left out of the training and then asked, all of it; for the source where that went badly, two
other ways to train are measured too. Rows come from `context-qa/train.jsonl` in
the folder that `RLCOMPRESS_TEST_DATA` names. The encoder is the configuration's; `--set embedder.model=FOLDER` takes a
local one. Figures and per-item scores are kept under `tests/benchmarks/results/context_qa/`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.comparing import compare
from cluster.training import train
from rlcompress.config.files import load_config
from rlcompress.measuring.results import read_jsonl
from rlcompress.recording.directory import RunDirectory

CONFIG = "tune_configs/masking/context_qa.yaml"
RESULTS = Path(__file__).parent / "results" / "context_qa"
FILES = ("results.json", "items.parquet", "table.txt")
SENTENCES = ("bm25_sentences", "embedding_sentences", "mix_sentences")
BESIDE = ("random", "rare", "head", "self_information", *SENTENCES, "prior", "supervised")
CURVE = (0.9, 0.8, 0.65, 0.5, 0.33, 0.2, 0.1)
CONTROLS = {
    "query_free": ["policy.channels=text"],
    "retention_alone": ["reward.terms={answer_kept: 0.0}"],
    "kept_alone": ["reward.terms={answer_retention: 0.0, answer_kept: 1.0}"],
}
SOURCES = ("adversarial_qa", "duorc", "quoref")  # how the rows' `source` begins
ATTEMPTS = {  # at a policy that is no worse than its start on the source where it was
    "fewer_updates": ["learner.iterations=215", "checkpoint.validate_every=215"],  # each question as often as with all
    "near_the_start": ["learner.kl_coeff=0.05"],
}
MOST = {"train": 0.85, "validation": 0.14, "test": 0.01}  # where the questions to be asked lie in another file
RUNS = Path("runs/context_qa")
COMMON = [f"runs={RUNS}", "evaluate.methods=[]", "evaluate.slices=[]"]  # all is measured at the end, together


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4], help="of the policy; none: no new one"
    )
    options.add_argument("--curve", type=int, nargs="*", default=[0, 1, 2, 3, 4], help="seeds measured at more rates")
    options.add_argument("--controls", nargs="*", default=list(CONTROLS), help="which are trained beside it")
    options.add_argument("--sources", nargs="*", default=list(SOURCES), help="which are left out of the training")
    options.add_argument("--attempts", nargs="*", default=list(ATTEMPTS), help="other ways to train without the first")
    options.add_argument("--fewer-seeds", type=int, nargs="+", default=[0, 1, 2], help="of controls and sources")
    options.add_argument("--set", nargs="*", default=[], help="overrides, as in the command line")
    options.add_argument("--results", type=Path, default=RESULTS)
    arguments = options.parse_args()
    for seed in arguments.seeds:
        run = trained("context_qa", seed, [], arguments.set)
        keep([run], BESIDE, arguments.results / f"seed-{seed}")
    for seed in arguments.curve:
        run = RunDirectory.open(RUNS / f"context_qa-{seed}")
        keep([run], ("random", "head", *SENTENCES), arguments.results / "curve" / f"seed-{seed}", rates=CURVE)
    for seed in arguments.fewer_seeds if arguments.controls else ():
        run = RunDirectory.open(RUNS / f"context_qa-{seed}")
        others = [
            trained(name, seed, ["supervised.steps=0", *CONTROLS[name]], arguments.set) for name in arguments.controls
        ]
        keep([run, *others], ("mix_sentences",), arguments.results / "controls" / f"seed-{seed}")
    for source in arguments.sources:
        for seed in arguments.fewer_seeds:
            run, unknown = trained_without(source, seed, arguments.set)
            keep([run], SENTENCES, arguments.results / f"without_{source}" / f"seed-{seed}", data=unknown)
    for attempt in arguments.attempts:
        for seed in arguments.fewer_seeds:
            run, unknown = trained_without(SOURCES[0], seed, [*arguments.set, *ATTEMPTS[attempt]])
            keep([run], SENTENCES, arguments.results / "attempts" / attempt / f"seed-{seed}", data=unknown)


def questions() -> Path:
    return Path(os.environ["RLCOMPRESS_TEST_DATA"]) / "context-qa" / "train.jsonl"


def trained_without(source: str, seed: int, changes: list[str]) -> tuple[RunDirectory, Path]:
    """A run that saw nothing of one source, and the file of all its questions."""
    known, unknown = parted(source)
    own = [f"data.source={known}", f"data.splits={json.dumps(MOST)}", "supervised.steps=0"]
    return trained(f"without_{source}", seed, own, changes), unknown


def parted(source: str) -> tuple[Path, Path]:
    """Files of all rows that are not of a source, and of those that are."""
    rows = [json.loads(line) for line in questions().read_text(encoding="utf-8").splitlines()]
    files = RUNS / f"without_{source}.jsonl", RUNS / f"{source}.jsonl"
    RUNS.mkdir(parents=True, exist_ok=True)
    for file, of_it in zip(files, (False, True), strict=True):
        kept = [row for row in rows if row["source"].startswith(source) == of_it]
        file.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return files


def trained(name: str, seed: int, own: list[str], changes: list[str]) -> RunDirectory:
    """A run of the study's configuration; `own` changes it for this arm, `changes` for all."""
    overrides = [*COMMON, f"data.source={questions()}", f"seed={seed}", f"data.fold={seed}", f"name={name}-{seed}"]
    overrides += [*own, *changes]
    return train(load_config(CONFIG, overrides), command=f"make study-context_qa ({name}, seed {seed})", overwrite=True)


def keep(
    runs: list[RunDirectory],
    beside: Sequence[str],
    folder: Path,
    data: Path | None = None,
    rates: Sequence[float] | None = None,
) -> None:
    """Compare runs of one seed on their held-out rows, or on all of a file; keep figures, items and validations."""
    compared = compare([run.path for run in runs], None if data is None else str(data), rates, methods=beside)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copy(compared / name, folder / name)
    environment = json.loads((runs[-1].path / "environment.json").read_text(encoding="utf-8"))
    write(folder / "environment.json", environment)
    write(folder / "costs.json", {run.config.name: cost(run) for run in runs})


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
