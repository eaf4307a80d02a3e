"""The report of rewriters: what is masking's alone is left out, originals stand beside what was made of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from rlcompress.judges.clauses import ClauseEvaluator
from rlcompress.measuring.results import load_results, write_results
from rlcompress.measuring.rewriting_results import evaluate_rewriters
from rlcompress.problems.generated import generated_problems
from rlcompress.problems.shortening import shorten
from rlcompress.reporting.report import write_report
from rlcompress.words import Unfinished
from tests.rlcompress.reporting.test_report import Page

PROBLEMS = [problem for split in ("test_problems", "test_numbers") for problem in generated_problems(5, split)]


def cut_off(prompts, rates):
    """Strong rewrites, of which the first did not end and the second lost its numbers."""
    texts = [shorten(prompt, "strong") for prompt in prompts]
    return [Unfinished(texts[0][:9]), "How many?", *texts[2:]]


def make_run(folder: Path, seed: int = 0) -> Path:
    rewriters = {"rl": cut_off, "sft_only": lambda prompts, rates: [shorten(prompt, "light") for prompt in prompts]}
    folder.mkdir()
    done = evaluate_rewriters(
        PROBLEMS, rewriters, (0.5, 0.7), ClauseEvaluator(), lambda text: len(text.split()), bootstrap=50
    )
    write_results(done, folder / "evaluation")
    (folder / "config.yaml").write_text(f"seed: {seed}\nlearner: {{algorithm: grpo}}\n", encoding="utf-8")
    lines = [{"step": i, "reward/mean": 0.1 * i, "validation/accuracy": 0.9} for i in range(4)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run-0")


@pytest.fixture(scope="module")
def text(run):
    return write_report([run], run / "plots", samples=len(PROBLEMS)).read_text(encoding="utf-8")


def test_the_page_holds_figures_learning_and_slices(text, run):
    page = Page(text)
    assert page.tags.count("svg") == 5  # learning, by rate, bars, methods by rates, by what was held out
    for row in load_results(run / "evaluation")["results"]:
        assert f"{row['mean']:.3f}" in text
    assert "accuracy by held_out" in text
    assert "The dashed line is identity" in text


def test_what_is_maskings_alone_is_left_out(text):
    for alien in ("passes", "struck through", "answer kept", "answer lost", "<del>"):
        assert alien not in text.partition("<h2>Results")[2]


def test_lengths_are_compared_beside_accuracy(text, run):
    document = load_results(run / "evaluation")
    [row] = [
        row
        for row in document["comparisons"]
        if (row["method"], row["against"], row["rate"], row["metric"]) == ("rl", "sft_only", 0.5, "achieved_rate")
    ]
    assert row["difference"] < 0
    assert f"{row['difference']:+.3f} <span" in text


def test_rewrites_stand_below_their_originals(text):
    for i, problem in enumerate(PROBLEMS):
        shown = text.partition(f'<div class="label">{problem.id}</div>')[2].partition('<div class="sample">')[0]
        before, _, after = shown.partition('<p class="text">')
        assert problem.text.replace("'", "&#39;") in before
        verdict = {0: "solved, did not end: the original is served", 1: "not solved"}.get(i, "solved")
        assert verdict in shown
        assert ("better" in shown) == (i > 1)
        assert shorten(problem.text, "strong").replace("'", "&#39;")[: 9 if i == 0 else None] in after or i == 1
    assert "#### " not in text  # solutions are no part of a prompt


def test_every_point_of_the_figure_is_a_measurement(text, run):
    document = load_results(run / "evaluation")
    keys = ("method", "rate", "achieved_rate", "mean", "ci_low", "ci_high")
    stored = {tuple(str(row[key]) for key in keys) for row in document["results"] if row["metric"] == "accuracy"}
    with (run / "plots" / "run-0-accuracy-by-rate.csv").open(encoding="utf-8", newline="") as file:
        points = [tuple(line[key] for key in keys) for line in csv.DictReader(file)]
    assert set(points) <= stored
    assert {point[0] for point in points} == {"rl", "sft_only", "identity"}
    assert (run / "plots" / "run-0-accuracy-by-rate.png").stat().st_size > 0


def test_trainings_are_shown_together(run, tmp_path):
    other = make_run(tmp_path / "run-1", seed=1)
    text = write_report([run, other], out=tmp_path / "report.html").read_text(encoding="utf-8")
    assert "rlcompress report · 2 trainings" in text
    assert "↓↓" in text
    Page(text)
