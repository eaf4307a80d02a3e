"""Tiny runs of rewriting from data to report through the real stages, and what can be done with them afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cluster.evaluating import evaluate
from cluster.solving import evaluator_folder, settings_of
from cluster.training import sft, train
from rlcompress.config.families import AnyRun
from rlcompress.config.files import load_run
from rlcompress.errors import UserError
from rlcompress.judges.solvers import build_evaluator
from rlcompress.measuring.results import load_results, recompute
from rlcompress.problems.generated import generated_problems
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.ledger import discrepancies
from rlcompress.recording.publish import find_checkpoint, why_torn
from rlcompress.rewriter import PromptRewriter
from tests.rlcompress.language_models import ARCHITECTURES, save_language

pytestmark = pytest.mark.ray

TINY = [
    "env.name=PromptRewriting",
    "data.source=builtin:problems-60",
    "data.max_tokens=400",
    "reader.vocabulary=512",
    "policy.scratch.width=32",
    "policy.scratch.layers=1",
    "policy.max_new_tokens=48",
    "policy.chunk=8",
    "sft.learning={steps: 40, batch: 8, learning_rate: 1.0e-2, warmup: 0, validate_every: 20}",  # enough to end a text
    "evaluator.scratch.width=32",
    "evaluator.scratch.layers=1",
    "evaluator.problems=60",
    "evaluator.learning.steps=6",
    "evaluator.learning.batch=4",
    "evaluator.learning.validate_every=3",
    "evaluator.decoding.max_new_tokens=16",
    "evaluator.chunk=8",
    "evaluator.gate=0",
    "reward.terms={guarded: 1.0, likelihood: 0.5}",
    "reward.gates=[]",  # such a policy writes no sense
    "learner.iterations=2",
    "learner.prompts_per_step=2",
    "learner.samples_per_prompt=4",
    "learner.kl_coeff=0.05",
    "learner.spread_floor=0",
    "checkpoint.every=1",
    "checkpoint.validate_every=2",
    "checkpoint.validation_texts=3",
    "checkpoint.keep=5",
    "evaluate.rates=[0.6]",
    "evaluate.texts=6",
    "evaluate.seeds=2",
    "evaluate.bootstrap=100",
]


def configured(folder: Path, *more: str) -> AnyRun:
    return load_run(None, [*TINY, f"runs={folder}", "name=tiny", *more])


@pytest.fixture(scope="module")
def run(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return train(configured(tmp_path_factory.mktemp("runs"), "sft.continued=3"), command="the test")


def metrics(run: RunDirectory) -> list[dict[str, float]]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def test_a_run_leaves_everything_that_it_promises(run: RunDirectory) -> None:
    for name in ("config.yaml", "environment.json", "metrics.jsonl", "report.html", "artifact", "base", "sft"):
        assert (run.path / name).exists(), name
    assert run.state()["state"] == "finished"
    assert [row["step"] for row in metrics(run)] == [0, 1, 2]
    assert why_torn(find_checkpoint(run.checkpoints, "best")) is None
    assert discrepancies(run.samples, 4) == []


def test_the_reference_is_the_fine_tuned_policy(run: RunDirectory) -> None:
    first = metrics(run)[1]
    assert first["output/ended"] > 0
    assert first["learner/kl_reference"] == pytest.approx(0.0, abs=1e-6)
    assert first["learner/ratio_deviation"] < 1e-4


def test_every_method_was_measured(run: RunDirectory) -> None:
    folder = run.path / "evaluation"
    document = load_results(folder)
    measured = {row["method"] for row in document["results"] if row["metric"] == "accuracy"}
    assert measured == {"rl", *run.config.evaluate.methods}
    assert document["unavailable"] == {}
    assert json.dumps(recompute(folder), sort_keys=True) == json.dumps(document, sort_keys=True)


def test_the_evaluator_is_the_same_afterwards(run: RunDirectory) -> None:
    """Its version holds a hash of its weights; `tests/rlcompress/judges/test_solvers.py` looks at them in memory."""
    ledger = [json.loads(line) for line in run.samples.read_text().splitlines()]
    asked = {version for entry in ledger for version in entry["judges"]}
    afterwards = build_evaluator(settings_of(evaluator_folder(run))).version
    assert asked == {load_results(run.path / "evaluation")["judge"]} == {afterwards}


def test_the_artifact_rewrites_alike_wherever_it_lies(run: RunDirectory, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(run.artifact, moved)
    texts = [problem.text for problem in generated_problems(3, "test_numbers")]
    here, there = (PromptRewriter.from_pretrained(path, "cpu").rewrite(texts, 0.6) for path in (run.path, moved))
    assert here == there
    assert all(found.text for found in here)


def test_it_is_evaluated_on_a_file(run: RunDirectory, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    rows = [{"question": p.text, "answer": p.solution} for p in generated_problems(4, "test_templates", seed=5)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = evaluate(run.path, data=str(file), methods=["random"], rates=[0.5])
    assert folder == run.path / "evaluation-own"
    assert {row["n"] for row in load_results(folder)["results"] if row["metric"] == "achieved_rate"} == {4}
    with pytest.raises(UserError, match=r"give no --judge"):
        evaluate(run.path, judge="other")


def test_a_run_goes_on_to_the_same_weights(run: RunDirectory, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "tiny")
    again = train(None, resume=tmp_path / "tiny", checkpoint="iteration-000001")
    ends = [json.loads((path / "metrics.jsonl").read_text().splitlines()[-1]) for path in (run.path, again.path)]
    left, right = ({k: v for k, v in end.items() if k.startswith(("learner/", "reward/"))} for end in ends)
    assert left == right
    weights = [(path / "artifact" / "model" / "model.safetensors").read_bytes() for path in (run.path, again.path)]
    assert weights[0] == weights[1]


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES if name != "phi3"]


@pytest.mark.parametrize("architecture", ["phi3", *OTHERS])
def test_policies_of_real_architectures(ray_cluster: None, tmp_path: Path, architecture: str) -> None:
    folder = save_language(tmp_path / architecture, architecture, positions=1024)
    lora = ["policy.lora={rank: 4}"] if architecture in ("phi3", "gpt2") else []
    workers = ["sft.workers=2", "sft.cpus=0.5"] if architecture == "phi3" else []
    more = [f"policy.model={folder}", "evaluate.methods=[zero_shot,sft_only]"]
    run = train(configured(tmp_path / "runs", *more, *lora, *workers))
    assert [row["step"] for row in metrics(run)] == [0, 1, 2]
    assert (run.artifact / "model" / ("adapter_model.safetensors" if lora else "model.safetensors")).is_file()
    rewriter = PromptRewriter.from_pretrained(run.artifact, "cpu")
    served = [row.text for row in rewriter.rewrite([generated_problems(1, "test_numbers")[0].text], 0.6)]
    rewriter.save_pretrained(tmp_path / "saved")
    again = PromptRewriter.from_pretrained(tmp_path / "saved", "cpu")
    assert [row.text for row in again.rewrite([generated_problems(1, "test_numbers")[0].text], 0.6)] == served


@pytest.mark.slow
def test_gsm8k_goes_the_same_way(ray_cluster: None, real_data: Path, tmp_path: Path) -> None:
    rows = (real_data / "gsm8k" / "train.jsonl").read_text().splitlines()[:40]
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "train.jsonl").write_text("\n".join(rows) + "\n")
    run = train(configured(tmp_path / "runs", f"data.source={tmp_path / 'gsm8k'}", "data.max_tokens=900"))
    document = load_results(run.path / "evaluation")
    [solved] = [r for r in document["results"] if (r["method"], r["metric"]) == ("identity", "accuracy")]
    assert solved["mean"] < 0.5  # a small evaluator solves none of them


def test_a_gate_that_is_missed_says_what_to_do(ray_cluster: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"evaluator\.gate asks for 99%"):
        sft(configured(tmp_path, "evaluator.gate=0.99"))
