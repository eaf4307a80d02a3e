"""Figures of rewrites against slow twins, with failures, fallbacks, leaks and other forms of answers planted."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest

from rlcompress.judges.clauses import ClauseEvaluator
from rlcompress.measuring.rewrites import (
    QUANTITIES,
    MeasuredRewrite,
    accuracy_change,
    budget_error_p95,
    columns,
    difference,
    figures,
    measured,
)
from rlcompress.problems.generated import generated_problems
from rlcompress.problems.problem import WordProblem
from rlcompress.problems.shortening import shorten
from rlcompress.rewards.rewriting import Rewrite, leak_rate
from rlcompress.words import Judgement, Solve, Status, Unfinished

PROBLEMS = generated_problems(30)
TARGETS = [0.5, 0.7] * 15


def count(text: str) -> int:
    return len(text.split())


class Evaluator(ClauseEvaluator):
    """Fails on prompts with `fails` in them, and hedges (no strict form) on those with `hedges`."""

    calls = 0

    def judge(self, requests: Sequence[Solve]) -> list[Judgement]:
        self.calls += 1
        return [self._one(r, v) for r, v in zip(requests, super().judge(requests), strict=True)]

    def _one(self, request: Solve, verdict: Judgement) -> Judgement:
        if "fails" in request.text:
            return Judgement.failed("no answer")
        said = verdict.detail["said"]
        hedged = said.replace("#### ", "The answer is ") if "hedges" in request.text else said
        return Judgement(verdict.score, version=verdict.version, detail={"said": hedged})


def planted() -> list[str]:
    """Strong rewrites; every fifth lost its second sentence, others are spoiled as their words say."""
    texts = [shorten(problem.text, "strong") for problem in PROBLEMS]
    for i in range(0, 30, 5):
        texts[i] = ". ".join(texts[i].split(". ")[2:])
    texts[1] += " fails"
    texts[2] += " hedges"
    texts[3] = Unfinished(texts[3][:9])
    texts[4] += f" It is {PROBLEMS[4].answer}."
    return texts


def served() -> list[str]:
    return [p.text if isinstance(t, Unfinished) else t for p, t in zip(PROBLEMS, planted(), strict=True)]


@pytest.fixture(scope="module")
def rows() -> list[MeasuredRewrite]:
    return measured(PROBLEMS, planted(), TARGETS, Evaluator(), count)


def strict(outcome, gold) -> int:
    return int(outcome.answer.form == "strict" and outcome.answer.value == gold)


def slow_sums(rows: list[MeasuredRewrite]) -> dict[str, float]:
    """Row by row, as one would say it."""
    judged = [r for r in rows if r.after.status is Status.OK and r.before.status is Status.OK]
    right = [r for r in judged if r.after.answer.value == r.gold]
    return {
        "accuracy": len([r for r in right if r.after.answer.form == "strict"]) / len(judged),
        "accuracy_original": len([r for r in judged if r.before.answer.value == r.gold]) / len(judged),
        "right_in_other_forms": len([r for r in right if r.after.answer.form != "strict"]) / len(judged),
        "accuracy_change": sum(strict(r.after, r.gold) - strict(r.before, r.gold) for r in judged) / len(judged),
        "achieved_rate": sum(r.tokens_out for r in rows) / sum(r.tokens_in for r in rows),
        "budget_error": sum(abs(r.tokens_out / r.tokens_in - r.target) for r in rows) / len(rows),
        "leak_rate": leak_rate([Rewrite.of(p, t) for p, t in zip(PROBLEMS, served(), strict=True)]),
        "shut_rate": len([r for r in rows if r.shut]) / len(rows),
        "fallback_rate": len([r for r in rows if r.fell_back]) / len(rows),
        "failed_rate": (len(rows) - len(judged)) / len(rows),
    }


def test_figures_equal_their_slow_twins(rows):
    found, slow = figures(rows, draws=100), slow_sums(rows)
    assert set(found) == set(slow) == set(QUANTITIES)
    for name, value in slow.items():
        assert found[name].mean == pytest.approx(value), name
        assert found[name].low <= found[name].mean <= found[name].high
    assert found["accuracy_original"].mean == 1.0
    assert found["right_in_other_forms"].mean == pytest.approx(1 / 29)
    assert found["leak_rate"].mean == pytest.approx(1 / 30)
    assert found["failed_rate"].mean == pytest.approx(1 / 30)
    assert found["accuracy"].mean <= 1 - 6 / 29


def test_the_evaluator_is_asked_once():
    evaluator = Evaluator()
    measured(PROBLEMS[:3], planted()[:3], TARGETS[:3], evaluator, count)
    assert evaluator.calls == 1


def test_a_row_without_a_verdict_on_one_side_counts_on_neither():
    unsolved = WordProblem("x", PROBLEMS[0].text, "#### 12345", "rows")
    texts = [f"{unsolved.text} fails", PROBLEMS[1].text]
    found = figures(measured([unsolved, PROBLEMS[1]], texts, TARGETS[:2], Evaluator(), count), draws=100)
    assert found["accuracy"].mean == found["accuracy_original"].mean == 1.0
    assert found["failed_rate"].mean == 0.5


def test_what_did_not_end_falls_back_to_its_original_and_pays_for_it(rows):
    row = rows[3]
    assert row.fell_back
    assert row.tokens_out == row.tokens_in == count(PROBLEMS[3].text)
    assert row.after == row.before
    assert row.shut == ()


def slow_change(rows: list[MeasuredRewrite], draws: int, seed: int) -> tuple[float, np.ndarray]:
    """Accuracy after minus before, and the same of whole groups drawn one by one with the bootstrap's own numbers."""

    def change(some: list[MeasuredRewrite]) -> float:
        judged = [r for r in some if not (r.before.failed or r.after.failed)]
        after = [float(r.after.answer.strict and r.after.answer.value == r.gold) for r in judged]
        before = [float(r.before.answer.strict and r.before.answer.value == r.gold) for r in judged]
        return sum(after) / len(after) - sum(before) / len(before)

    known = {r.group for r in rows if r.judged}
    names = [group for group in dict.fromkeys(r.group for r in rows) if group in known]
    picked = np.random.default_rng([seed, 0]).integers(len(names), size=(draws, len(names)))
    drawn = [change([r for k in row for r in rows if r.group == names[k]]) for row in picked]
    return change(rows), np.asarray(drawn)


@pytest.mark.parametrize("seed", range(2))
def test_the_paired_change_equals_its_slow_twin(rows, seed):
    found = accuracy_change(rows, draws=100, seed=seed)
    mean, drawn = slow_change(rows, 100, seed)
    assert found.interval.mean == pytest.approx(mean)
    assert (found.interval.low, found.interval.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert found.interval.mean < 0


def test_two_methods_are_paired_on_the_rows_that_count_for_both(rows):
    originals = measured(PROBLEMS, [p.text for p in PROBLEMS], TARGETS, Evaluator(), count)
    found = difference(rows, originals, "accuracy", draws=100)
    both = [(a, b) for a, b in zip(rows, originals, strict=True) if a.judged and b.judged]
    assert len(both) == 29
    means = [np.mean([columns([r], "accuracy")[0, 0] for r in side]) for side in zip(*both, strict=True)]
    assert found.interval.mean == pytest.approx(means[0] - means[1])
    shorter = difference(rows, originals, "achieved_rate", draws=100)
    assert shorter.interval.high < 0
    nothing = difference(originals, originals, "accuracy", draws=100)
    assert (nothing.interval.mean, nothing.p) == (0.0, 1.0)
    with pytest.raises(ValueError, match="same problems in the same order"):
        difference(rows, originals[::-1], "accuracy")


def test_clusters_are_templates_or_problems():
    texts = [p.text for p in PROBLEMS]
    by_template = measured(PROBLEMS, texts, TARGETS, Evaluator(), count)
    by_problem = measured(PROBLEMS, texts, TARGETS, Evaluator(), count, cluster="problem")
    assert {row.group for row in by_template} == {p.template for p in PROBLEMS}
    assert [row.group for row in by_problem] == [p.id for p in PROBLEMS]


def test_order_changes_no_figure(rows):
    shuffled = random.Random(0).sample(rows, len(rows))
    found, other = figures(rows, draws=100), figures(shuffled, draws=100)
    assert {name: f.mean for name, f in other.items()} == pytest.approx({name: f.mean for name, f in found.items()})


def test_budget_errors(rows):
    errors = sorted(abs(r.tokens_out / r.tokens_in - r.target) for r in rows)
    assert errors[-3] <= budget_error_p95(rows) <= errors[-1]


def test_nothing_judged_has_no_figures():
    assert all(math.isnan(f.mean) for f in figures([]).values())
    failing = [f"{p.text} fails" for p in PROBLEMS[:4]]
    rows = measured(PROBLEMS[:4], failing, TARGETS[:4], Evaluator(), count)
    assert math.isnan(accuracy_change(rows).interval.mean)
    assert math.isnan(figures(rows)["accuracy"].mean)
    assert figures(rows)["failed_rate"].mean == 1.0
    assert math.isnan(budget_error_p95([]))
