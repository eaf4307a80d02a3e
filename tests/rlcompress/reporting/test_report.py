"""The report shows what a run wrote, all of it from files, and names what is missing."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rlcompress.__main__ import main
from rlcompress.config.schema import DataConfig
from rlcompress.errors import UserError
from rlcompress.measuring.evaluation import evaluate
from rlcompress.measuring.results import load_results, write_results
from rlcompress.measuring.slices import slice_labels
from rlcompress.reporting.report import write_report
from rlcompress.reporting.samples import struck, survival
from rlcompress.reporting.scales import reward_scales
from rlcompress.words import Example
from tests.rlcompress.evaluation_fakes import (
    Identity,
    LengthJudge,
    LongestFirst,
    Random,
    ShortestFirst,
    rows,
    segmenter,
)

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Checks that tags close in order and collects what would be loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.deleted: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for key, value in attrs if key in ("src", "href", "xlink:href") and value[:1] != "#"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "del":
            self.deleted.append(data)


def measured(folder: Path, examples=None, rates=(0.5, 0.3), methods=None, slices=()):
    examples = examples or rows()
    methods = methods or (LongestFirst(), ShortestFirst(), Random(), Identity())
    labels, _ = slice_labels(examples, slices, "", DataConfig())
    evaluation = evaluate(examples, segmenter(), methods, rates, LengthJudge(), seeds=2, bootstrap=100, slices=labels)
    return write_results(evaluation, folder / "evaluation")


def logged(folder: Path, count: int = 5):
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as file:
        for i in range(count):
            row = {"step": i, "time": 0.5 * i, "reward/mean": 0.1 * i, "reward/std": 0.2, "reward/distortion": 0.1}
            row |= {"validation/distortion_bits": 2.0 - 0.1 * i} if i % 2 == 0 else {}
            file.write(json.dumps(row) + "\n")
        file.write('{"step": 5, "reward/me')  # the run is still writing


@pytest.fixture
def full_run(tmp_path):
    folder = tmp_path / "first"
    folder.mkdir()
    measured(folder)
    logged(folder)
    (folder / "config.yaml").write_text("seed: 7\nreward: {terms: {distortion: 1.0}}\n", encoding="utf-8")
    (folder / "environment.json").write_text('{"python": "3.11", "packages": {"numpy": "2"}}', encoding="utf-8")
    return folder


def test_one_page_that_needs_nothing_else(full_run):
    path = write_report([full_run])
    assert path == full_run / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert page.loads == []
    assert "script" not in page.tags
    assert page.tags.count("svg") == 4  # learning, curve by rate, bars, methods by rates
    assert path.stat().st_size < 1_000_000


def test_throughput_and_memory_come_from_the_metrics_alone(tmp_path):
    rows = [{"step": i, "speed/samples": 100.0 + i, "time/learn": 0.5, "memory/driver": 1.25} for i in range(1, 4)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    text = write_report([tmp_path], tmp_path / "plots").read_text(encoding="utf-8")
    assert "<tr><td>speed/samples</td><td>102</td><td>101.1</td><td>a second</td><td>3</td></tr>" in text
    assert "<tr><td>memory/driver</td><td>1.25</td><td>1.25</td><td>GB</td><td>3</td></tr>" in text
    assert Page(text).tags.count("svg") == 1
    assert (tmp_path / "plots" / f"{tmp_path.name}-cost-curves.png").stat().st_size > 0
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "reward/mean": 0.5}\n', encoding="utf-8")
    assert "No figures of throughput or memory" in write_report([tmp_path]).read_text(encoding="utf-8")


def test_figures_of_one_page_do_not_share_ids(full_run):
    text = write_report([full_run]).read_text(encoding="utf-8")
    owners: dict[str, int] = {}
    for number, svg in enumerate(re.findall(r"<svg.*?</svg>", text, re.DOTALL)):
        for name in re.findall(r'clipPath id="([^"]+)"', svg):
            assert owners.setdefault(name, number) == number


def test_table_holds_the_measured_figures(full_run):
    text = write_report([full_run]).read_text(encoding="utf-8")
    for row in load_results(full_run / "evaluation")["results"]:
        if row["mean"] is not None:
            assert f"{row['mean']:.3f}" in text


def test_dropped_words_are_struck_through(full_run):
    page = Page(write_report([full_run], samples=12).read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (full_run / "evaluation/outputs.jsonl").read_text("utf-8").splitlines()]
    texts = {example.id: example.text for example in rows()}
    dropped = sum(len(texts[line["id"]]) - len(line["text"]) for line in lines if line["method"] == "rl")
    assert sum(map(len, page.deleted)) == dropped


def test_samples_are_drawn_by_seed(full_run):
    def shown(seed):
        return re.findall(r"row#\d+", write_report([full_run], samples=4, seed=seed).read_text(encoding="utf-8"))

    first = shown(0)
    assert len(first) == 4
    assert first == shown(0)
    assert first != shown(1)


def test_missing_parts_are_named_and_not_drawn(tmp_path):
    page = write_report([tmp_path]).read_text(encoding="utf-8")
    assert "<svg" not in page
    for missing in ("no config.yaml", "No learning curves", "no evaluation/results.json", "No samples"):
        assert missing in page


def test_several_runs_on_one_page(full_run, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    measured(second)
    path = write_report([full_run, second])
    assert path == tmp_path / "report.html"
    assert Page(path.read_text(encoding="utf-8")).tags.count("svg") == 7


def test_results_outside_a_run_serve_too(tmp_path):
    measured(tmp_path)
    assert "<svg" in write_report([tmp_path / "evaluation"]).read_text(encoding="utf-8")


def test_texts_cannot_break_the_page(tmp_path):
    evil = "<script>alert(1)</script> </del> & \"quoted\" 'text' {{ 7 * 7 }}"
    measured(tmp_path, [Example(f"<b>{i}</b>", evil, question="<i>?", answer="</p>", group=str(i)) for i in range(3)])
    page = Page(write_report([tmp_path]).read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert "b" not in page.tags


def test_no_run_and_no_folder_are_errors(tmp_path):
    with pytest.raises(UserError, match="at least one"):
        write_report([])
    with pytest.raises(UserError, match="no run directory"):
        write_report([tmp_path / "absent"])


def test_plots_are_saved_as_png_and_pdf(full_run, tmp_path):
    write_report([full_run], tmp_path / "figures")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    shown = ("by-rate", "by-method", "heat-map")
    stems = {"first-learning-curves", *(f"first-distortion_bits-{plot}" for plot in shown)}
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf", "csv")}


def test_every_plotted_point_is_a_measurement(full_run, tmp_path):
    """What lies beside the pictures of results are rows of results.json, and nothing else."""
    write_report([full_run], tmp_path / "figures")
    keys = ("method", "rate", "metric", "achieved_rate", "mean")
    document = load_results(full_run / "evaluation")
    compressed = [r for r in document["results"] if r["metric"] == "distortion_bits" and r["method"] != "identity"]
    stored = {tuple(str(row[key]) for key in keys) for row in compressed}
    files = sorted((tmp_path / "figures").glob("*distortion_bits*.csv"))
    assert len(files) == 3
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            assert {tuple(line[key] for key in keys) for line in csv.DictReader(file)} == stored


def test_reward_scale_warns_of_what_cannot_teach():
    generator = np.random.default_rng(0)
    logged_rows = [
        {
            "step": i,
            "reward/mean": float(generator.normal()),
            "reward/std": 1e-5,
            "reward/group_spread": 0.1,
            "reward/flat": 0.5,
            "reward/huge": 100.0 + i,
            "reward/good": float(generator.normal()),
        }
        for i in range(20)
    ]
    found = {scale["name"]: scale for scale in reward_scales(logged_rows)}
    assert set(found) == {"reward/mean", "reward/flat", "reward/huge", "reward/good"}
    assert "teaches nothing" in found["reward/mean"]["warning"]
    assert found["reward/mean"]["over"] == "samples"
    assert "moved by less" in found["reward/flat"]["warning"]
    assert "order 1" in found["reward/huge"]["warning"]
    assert found["reward/good"]["warning"] == ""


class Asking(ShortestFirst):
    name = "asking"

    def passes_of(self, units):
        return 3


class Untaught(LongestFirst):
    """Another training of `rl`: it takes the first words as well as the long ones."""

    def __init__(self, weight):
        self.weight = weight

    def priorities(self, units, examples, rate, seed):
        longest = super().priorities(units, examples, rate, seed)
        return [p_N - self.weight * np.arange(len(p_N)) for p_N in longest]


def test_passes_and_slices_have_their_figures(tmp_path):
    methods = (LongestFirst(), Asking(), Random())
    measured(tmp_path, rows(24), methods=methods, slices=("length",))
    without = write_report([tmp_path], tmp_path / "plots").read_text(encoding="utf-8")
    assert "No slices" in without  # all rows are as long
    assert "<td>asking</td><td>3</td>" in without
    examples = [Example(f"{i}", e.text + " more" * (i % 3), group=f"{i}") for i, e in enumerate(rows(24))]
    measured(tmp_path, examples, methods=methods, slices=("length",))
    page = write_report([tmp_path], tmp_path / "plots").read_text(encoding="utf-8")
    Page(page)
    assert "distortion_bits by length" in page
    assert "<th>10 to 10 words</th>" in page
    written = {path.stem for path in (tmp_path / "plots").glob("*.csv")}
    assert {f"{tmp_path.name}-distortion_bits-{plot}" for plot in ("by-passes", "by-length")} <= written


def trained(folder: Path, seed: int, lr: float = 0.1):
    folder.mkdir()
    measured(folder, methods=(Untaught(0.4 * seed), ShortestFirst()))
    logged(folder)
    (folder / "config.yaml").write_text(f"seed: {seed}\nname: {folder.name}\nlr: {lr}\n", encoding="utf-8")
    return folder


def test_trainings_that_differ_by_seed_are_shown_together(tmp_path):
    runs = [trained(tmp_path / f"mine-{seed}", seed) for seed in range(2)]
    other = trained(tmp_path / "other-0", 0, lr=0.2)
    page = write_report([*runs, other], tmp_path / "plots").read_text(encoding="utf-8")
    Page(page)
    assert "<h1>mine over seeds</h1>" in page
    assert "mine-0, mine-1: one method" in page
    assert "<th>over trainings</th>" in page
    assert "other over seeds" not in page
    assert (tmp_path / "plots" / "mine-over-seeds-learning-curves.png").is_file()


def test_trainings_that_cannot_be_pooled_are_said_or_refused(tmp_path):
    runs = [trained(tmp_path / f"mine-{seed}", seed) for seed in range(2)]
    measured(runs[1], rows(12, seed=5)[1:])
    page = write_report(runs).read_text(encoding="utf-8")
    assert "are not shown together" in page
    assert "measured other rows" in page
    with pytest.raises(UserError, match="measured other rows"):
        write_report(runs, pool=True)


def test_whatever_is_asked_to_be_pooled_is(tmp_path):
    runs = [trained(tmp_path / f"mine-{seed}", seed, lr=seed) for seed in range(2)]
    assert "over seeds</h1>" not in write_report(runs).read_text(encoding="utf-8")
    assert "<h1>rl over seeds</h1>" in write_report(runs, pool=True).read_text(encoding="utf-8")


def test_the_command_pools_and_prints(tmp_path, capsys):
    runs = [str(trained(tmp_path / f"mine-{seed}", seed)) for seed in range(2)]
    assert main(["report", *runs, "--pool"]) == 0
    printed = capsys.readouterr().out
    assert "Over 2 training seeds:" in printed
    assert printed.endswith(f"{tmp_path / 'report.html'}\n")
    measured(Path(runs[1]), rows(12, seed=5)[1:])
    assert main(["report", *runs, "--pool"]) == 2
    assert "measured other rows" in capsys.readouterr().err


def test_questions_come_first_with_the_fate_of_their_answers(tmp_path):
    examples = [
        Example("a", "a big house stands here", "What?", "house", "1"),
        Example("b", "my old cat sleeps well", "Who?", "old cat", "2"),
        Example("c", "ab he saw dull trees", "Who?", "ab trees", "3"),
    ]
    measured(tmp_path, examples, rates=(0.4, 0.8))
    page = write_report([tmp_path]).read_text(encoding="utf-8")
    assert page.index("<h3>answer_retention:") < page.index("<h3>distortion_bits:")
    assert "<th>answer_retention</th><th>rl − method</th>" in page
    for fate in ("answer kept", "answer lost"):
        assert f">{fate}</span>" in page
    assert survival("ab trees", "ab he trees") == "answer kept in pieces"
    assert survival("ab he", "Ab, he trees") == "answer kept"
    assert survival("ab he", "he trees") == "answer lost"
    assert survival(None, "he trees") == ""


def test_struck_pieces_join_to_the_text():
    pieces = struck("one two three", [(0, 4), (8, 13)])
    assert pieces == [(True, "one "), (False, "two "), (True, "three")]
    assert struck("gone", []) == [(False, "gone")]
    assert struck("", []) == []
