"""Every point of every figure is a row of a results file; what was not measured is not drawn."""

import csv
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.measuring.evaluation import evaluate
from rlcompress.measuring.results import load_results, write_results
from rlcompress.measuring.tables import is_significant
from rlcompress.reporting import charts, plots
from tests.rlcompress.evaluation_fakes import (
    Identity,
    LengthJudge,
    LongestFirst,
    Random,
    ShortestFirst,
    rows,
    segmenter,
)

METRIC = "distortion_bits"
RATES = (0.7, 0.5, 0.3)


class Asking(ShortestFirst):
    def passes_of(self, units):
        return 3


def document(folder, rates=RATES, **settings):
    methods = (LongestFirst(), Asking(), Random(), Identity())
    write_results(
        evaluate(rows(24), segmenter(), methods, rates, LengthJudge(), seeds=2, bootstrap=100, **settings), folder
    )
    return load_results(folder)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    labels = ["short" if i % 3 else "long" for i in range(24)]
    return document(tmp_path_factory.mktemp("results"), slices={"length": labels})


def measured(results, *keys):
    found = [row for row in results["results"] if row["metric"] == METRIC and row["method"] != "identity"]
    return {tuple(row[key] for key in keys) for row in found}


def drawn(plot):
    return {tuple(map(float, point)) for axes in plot.figure.axes for line in axes.lines for point in line.get_xydata()}


def test_the_curve_holds_every_measured_point(results):
    plot = charts.rate_curve(results, METRIC)
    assert drawn(plot) == measured(results, "achieved_rate", "mean")
    assert {line.get_linestyle() for line in plot.figure.axes[0].lines} == {"-"}


def test_fewer_than_three_points_are_no_curve(tmp_path):
    plot = charts.rate_curve(document(tmp_path, (0.5, 0.3)), METRIC)
    assert {line.get_linestyle() for line in plot.figure.axes[0].lines} == {":"}


def test_bars_are_as_long_as_measured_and_starred_where_significant(results):
    plot = charts.bars(results, METRIC)
    widths = sorted(bar.get_width() for axes in plot.figure.axes for bar in axes.patches)
    assert widths == pytest.approx(sorted(mean for (mean,) in measured(results, "mean")))
    starred = [text for axes in plot.figure.axes for text in axes.texts if text.get_text().endswith("*")]
    compared = [
        c for c in results["comparisons"] if c["metric"] == METRIC and c["against"] != "identity" and is_significant(c)
    ]
    assert len(starred) == len(compared) == sum(point["significant"] for point in plot.points) > 0


def test_the_map_has_a_cell_a_method_and_rate(results):
    plot = charts.heat_map(results, METRIC)
    shown = sorted(float(text.get_text()) for text in plot.figure.axes[0].texts)
    assert shown == pytest.approx(sorted(mean for (mean,) in measured(results, "mean")), abs=5e-4)
    [mesh] = plot.figure.axes[0].collections
    methods = [label.get_text() for label in plot.figure.axes[0].get_yticklabels()]
    best = [methods[m] for m in np.asarray(mesh.get_array()).argmax(0)]
    assert best == ["rl"] * len(RATES)  # the fewest bits: the darkest cell of its column


def test_passes_are_those_of_the_file(results, tmp_path):
    plot = charts.passes_scatter(results, METRIC)
    passes = results["passes"]
    assert drawn(plot) == {(passes[method], mean) for method, mean in measured(results, "method", "mean")}
    assert {x for x, _ in drawn(plot)} == {0, 3}
    unknown = {key: value for key, value in results.items() if key != "passes"}
    assert charts.passes_scatter(unknown, METRIC) is None


def test_slices_are_drawn_from_their_rows(results):
    plot = charts.slice_chart(results, "length", METRIC)
    found = [row for row in results["slices"] if row["metric"] == METRIC and row["method"] != "identity"]
    shown = sorted(float(x) for axes in plot.figure.axes for line in axes.lines for x in line.get_xdata())
    assert shown == pytest.approx(sorted(row["mean"] for row in found))
    assert charts.slice_chart(results, "question_kind", METRIC) is None


def test_what_was_not_measured_is_not_drawn(results, tmp_path):
    nothing = {**results, "results": []}
    assert charts.rate_curve(nothing, METRIC) is None
    assert charts.bars(nothing, METRIC) is None
    assert charts.heat_map(nothing, METRIC) is None
    assert charts.heat_map(document(tmp_path, (0.5,)), METRIC) is None


def test_the_points_lie_beside_the_picture(results, tmp_path):
    plot = charts.rate_curve(results, METRIC)
    plots.save(plot, tmp_path / "plots", "curve")
    assert {path.suffix for path in (tmp_path / "plots").iterdir()} == {".png", ".pdf", ".csv"}
    with (tmp_path / "plots" / "curve.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {(float(line["achieved_rate"]), float(line["mean"])) for line in lines} == drawn(plot)


def test_curves_leave_out_what_was_not_logged():
    rows_logged = [
        {"step": 0, "reward/mean": 1.0},
        {"step": 1},
        {"step": 2, "reward/mean": float("nan")},
    ]
    assert plots.curve(rows_logged, "reward/mean").tolist() == [[0, 1]]
    assert plots.learning_curves([{"step": 0, "loss": 1.0}]) is None
    assert len(plots.learning_curves(rows_logged).figure.axes) == 1


def test_learning_shows_reward_and_what_no_reward_has_seen():
    logged = [{"step": i, "reward/mean": i, "heldout/distortion_bits": 3.0 - i, "loss": 1.0} for i in range(3)]
    plot = plots.learning_curves(logged)
    titles = [axes.get_title(loc="left") for axes in plot.figure.axes]
    assert titles == ["reward/mean", "heldout/distortion_bits"]
    assert len(plot.points) == 6


def test_several_trainings_have_a_mean_where_all_have_a_value():
    first = [{"step": i, "reward/mean": float(i)} for i in range(4)]
    second = [{"step": i, "reward/mean": 2.0 + i} for i in range(1, 6)]
    plot = plots.learning_curves(first, second)
    thin, other, mean = plot.figure.axes[0].lines
    assert (len(thin.get_xydata()), len(other.get_xydata())) == (4, 5)
    assert mean.get_xydata().tolist() == [[1, 2], [2, 3], [3, 4]]
    assert len(plot.points) == 9


@given(st.lists(st.floats(-5, 5), max_size=12), st.floats(0.01, 2))
def test_labels_keep_their_order_and_distance(places, gap):
    settled = charts.apart(sorted(places), gap)
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(settled))
    assert np.mean(settled) == pytest.approx(np.mean(places), abs=1e-9) if places else settled == []


def test_labels_that_are_apart_stay():
    assert charts.apart([0.0, 1.0, 3.0], 0.5) == [0.0, 1.0, 3.0]
    assert charts.apart([0.0, 0.0, 3.0], 1.0) == [-0.5, 0.5, 3.0]
