"""Slices: every item lies in one, their sums are the whole's, and they are read again from the stored items."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcompress.config.files import load_config
from rlcompress.config.schema import DataConfig
from rlcompress.data.readers import read_rows
from rlcompress.errors import UserError
from rlcompress.measuring.evaluation import evaluate
from rlcompress.measuring.metrics import METRICS
from rlcompress.measuring.results import load_results, recompute, write_results
from rlcompress.measuring.slices import MOST, OTHER, SLICES, field, slice_labels
from rlcompress.measuring.statistics import holm
from rlcompress.measuring.summary import part, summarise
from rlcompress.words import Example
from tests.rlcompress.evaluation_fakes import Identity, LengthJudge, LongestFirst, Random, rows, segmenter

METHODS = (LongestFirst(), Random(), Identity())


def run(examples, labels, **settings):
    settings = {"seeds": 2, "bootstrap": 100, **settings}
    return evaluate(examples, segmenter(), METHODS, (0.5, 0.3), LengthJudge(), slices=labels, **settings)


def mixed(count, seed=0):
    """Rows of many lengths, one in four without an answer."""
    generator = np.random.default_rng(seed)
    texts = [" ".join("x" * n for n in generator.integers(1, 9, size=generator.integers(4, 30))) for _ in range(count)]
    asked = ("Who?", "When was it?", None, "Why so?")
    return [
        Example(f"row#{i}", text, asked[i % 4], text.split()[0] if i % 4 else None, f"group {i // 3}")
        for i, text in enumerate(texts)
    ]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=6, max_size=20))
def test_slices_partition_the_items_and_their_sums_are_the_whole(numbers):
    labels = [f"s{number}" for number in numbers]
    evaluation = run(mixed(len(labels)), {"any": labels})
    places = {label: [i for i, other in enumerate(labels) if other == label] for label in set(labels)}
    assert sorted(i for items in places.values() for i in items) == list(range(len(labels)))
    for c, cell in enumerate(evaluation.cells):
        for name, whole_SI in cell.quantities.items():
            sliced = [part(evaluation, items).cells[c].quantities[name] for items in places.values()]
            assert sum(np.nansum(values) for values in sliced) == pytest.approx(np.nansum(whole_SI))
    document = summarise(evaluation)
    for whole in document["results"]:
        key = [whole[k] for k in ("method", "rate", "metric")]
        of_slices = [row for row in document["slices"] if [row[k] for k in ("method", "rate", "metric")] == key]
        assert sum(row["n"] for row in of_slices) == whole["n"]
        means = [row["mean"] for row in of_slices if row["mean"] is not None]
        if whole["mean"] is not None:
            assert min(means) - 1e-9 <= whole["mean"] <= max(means) + 1e-9


def test_a_slice_says_what_an_evaluation_of_its_items_says():
    examples = mixed(12)
    labels = ["first" if i < 6 else "last" for i in range(12)]
    sliced, alone = summarise(run(examples, {"half": labels})), summarise(run(examples[:6], {}))
    for row in sliced["slices"]:
        # the random method draws by the item's place, which is the same in the first half
        if row["label"] == "first":
            [same] = [r for r in alone["results"] if all(r[k] == row[k] for k in ("method", "rate", "metric"))]
            assert {key: row[key] for key in same.keys() & row.keys()} == {key: same[key] for key in same if key in row}
            against = [
                c
                for c in alone["comparisons"]
                if (c["against"], c["rate"], c["metric"]) == (row["method"], row["rate"], row["metric"])
            ]
            if against:
                for key in ("difference", "ci_low", "ci_high", "p", "effect", "groups"):
                    assert row["comparison"][key] == against[0][key]
    assert all((row["comparison"] is None) == (row["method"] == "rl") for row in sliced["slices"])


def test_holm_counts_all_slices_of_one_slicing():
    labels = [f"s{i // 4}" for i in range(12)]
    rows_of = [r["comparison"] for r in summarise(run(mixed(12), {"third": labels}))["slices"] if r["comparison"]]
    metrics = [r["metric"] for r in summarise(run(mixed(12), {"third": labels}))["slices"] if r["comparison"]]
    one = [row for row, metric in zip(rows_of, metrics, strict=True) if metric == "distortion_bits"]
    assert len(one) == 3 * 2 * 2  # slices, methods, rates
    again = holm([float("nan") if row["p"] is None else row["p"] for row in one])
    assert [row["p_holm"] for row in one] == pytest.approx(again, nan_ok=True)


def test_slices_are_recomputed_from_the_stored_items(tmp_path):
    examples = mixed(16)
    labels, _ = slice_labels(examples, ["length", "question_kind"], "", DataConfig())
    document = write_results(run(examples, labels), tmp_path)
    assert {row["slice"] for row in document["slices"]} == {"length", "question_kind"}
    assert recompute(tmp_path) == document == load_results(tmp_path)
    write_results(run(examples, {}), tmp_path)
    assert "slices" not in recompute(tmp_path)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_quarters_by_length_keep_order_and_never_tear_equals(counts):
    labels = SLICES["length"]([Example(str(i), "w " * n) for i, n in enumerate(counts)])
    assert len(set(labels)) <= 4
    for label, n in zip(labels, counts, strict=True):
        low, high = (int(word) for word in label.replace(" words", "").split(" to "))
        assert low <= n <= high
    if len(set(counts)) == len(counts) >= 8:
        sizes = [labels.count(label) for label in set(labels)]
        assert max(sizes) - min(sizes) <= 1


def test_questions_by_kind_and_documents_by_their_name():
    asked = ["Who was it?", "In what year was it?", "How many are there?", None]
    examples = [Example(str(i), "text", question, group=f"topic/{i}") for i, question in enumerate(asked)]
    assert SLICES["question_kind"](examples) == ["who", "when", "how many", "no question"]
    assert SLICES["group_prefix"]([*examples, Example("x", "t", group="asyncio#3")]) == ["topic"] * 4 + ["asyncio"]


def test_texts_that_contain_a_string():
    examples = [Example("a", "an <unk> word"), Example("b", "a word"), Example("c", "<UNK>")]
    found, _ = slice_labels(examples, ["contains:<unk>"], "", DataConfig())
    assert found == {"contains:<unk>": ["with <unk>", "without <unk>", "without <unk>"]}


def test_one_slice_is_left_out_and_many_are_counted_together():
    examples = [Example(str(i), "one two", group=f"g{min(i, 20)}/x") for i in range(40)]
    found, failed = slice_labels(examples, ["length", "question_kind", "group_prefix"], "", DataConfig())
    assert set(found) == {"group_prefix"}
    assert failed == {}
    assert len(set(found["group_prefix"])) == MOST
    assert found["group_prefix"].count("g20") == 20
    assert OTHER in found["group_prefix"]


def test_a_field_of_the_rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    table = [{"text": f"text number {i}", "source": "web" if i % 2 else "book", "id": i} for i in range(6)]
    file.write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    examples = list(read_rows(file, DataConfig()))
    cut = [*examples[:5], Example(f"{examples[5].id}.2", "a passage")]
    labels, failed = slice_labels(cut, ["field:source"], file, DataConfig())
    assert labels == {"field:source": ["book", "web"] * 3}
    assert failed == {}
    with pytest.raises(UserError, match=r"no field 'kind'.*evaluate\.slices"):
        field(examples, "field:kind", file, DataConfig())
    _, failed = slice_labels(examples, ["field:kind"], file, DataConfig())
    assert "no field 'kind'" in failed["slices by field:kind"]
    for source in ("builtin:docs", tmp_path / "notes.txt"):
        with pytest.raises(UserError, match="have no field"):
            field(examples, "field:source", source, DataConfig())


def test_the_configuration_knows_the_names():
    for name in (*SLICES, "field:source"):
        assert load_config(None, [f"evaluate.slices=[{name}]"]).evaluate.slices == (name,)
    with pytest.raises(UserError, match=r"evaluate\.slices"):
        load_config(None, ["evaluate.slices=[colour]"])


def test_every_metric_has_its_slices():
    rows_of = summarise(run(rows(8), {"half": ["a", "b"] * 4}))["slices"]
    assert {row["metric"] for row in rows_of} == {m for m in METRICS if m in ("distortion_bits", "token_accuracy")} | {
        "achieved_rate"
    }
