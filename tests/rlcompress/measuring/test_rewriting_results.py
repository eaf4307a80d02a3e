"""An evaluation of rewriters has the figures of its measured rewrites, in the files that every evaluation has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from rlcompress.errors import UserError
from rlcompress.judges.clauses import ClauseEvaluator
from rlcompress.measuring.results import FILES, load_results, pooled, read_jsonl, recompute, write_results
from rlcompress.measuring.rewrites import (
    QUANTITIES,
    accuracy_change,
    budget_error_p95,
    difference,
    figures,
    measured,
)
from rlcompress.measuring.rewriting_results import (
    REWRITING_METRICS,
    Trial,
    evaluate_rewriters,
    evaluation_of,
    held_out,
)
from rlcompress.measuring.tables import compared, text_table
from rlcompress.problems.generated import generated_problems
from rlcompress.problems.problem import WordProblem
from rlcompress.problems.shortening import shorten
from rlcompress.words import Example, Judgement, Solve, Unfinished

PROBLEMS = [
    problem for split in ("test_problems", "test_numbers", "test_templates") for problem in generated_problems(6, split)
]
RATES = (0.5, 0.7)
DRAWS = 60


def count(text: str) -> int:
    return len(text.split())


class Evaluator(ClauseEvaluator):
    """Fails on prompts with `fails` in them."""

    def judge(self, requests: Sequence[Solve]) -> list[Judgement]:
        verdicts = super().judge(requests)
        return [
            Judgement.failed("no answer") if "fails" in request.text else verdict
            for request, verdict in zip(requests, verdicts, strict=True)
        ]


class Shorten:
    """By rule at a level; every `cut`-th text is cut off, every `lost`-th has no second sentence, one shall fail."""

    def __init__(self, level: str, cut: int = 99, lost: int = 99, failing: int | None = None) -> None:
        self.level, self.cut, self.lost, self.failing = level, cut, lost, failing

    def __call__(self, prompts: Sequence[str], rates: Sequence[float]) -> list[str]:
        return [self.one(i, text) for i, text in enumerate(prompts)]

    def one(self, number: int, text: str) -> str:
        short = shorten(text, self.level)
        if number == self.failing:
            return f"{short} fails"
        if number % self.lost == 1:
            first, _, *rest = short.split(". ")
            return ". ".join([first, *rest[1:]])
        return Unfinished(short[:7]) if number % self.cut == 0 else short


def broken(prompts: Sequence[str], rates: Sequence[float]) -> list[str]:
    raise UserError("no weights here")


REWRITERS = {
    "rl": Shorten("strong", cut=7, failing=4),
    "sft_only": Shorten("medium", lost=3),
    "light": [Shorten("light"), Shorten("light", lost=5)],
    "absent": broken,
}


@pytest.fixture(scope="module")
def evaluation():
    return evaluate_rewriters(PROBLEMS, REWRITERS, RATES, Evaluator(), count, bootstrap=DRAWS, trainings={"rl": "rl"})


@pytest.fixture(scope="module")
def folder(evaluation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_results(evaluation, folder)
    return folder


@pytest.fixture(scope="module")
def document(folder):
    return load_results(folder)


def rows_of(name: str, rate: float = 0.5):
    rewriter = REWRITERS[name]
    assert not isinstance(rewriter, list)
    texts = rewriter([problem.text for problem in PROBLEMS], [rate] * len(PROBLEMS))
    return measured(PROBLEMS, texts, [rate] * len(PROBLEMS), Evaluator(), count)


def only(rows, **wanted):
    [row] = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row


def triple(row, key="mean"):
    return row[key], row["ci_low"], row["ci_high"]


@pytest.mark.parametrize("method", ["rl", "sft_only"])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_figure_is_that_of_the_measured_rows(document, method, quantity):
    found = only(document["results"], method=method, rate=0.5, metric=quantity)
    wanted = figures(rows_of(method), draws=DRAWS)[quantity]
    assert triple(found) == pytest.approx((wanted.mean, wanted.low, wanted.high), abs=1e-11)
    assert found["n"] == len(PROBLEMS) - (method == "rl" and quantity.startswith(("accuracy", "right")))
    assert found["seeds"] == 1


def test_the_quantile_of_the_budget_error(document):
    for rate in RATES:
        found = only(document["results"], method="rl", rate=rate, metric="budget_error_p95")
        assert found["mean"] == pytest.approx(budget_error_p95(rows_of("rl", rate)))
        assert found["ci_low"] <= found["mean"] <= found["ci_high"]


def test_the_reference_is_compared_in_accuracy_and_length(document):
    own, other = rows_of("rl"), rows_of("sft_only")
    for metric in ("accuracy", "achieved_rate"):
        wanted = difference(own, other, metric, draws=DRAWS)
        found = compared(document)["sft_only", 0.5, metric]
        interval = wanted.interval
        assert triple(found, "difference") == pytest.approx((interval.mean, interval.low, interval.high), abs=1e-11)
        assert (found["p"], found["groups"]) == (pytest.approx(wanted.p), wanted.groups)
    assert {metric for _, _, metric in compared(document)} == {"accuracy", "achieved_rate"}
    assert {method for method, _, _ in compared(document)} == {"sft_only", "light", "identity"}


@pytest.mark.parametrize("method", ["rl", "sft_only"])
def test_every_method_is_compared_with_its_originals(document, method):
    wanted = accuracy_change(rows_of(method), draws=DRAWS)
    found = only(document["comparisons"], method=method, against="identity", rate=0.5, metric="accuracy")
    interval = wanted.interval
    assert triple(found, "difference") == pytest.approx((interval.mean, interval.low, interval.high), abs=1e-11)
    assert found["p"] == pytest.approx(wanted.p)
    change = only(document["results"], method=method, rate=0.5, metric="accuracy_change")
    assert triple(change) == pytest.approx(triple(found, "difference"), abs=1e-11)
    assert only(document["results"], method="identity", rate=0.5, metric="accuracy")["mean"] == 1.0


def test_originals_are_measured_or_made_of_their_verdicts():
    keep = {"identity": lambda prompts, rates: list(prompts)}
    short = {"rl": REWRITERS["sft_only"]}
    made, asked = (evaluate_rewriters(PROBLEMS[:4], r, [0.5], Evaluator(), count) for r in (short, short | keep))
    for one, other in zip(made.cells, asked.cells, strict=True):
        assert (one.method, one.rate, one.statuses) == (other.method, other.rate, other.statuses)
        for name, values_SI in one.quantities.items():
            np.testing.assert_array_equal(values_SI, other.quantities[name])


def test_files_and_what_is_in_them(folder, document):
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert {"schema", "data", "judge", "settings", "results", "comparisons", "unavailable"} <= document.keys()
    assert recompute(folder) == document
    assert document["unavailable"] == {"absent": "no weights here"}
    assert document["data"]["rows"] == len(PROBLEMS)
    assert tuple(document["settings"]["metrics"]) == REWRITING_METRICS
    assert [row["id"] for row in read_jsonl(folder / "texts.jsonl")] == [problem.id for problem in PROBLEMS]
    outputs = list(read_jsonl(folder / "outputs.jsonl"))
    assert len(outputs) == len(PROBLEMS) * len(RATES) * (1 + 1 + 2 + 1)
    cut, failed, plain = (only(outputs, method="rl", rate=0.5, item=item) for item in (0, 4, 2))
    assert cut["text"] == shorten(PROBLEMS[0].text, "strong")[:7]
    assert (cut["finished"], cut["right"]) == (False, True)  # of the original, which is served
    assert (failed["right"], failed["right_original"]) == (None, True)
    assert (plain["text"], plain["shut"], plain["spans"]) == (shorten(PROBLEMS[2].text, "strong"), [], None)
    assert {row["seed"] for row in outputs if row["method"] == "light"} == {0, 1}
    table = (folder / "table.txt").read_text("utf-8")
    assert all(name in table for name in ("rl − method", "budget_error_p95", "leak_rate", "absent is unavailable"))


def test_several_rewriters_of_a_name_are_seeds(document):
    found = only(document["results"], method="light", rate=0.7, metric="accuracy")
    texts = [problem.text for problem in PROBLEMS]
    each = [
        figures(measured(PROBLEMS, rewrite(texts, ()), [0.7] * len(texts), Evaluator(), count), draws=2)["accuracy"]
        for rewrite in REWRITERS["light"]
    ]
    assert found["seeds"] == 2
    assert found["mean"] == pytest.approx(np.mean([one.mean for one in each]))
    assert found["seed_sd"] == pytest.approx(np.std([one.mean for one in each], ddof=1))


def test_what_was_held_out_is_measured_apart(document):
    assert {row["label"] for row in document["slices"]} == {"test_problems", "test_numbers", "test_templates"}
    part = [problem for problem in PROBLEMS if "test_numbers" in problem.id]
    rows = [row for row in rows_of("sft_only") if "test_numbers" in row.problem]
    assert len(rows) == len(part) == 6
    found = only(document["slices"], label="test_numbers", method="sft_only", rate=0.5, metric="accuracy")
    wanted = figures(rows, draws=DRAWS)["accuracy"]
    assert triple(found) == pytest.approx((wanted.mean, wanted.low, wanted.high))
    own = [row for row in rows_of("rl") if "test_numbers" in row.problem]
    assert found["comparison"]["difference"] == pytest.approx(difference(own, rows, "accuracy").interval.mean)


@pytest.mark.parametrize("ids", [["a#1", "a#2"], ["problems/test_numbers/0/1", "problems/test_numbers/7/12"]])
def test_one_kind_is_no_slice(ids):
    assert held_out([Example(name, "t") for name in ids]) == {}


def test_training_seeds_together(tmp_path):
    """The mean over seeds inside the bootstrap, a mark and a difference a seed, and their spread."""
    folders, documents = [], []
    for seed, lost in enumerate((3, 4, 5)):
        rewriters = {"rl": Shorten("strong"), "sft_only": Shorten("medium", lost=lost)}
        done = evaluate_rewriters(PROBLEMS, rewriters, [0.5], Evaluator(), count, bootstrap=DRAWS)
        folders.append(tmp_path / f"run-{seed}")
        documents.append(write_results(done, folders[-1]))
    together = pooled(folders)
    assert together["seeds"] == 3
    for metric, marks in (("accuracy", "✓✓✓"), ("achieved_rate", "↓↓↓")):
        row = compared(together)["sft_only", 0.5, metric]
        each = [compared(one)["sft_only", 0.5, metric]["difference"] for one in documents]
        assert row["marks"] == marks
        assert row["differences"] == each
        if metric == "accuracy":  # a quotient of the same tokens is no mean of quotients
            assert row["difference"] == pytest.approx(np.mean(each))
    lost = only(together["comparisons"], method="sft_only", against="identity", rate=0.5, metric="accuracy")
    assert lost["marks"] == "✗✗✗"
    found = only(together["results"], method="sft_only", rate=0.5, metric="accuracy")
    means = [only(one["results"], method="sft_only", rate=0.5, metric="accuracy")["mean"] for one in documents]
    assert (found["seeds"], found["seed_sd"]) == (3, pytest.approx(np.std(means, ddof=1)))
    assert {row["label"] for row in together["slices"]} == {"test_problems", "test_numbers", "test_templates"}
    assert "Over 3 training seeds" in text_table(together)


def test_trials_are_of_the_same_problems_in_the_same_order():
    rows = rows_of("sft_only")
    texts = [problem.text for problem in PROBLEMS]
    good = Trial("rl", 0.5, texts, rows)
    assert evaluation_of(PROBLEMS, [good], judge="j").cells[0].method == "rl"
    for bad in (replace(good, rows=rows[::-1]), replace(good, rows=rows[:-1]), replace(good, texts=texts[1:])):
        with pytest.raises(ValueError, match=r"rl at 0\.5 measured other problems"):
            evaluation_of(PROBLEMS, [bad], judge="j")


def test_what_cannot_be_measured():
    with pytest.raises(UserError, match="no rewrites were measured"):
        evaluate_rewriters([], {"rl": Shorten("light")}, [0.5], Evaluator(), count)
    with pytest.raises(UserError, match="no weights here"):
        evaluate_rewriters(PROBLEMS, {"rl": broken}, [0.5], Evaluator(), count)


def test_an_evaluator_that_always_fails_gives_no_accuracy(tmp_path):
    failing = {"rl": lambda prompts, rates: [f"{prompt} fails" for prompt in prompts]}
    problems = [WordProblem(f"a#{i}", "How many is 2 and 3?", "#### 5", "rows") for i in range(3)]
    document = write_results(evaluate_rewriters(problems, failing, [0.5], Evaluator(), count, bootstrap=5), tmp_path)
    assert only(document["results"], method="rl", metric="accuracy")["mean"] is None
    assert only(document["results"], method="rl", metric="failed_rate")["mean"] == 1.0
    assert only(document["results"], method="rl", metric="accuracy")["judge_failed"] == 3
    assert compared(document)["identity", 0.5, "accuracy"]["difference"] is None
    assert not math.isnan(only(document["results"], method="rl", metric="achieved_rate")["mean"])
