"""Trainings of one method together: which they are, what their figures are, and the null hypothesis."""

import numpy as np
import pytest
from scipy import stats

from rlcompress.measuring.evaluation import Cell, Evaluation, Settings, evaluate
from rlcompress.measuring.metrics import QUANTITIES
from rlcompress.measuring.pooling import by_training, pool, same_but_seed, without_seed
from rlcompress.measuring.results import load_results, pooled_runs, recompute, write_results
from rlcompress.measuring.summary import comparison_rows, groups
from rlcompress.measuring.tables import is_significant, mark, over_trainings, text_table
from rlcompress.words import Example, Status
from tests.rlcompress.evaluation_fakes import LengthJudge, Random, ShortestFirst, rows, segmenter

METRIC = "distortion_bits"


class Trained(Random):
    """A deterministic policy that came out of a training with this seed."""

    stochastic = False

    def __init__(self, name, seed):
        self.name, self.seed = name, seed

    def priorities(self, units, examples, rate, seed):
        return super().priorities(units, examples, rate, self.seed)


def run(methods, reference, trainings=None):
    return evaluate(
        rows(),
        segmenter(),
        methods,
        (0.5, 0.3),
        LengthJudge(),
        seeds=2,
        bootstrap=100,
        reference=reference,
        trainings=trainings or {},
    )


def only(rows_of, **wanted):
    [row] = [row for row in rows_of if all(row[key] == value for key, value in wanted.items())]
    return row


def test_seeds_at_the_end_of_a_name():
    names = ("frozen-2", "frozen_seed2", "frozen.seed-10", "frozen")
    assert {without_seed(name) for name in names} == {"frozen"}
    assert without_seed("7") == "7"


def test_runs_that_differ_by_seed_only():
    configs = {
        "a-0": {"seed": 0, "name": "a-0", "lr": 0.1},
        "a-1": {"seed": 1, "name": "a-1", "lr": 0.1},
        "b-0": {"seed": 0, "name": "b-0", "lr": 0.2},
        "copy": {"seed": 0, "name": "copy", "lr": 0.3},
        "again": {"seed": 0, "name": "again", "lr": 0.3},
    }
    assert same_but_seed(configs) == {"a-0": "a", "a-1": "a"}
    assert same_but_seed(configs, ["a"]) == {"a-0": "a-0 and others", "a-1": "a-0 and others"}
    assert same_but_seed({}) == {}


def side_by_side():
    methods = [
        Trained("mine-0", 5),
        Trained("mine-1", 6),
        Trained("other-0", 7),
        Trained("other-1", 8),
        ShortestFirst(),
    ]
    trainings = {"mine-0": "mine", "mine-1": "mine", "other-0": "other", "other-1": "other"}
    return run([*methods, Random()], "mine-0", trainings)


def test_trainings_side_by_side_are_what_each_alone_is(tmp_path):
    """One comparison of four policies says over seeds what pooling two comparisons of two policies says."""
    together = write_results(side_by_side(), tmp_path / "together")
    for seed in (0, 1):
        alone = [Trained(f"mine-{seed}", 5 + seed), Trained(f"other-{seed}", 7 + seed), ShortestFirst(), Random()]
        write_results(run(alone, f"mine-{seed}"), tmp_path / f"seed-{seed}")
    apart = pooled_runs([tmp_path / "seed-0", tmp_path / "seed-1"])
    assert together["over_seeds"]["results"] == apart["results"]
    assert together["over_seeds"]["comparisons"] == apart["comparisons"]
    assert together["over_seeds"]["seeds"] == apart["seeds"] == 2
    assert recompute(tmp_path / "together") == together
    other = only(apart["comparisons"], against="other", rate=0.5, metric=METRIC)
    each = [
        only(load_results(tmp_path / f"seed-{s}")["comparisons"], against=f"other-{s}", rate=0.5, metric=METRIC)
        for s in (0, 1)
    ]
    assert other["differences"] == [one["difference"] for one in each]
    assert other["marks"] == "".join(mark(one) for one in each)
    assert other["difference"] == pytest.approx(np.mean(other["differences"]))
    low, high = stats.t.interval(0.95, 1, *(f(other["differences"]) for f in (np.mean, stats.sem)))
    assert (other["seeds_low"], other["seeds_high"]) == pytest.approx((low, high))
    table = text_table(together)
    assert "Over 2 training seeds" in table
    assert "mine − method" in table


def test_methods_of_another_number_of_trainings_stay_apart():
    methods = [Trained("a-0", 1), Trained("a-1", 2), Trained("b-0", 3), Trained("b-1", 4), Trained("c-0", 5)]
    trainings = {method.name: method.name[0] for method in methods}
    evaluation = run(methods, "c-0", trainings)
    first, second = by_training(evaluation)
    assert [cell.method for cell in first.cells if cell.rate == 0.5] == ["a", "b", "c-0"]
    assert first.settings.reference == second.settings.reference == "c-0"
    assert by_training(run(methods, "c-0")) == []


def test_the_common_name_may_be_that_of_the_first():
    methods = [Trained("a", 1), Trained("a-1", 2), ShortestFirst()]
    first, second = by_training(run(methods, "a", {"a": "a", "a-1": "a"}))
    assert [cell.method for cell in second.cells if cell.rate == 0.5] == ["a", "short"]
    assert first.cells[0].quantities["bits"].tolist() != second.cells[0].quantities["bits"].tolist()


def test_one_training_is_not_pooled(tmp_path):
    document = write_results(run([Trained("a-0", 1), ShortestFirst()], "a-0"), tmp_path)
    assert over_trainings(document) is None
    assert "trainings" not in document


def test_marks_say_who_is_better():
    lower = {"metric": METRIC, "ci_low": -0.2, "ci_high": -0.1}
    assert [mark(lower), mark({**lower, "ci_high": 0.1}), mark({**lower, "ci_low": 0.1, "ci_high": 0.2})] == [*"✓·✗"]
    assert mark({**lower, "metric": "answer_retention"}) == "✗"
    assert mark({**lower, "ci_low": None}) == "·"
    neither = {**lower, "metric": "achieved_rate"}
    higher = {"ci_low": 0.1, "ci_high": 0.2}
    assert [mark(neither), mark({**neither, "ci_high": 0.1}), mark(neither | higher)] == [*"↓·↑"]


def test_a_star_needs_the_interval_over_trainings_too():
    row = {"ci_low": 0.1, "ci_high": 0.2, "p_holm": 0.01}
    assert is_significant({**row, "seeds_low": 0.05, "seeds_high": 0.3})
    assert not is_significant({**row, "seeds_low": -0.05, "seeds_high": 0.3})
    assert is_significant({**row, "seeds_low": None, "seeds_high": None})


def two_equal_methods(generator, luck: float) -> list[Evaluation]:
    """Three trainings of two methods that differ by chance alone: `luck` is the spread between trainings."""
    groups_I = np.repeat(np.arange(30), 2)
    text_I = generator.normal(5, 1, 60)
    trained = []
    for _ in range(3):
        cells = []
        for name in ("rl", "other"):
            own_K = generator.normal(scale=0.5, size=30)
            bits_I = text_I + own_K[groups_I] + generator.normal(scale=0.3, size=60) + luck * generator.normal()
            quantities = {key: np.ones((1, 60)) for key in QUANTITIES} | {"bits": bits_I[None]}
            cells.append(Cell(name, 0.5, False, [[Status.OK] * 60], quantities))
        examples = [Example(str(i), "", group=str(group)) for i, group in enumerate(groups_I.tolist())]
        settings = Settings((0.5,), bootstrap=100, metrics=(METRIC,))
        trained.append(Evaluation(settings, {}, "", examples, cells))
    return trained


def null_study(trials: int, luck: float) -> tuple[float, float, float]:
    """Shares of trials with p > 0.05, with 0 in the interval over trainings, and with a star."""
    kept = covered = starred = 0
    for trial in range(trials):
        trained = two_equal_methods(np.random.default_rng([17, trial]), luck)
        document = pool(trained, [comparison_rows(one, groups(one)) for one in trained])
        [row] = document["comparisons"]
        kept += row["p"] > 0.05
        covered += row["seeds_low"] <= 0 <= row["seeds_high"]
        starred += is_significant(row)
    return kept / trials, covered / trials, starred / trials


def test_two_equal_methods_differ_in_one_case_of_twenty():
    kept, covered, starred = null_study(200, luck=0.0)
    assert 0.91 <= kept <= 0.985
    assert 0.91 <= covered <= 1.0
    assert starred <= 0.05


def test_luck_of_training_is_seen_by_the_interval_over_trainings_alone():
    """Why a star needs both: the test over texts knows nothing of how other trainings would have come out."""
    kept, covered, starred = null_study(200, luck=0.3)
    assert kept < 0.75
    assert 0.91 <= covered <= 0.985
    assert starred <= 0.09
