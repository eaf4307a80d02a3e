"""The evaluation path from rows to figures on disk, with judges and methods that can be checked by hand."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from rlcompress.data.dataset import row_hash
from rlcompress.errors import UserError
from rlcompress.measuring.evaluation import evaluate, refuse_trained
from rlcompress.measuring.results import (
    FILES,
    load_results,
    pooled,
    pooled_splits,
    read_jsonl,
    recompute,
    write_results,
)
from rlcompress.measuring.summary import summarise
from rlcompress.measuring.tables import is_significant, text_table
from rlcompress.selection import select
from rlcompress.words import Example, JudgeRequest
from tests.rlcompress.evaluation_fakes import (
    Identity,
    LengthJudge,
    LongestFirst,
    Random,
    ShortestFirst,
    SilentJudge,
    Unfitted,
    rows,
    segmenter,
)

METHODS = (LongestFirst(), ShortestFirst(), Random(), Identity())


def run(examples=None, methods=METHODS, rates=(0.5, 0.3), judge=None, **settings):
    settings = {"seeds": 3, "bootstrap": 200, **settings}
    examples = rows() if examples is None else examples
    return evaluate(examples, settings.pop("cut", segmenter()), methods, rates, judge or LengthJudge(), **settings)


def figure(document, method, rate, metric):
    found = [r for r in document["results"] if (r["method"], r["rate"], r["metric"]) == (method, rate, metric)]
    assert len(found) == 1
    return found[0]


def compared(document, against, rate, metric):
    found = [c for c in document["comparisons"] if (c["against"], c["rate"], c["metric"]) == (against, rate, metric)]
    assert len(found) == 1
    return found[0]


def test_corpus_figures_are_sums_over_sums():
    examples = [Example("a", "aaaa bb", group="1"), Example("b", "c dd eee ffff", group="2")]
    document = summarise(run(examples, rates=(0.5,)))
    # rl keeps "aaaa", then "eee ffff": 2 bits of "bb", 1 + 2 of "c dd"; 6 words in all; only "c" is guessed right
    assert figure(document, "rl", 0.5, "distortion_bits")["mean"] == pytest.approx(5 / 6)
    assert figure(document, "rl", 0.5, "token_accuracy")["mean"] == pytest.approx(1 / 3)
    assert figure(document, "rl", 0.5, "achieved_rate")["mean"] == pytest.approx(0.5)
    # short keeps "bb", then "c dd"
    assert figure(document, "short", 0.5, "distortion_bits")["mean"] == pytest.approx(11 / 6)
    difference = compared(document, "short", 0.5, "distortion_bits")
    assert difference["difference"] == pytest.approx(-1.0)


def test_one_row_for_each_method_rate_and_metric():
    document = summarise(run())
    keys = [(r["method"], r["rate"], r["metric"]) for r in document["results"]]
    assert len(keys) == len(set(keys)) == 4 * 2 * 3
    assert {"method", "rate", "achieved_rate", "metric", "mean", "ci_low", "ci_high", "n", "seeds"} <= set(
        document["results"][0]
    )
    assert len(document["comparisons"]) == 3 * 2 * 3


def test_better_method_wins_with_its_interval():
    difference = compared(summarise(run()), "short", 0.5, "distortion_bits")
    assert difference["ci_low"] < difference["difference"] < difference["ci_high"] < 0
    assert difference["p"] <= difference["p_holm"]
    assert (difference["n"], difference["groups"]) == (12, 6)
    assert difference["effect"] < 0


def test_seeds_move_stochastic_methods_only():
    document = summarise(run())
    random = figure(document, "random", 0.5, "distortion_bits")
    assert random["seeds"] == 3
    assert random["seed_sd"] > 0
    assert random["stochastic"]
    rl = figure(document, "rl", 0.5, "distortion_bits")
    assert (rl["seeds"], rl["seed_sd"], rl["stochastic"]) == (1, None, False)


def test_stochastic_figures_average_over_seeds():
    evaluation = run(methods=(Random(),), rates=(0.5,), metrics=("distortion_bits",))
    cell = evaluation.cells[0]
    by_hand = []
    for i, example in enumerate(evaluation.examples):
        units = segmenter()(example.text)
        verdicts = []
        for seed in range(3):
            kept = select(units, np.random.default_rng([seed, i]).random(len(units)), 0.5)
            verdicts.append(LengthJudge().judge([JudgeRequest.of(kept)])[0].score)
        assert cell.quantities["bits"][:, i].tolist() == verdicts
        by_hand.append(np.mean(verdicts) / len(units))
    assert figure(summarise(evaluation), "random", 0.5, "distortion_bits")["mean"] == pytest.approx(np.mean(by_hand))


def test_identity_keeps_everything_at_every_rate():
    document = summarise(run())
    for rate in (0.5, 0.3):
        assert figure(document, "identity", rate, "distortion_bits")["mean"] == 0
        assert figure(document, "identity", rate, "achieved_rate")["mean"] == 1
        nothing = figure(document, "identity", rate, "token_accuracy")
        assert (nothing["mean"], nothing["ci_low"], nothing["n"]) == (None, None, 0)


def test_answers_are_measured_where_rows_have_them():
    examples = [
        Example("a", "a big house stands here", "What?", "house", "1"),
        Example("b", "my old cat sleeps well", "Who?", "old cat", "2"),
        Example("c", "it has no answer at all", "Why?", None, "3"),
    ]
    document = summarise(run(examples, methods=(LongestFirst(), Identity()), rates=(0.4,)))
    kept = figure(document, "rl", 0.4, "answer_retention")  # "house stands", "sleeps well"
    assert (kept["mean"], kept["n"]) == (0.5, 2)
    assert figure(document, "identity", 0.4, "answer_span")["mean"] == 1
    assert not [r for r in summarise(run())["results"] if r["metric"].startswith("answer")]


def test_failed_judgements_are_counted_and_leave_both_sides_of_a_pair():
    examples = [*rows(8), Example("bad", "fail " * 9 + "fail", group="bad")]
    document, without = summarise(run(examples)), summarise(run(rows(8)))
    bad = figure(document, "rl", 0.5, "distortion_bits")
    assert (bad["judge_failed"], bad["n"]) == (1, 8)
    assert bad["mean"] == figure(without, "rl", 0.5, "distortion_bits")["mean"]
    assert compared(document, "short", 0.5, "distortion_bits") == compared(without, "short", 0.5, "distortion_bits")
    assert figure(document, "rl", 0.5, "achieved_rate")["n"] == 9  # needs no judge
    assert "judge failed" in text_table({**document, "settings": settings_of(run(examples))})


def test_a_judge_that_does_not_answer_fails_every_item():
    document = summarise(run(judge=SilentJudge()))
    rl = figure(document, "rl", 0.5, "distortion_bits")
    assert (rl["mean"], rl["n"], rl["judge_failed"]) == (None, 0, 12)


def test_rows_over_the_budget_are_counted_and_left_out():
    examples = [*rows(8), Example("numbers", "1 2 3 4 5 6 7 8 9 word", group="numbers")]
    document = summarise(run(examples, cut=segmenter(["numbers"])))
    over = figure(document, "rl", 0.5, "achieved_rate")
    assert (over["over_budget"], over["n"]) == (1, 8)
    assert over["mean"] <= 0.5
    assert compared(document, "short", 0.5, "distortion_bits")["n"] == 8


def test_a_method_that_cannot_run_is_named_with_the_reason():
    evaluation = run(methods=(*METHODS, Unfitted()))
    assert evaluation.unavailable == {"rare": "rare is not fitted: call fit with the training texts"}
    assert not [cell for cell in evaluation.cells if cell.method == "rare"]


def test_the_evaluated_artifact_must_run():
    with pytest.raises(UserError, match="not fitted"):
        run(methods=(Unfitted(),), reference="rare")


def test_without_a_reference_there_is_nothing_to_compare():
    document = summarise(run(methods=(ShortestFirst(), Identity())))
    assert document["comparisons"] == []
    assert len(document["results"]) == 2 * 2 * 3


def test_judges_are_asked_in_batches_and_batches_change_nothing():
    judge = LengthJudge()
    small = run(methods=(LongestFirst(),), rates=(0.5,), judge=judge, batch=5)
    assert judge.calls == [5, 5, 2]
    assert summarise(small) == summarise(run(methods=(LongestFirst(),), rates=(0.5,)))


def test_each_method_gets_a_judge_adapted_to_its_own_masks():
    asked: dict[str, list[JudgeRequest]] = {}

    def adapt(method, requests):
        asked[method] = requests
        return LengthJudge(bits_per_letter=0.5)

    tuning = rows(6, seed=9)
    evaluation = run(adapt=adapt, adapt_examples=tuning)
    document = summarise(evaluation)
    assert set(asked) == {"rl", "short", "random"}  # identity drops nothing
    assert len(asked["rl"]) == 6 * 2
    assert {request.source for request in asked["rl"]} == {example.text for example in tuning}
    shared, own = (
        figure(document, "rl", 0.5, metric)["mean"] for metric in ("distortion_bits", "distortion_bits_adapted")
    )
    assert own == pytest.approx(shared / 2)
    assert figure(document, "identity", 0.5, "distortion_bits_adapted")["n"] == 0


def test_trained_rows_are_refused_by_count_and_id():
    examples = rows(8)
    trained = {row_hash(example) for example in examples[:6]}
    with pytest.raises(UserError, match=r"6 of 8 rows .*row#0, row#1, row#2, row#3, row#4, \.\.\..*--skip-trained"):
        refuse_trained(examples, trained)
    assert [example.id for example in refuse_trained(examples, trained, skip=True)] == ["row#6", "row#7"]
    assert refuse_trained(examples, set()) == examples


def test_nothing_left_to_evaluate_is_an_error():
    examples = rows(2)
    with pytest.raises(UserError, match="all 2 rows"):
        refuse_trained(examples, {row_hash(example) for example in examples}, skip=True)
    with pytest.raises(UserError, match="no rows"):
        run(examples=[])


def test_an_unknown_metric_is_refused():
    with pytest.raises(UserError, match=r"unknown metric 'blue'.*token_accuracy"):
        run(metrics=("blue",))


def settings_of(evaluation):
    return {
        "metrics": list(evaluation.settings.metrics),
        "reference": evaluation.settings.reference,
        "level": evaluation.settings.level,
    }


def test_results_on_disk(tmp_path):
    evaluation = run(skipped=4)
    document = write_results(evaluation, tmp_path / "evaluation")
    assert {path.name for path in (tmp_path / "evaluation").iterdir()} == set(FILES)
    assert load_results(tmp_path / "evaluation") == document == load_results(tmp_path / "evaluation" / "results.json")
    assert set(document) >= {"data", "judge", "results", "comparisons", "unavailable", "schema", "settings"}
    assert document["data"]["rows"] == 12
    assert document["data"]["skipped_trained"] == 4
    lines = list(read_jsonl(tmp_path / "evaluation" / "outputs.jsonl"))
    assert len(lines) == 2 * 12 * (1 + 1 + 3 + 1)
    texts = {e.id: e.text for e in evaluation.examples}
    for line in lines:
        assert line["text"] == "".join(texts[line["id"]][a:b] for a, b in line["spans"])
    table = (tmp_path / "evaluation" / "table.txt").read_text(encoding="utf-8")
    assert "rl − method" in table
    assert max(map(len, table.splitlines())) < 150


def test_intervals_are_recomputed_from_the_stored_items(tmp_path):
    examples = [*rows(8), Example("bad", "fail " * 9 + "fail", group=""), Example("alone", "a bb cc ddd", group="")]
    document = write_results(run(examples, adapt=lambda m, r: LengthJudge(0.7), adapt_examples=rows(3, 5)), tmp_path)
    assert recompute(tmp_path) == document
    stored = pq.read_table(tmp_path / "items.parquet")
    bits = stored["bits"].to_pylist()
    changed = stored.set_column(stored.column_names.index("bits"), "bits", [[b * 2 if b else b for b in bits]])
    pq.write_table(changed, tmp_path / "items.parquet")
    assert recompute(tmp_path)["results"] != document["results"]  # it really reads the items


def test_the_hash_is_that_of_the_file(tmp_path):
    file = tmp_path / "rows.txt"
    file.write_text("text", encoding="utf-8")
    first = run(path=file).data
    assert first["path"] == str(file)
    assert first["sha256"] != run().data["sha256"] != run(rows(3)).data["sha256"]


def test_results_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UserError, match="no results"):
        load_results(tmp_path)
    (tmp_path / "results.json").write_text('{"schema": 99}', encoding="utf-8")
    with pytest.raises(UserError, match="schema 99"):
        load_results(tmp_path)
    (tmp_path / "results.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not JSON"):
        load_results(tmp_path)


def test_items_missing_for_a_recomputation(tmp_path):
    write_results(run(), tmp_path)
    (tmp_path / "items.parquet").unlink()
    with pytest.raises(UserError, match=r"items\.parquet"):
        recompute(tmp_path)


def test_significance_needs_interval_and_corrected_p():
    row = {"ci_low": 0.1, "ci_high": 0.2, "p_holm": 0.01}
    assert is_significant(row)
    assert not is_significant({**row, "ci_low": -0.1})
    assert not is_significant({**row, "p_holm": 0.2})
    assert not is_significant({**row, "ci_low": None})
    assert not is_significant(None)


def test_a_longer_evaluation_of_the_same_rows_keeps_its_items():
    short, long = run(rates=(0.5,)), run(rates=(0.5, 0.3, 0.2))
    assert short.cells[0].quantities["bits"].tolist() == long.cells[0].quantities["bits"].tolist()
    assert replace(short, cells=[]).judge == "length-1"


class Trained(Random):
    """A deterministic policy that came out of a training with this seed."""

    stochastic = False

    def __init__(self, seed):
        self.name, self.seed = f"rl-{seed}", seed

    def priorities(self, units, examples, rate, seed):
        return super().priorities(units, examples, rate, self.seed)


def test_pooled_results_average_training_seeds(tmp_path):
    """Two runs on the same rows are one method of two seeds; what does not depend on a training stays as it was."""
    for seed in (0, 7):
        one = run(methods=(Trained(seed), ShortestFirst()), rates=(0.5,), reference=f"rl-{seed}")
        write_results(one, tmp_path / str(seed))
    folders = [tmp_path / "0", tmp_path / "7"]
    document = pooled(folders, lambda name: name.partition("-")[0])
    alone = [load_results(folder) for folder in folders]
    for metric in ("distortion_bits", "achieved_rate"):
        each = [figure(one, f"rl-{seed}", 0.5, metric)["mean"] for one, seed in zip(alone, (0, 7), strict=True)]
        together = figure(document, "rl", 0.5, metric)
        assert together["mean"] == pytest.approx(np.mean(each))
        assert together["seed_sd"] == pytest.approx(np.std(each, ddof=1))
        short, before = figure(document, "short", 0.5, metric), figure(alone[0], "short", 0.5, metric)
        assert [short[k] for k in ("mean", "ci_low", "ci_high")] == pytest.approx(
            [before[k] for k in ("mean", "ci_low", "ci_high")]
        )
    difference = compared(document, "short", 0.5, "distortion_bits")
    each = [compared(one, "short", 0.5, "distortion_bits") for one in alone]
    assert difference["difference"] == pytest.approx(np.mean([row["difference"] for row in each]))
    assert difference["ci_high"] - difference["ci_low"] < max(row["ci_high"] - row["ci_low"] for row in each)


def test_seeds_with_splits_of_their_own_weigh_each_row_once(tmp_path):
    """The mean is that over all rows of all seeds; a document that both measured is one group of the bootstrap."""
    folders = [tmp_path / "0", tmp_path / "7"]
    parts = rows()[: len(rows()) // 2 + 1], rows()[len(rows()) // 2 - 1 :]
    for folder, part, seed in zip(folders, parts, (0, 7), strict=True):
        one = run(part, methods=(Trained(seed), ShortestFirst(), Random()), rates=(0.5,), reference=f"rl-{seed}")
        write_results(one, folder)
    document = pooled_splits(folders, lambda name: name.partition("-")[0])
    alone = [load_results(folder) for folder in folders]
    metric = "achieved_rate"
    for method, names in (("rl", ("rl-0", "rl-7")), ("short", ("short",) * 2), ("random", ("random",) * 2)):
        kept = source = 0.0
        for folder, name in zip(folders, names, strict=True):
            items = pq.read_table(folder / "items.parquet").to_pylist()
            chosen = [row for row in items if row["method"] == name]
            kept += sum(row["kept_tokens"] for row in chosen) / len({row["seed"] for row in chosen})
            source += sum(row["source_tokens"] for row in chosen) / len({row["seed"] for row in chosen})
        assert figure(document, method, 0.5, metric)["mean"] == pytest.approx(kept / source, abs=1e-6)
    together = compared(document, "short", 0.5, metric)
    groups = {example.group for part in parts for example in part}
    assert together["groups"] == len(groups) < sum(compared(one, "short", 0.5, metric)["groups"] for one in alone)
    assert together["differences"] == [compared(one, "short", 0.5, metric)["difference"] for one in alone]
    assert len(together["marks"]) == 2


def test_results_of_different_studies_are_not_pooled(tmp_path):
    for name, examples, methods in (
        ("a", rows(), (LongestFirst(), ShortestFirst())),
        ("b", rows(), (LongestFirst(), Random())),
        ("c", rows()[1:], (LongestFirst(), ShortestFirst())),
    ):
        write_results(run(examples, methods=methods), tmp_path / name)
    with pytest.raises(UserError, match="measured other methods or rates"):
        pooled([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(UserError, match="measured other methods or rates"):
        pooled_splits([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(UserError, match="measured other rows"):
        pooled([tmp_path / "a", tmp_path / "c"])
