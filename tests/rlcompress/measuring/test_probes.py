"""Who is asked beside the judge: a reader, and who fills in the gaps; their scores, failures, and how often."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rlcompress.config.schema import ReaderJudgeConfig
from rlcompress.errors import JudgeUnavailable, UserError
from rlcompress.judges.reader import ReaderJudge, prompt
from rlcompress.judges.reading import reader_from_name
from rlcompress.judges.silent import SilentJudge
from rlcompress.measuring.evaluation import Evaluation, evaluate
from rlcompress.measuring.metrics import METRICS, SHARED_METRICS, Source, chosen_metrics
from rlcompress.measuring.probes import WORDS, ReaderProbe, ReconstructionProbe
from rlcompress.measuring.results import load_results, pooled, recompute, write_results
from rlcompress.measuring.summary import Row, summarise
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.text.bare import bare_words
from rlcompress.text.units import unit_starts
from rlcompress.words import Example, FloatArray, Judge, Judgement, JudgeRequest, Status
from tests.rlcompress.evaluation_fakes import (
    Identity,
    LengthJudge,
    LongestFirst,
    Random,
    ShortestFirst,
    rows,
    segmenter,
)
from tests.rlcompress.rewards.passages import PASSAGES
from tests.rlcompress.small_models import save_gpt2

METHODS = (LongestFirst(), ShortestFirst(), Random(), Identity())
ASKED = [
    Example("a", "my house is extraordinarily big", "How is it?", "extraordinarily big", "1"),
    Example("b", "we saw a magnificent old ship", "What kind of ship?", "magnificent", "2"),
    Example("c", "an I or a U", "Which?", "U", "3"),
    Example("d", "here nobody asks anything", group="4"),
]


class LongestWord:
    """Says the longest word that was kept; fails where the text has the word "fail"."""

    version = "longest"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        self.asked += [request.text for request in requests]
        return [self._one(request.text) for request in requests]

    def _one(self, text: str) -> Judgement:
        if "fail" in text:
            return Judgement.failed("asked to fail", self.version)
        return Judgement(0.0, version=self.version, detail={"said": f"{max(text.split(), key=len)}!"})


def run(
    examples: Sequence[Example] = ASKED, reader: Judge | None = None, metrics: Sequence[str] | None = None
) -> Evaluation:
    listed = (*SHARED_METRICS, "reader_exact", "reader_f1") if metrics is None else metrics
    probes = [ReaderProbe(reader or LongestWord())]
    return evaluate(
        examples,
        segmenter(),
        METHODS,
        (0.5, 0.3),
        LengthJudge(),
        seeds=3,
        bootstrap=200,
        metrics=listed,
        probes=probes,
    )


def only(rows_of: Sequence[Row], **wanted: object) -> Row:
    [row] = [row for row in rows_of if all(row[key] == value for key, value in wanted.items())]
    return row


def test_answers_are_scored_by_their_words() -> None:
    document = summarise(run())
    # of the originals it says "extraordinarily", "magnificent" and "an"; at 0.5 `short` keeps "my is", "we a old",
    # "I a U": it says "my", "old" and "I"
    whole = only(document["results"], method="identity", rate=0.5, metric="reader_f1")
    assert (whole["mean"], whole["n"]) == (pytest.approx((2 / 3 + 1 + 0) / 3), 3)
    assert only(document["results"], method="identity", rate=0.5, metric="reader_exact")["mean"] == pytest.approx(1 / 3)
    short = only(document["results"], method="short", rate=0.5, metric="reader_f1")
    assert (short["mean"], short["n"]) == (0.0, 3)


def test_the_loss_against_the_original_is_paired() -> None:
    document = summarise(run([Example(f"{i}/{e.id}", *_of(e), str(i)) for i in range(8) for e in ASKED[:2]]))
    found = only(document["comparisons"], against="identity", rate=0.5, metric="reader_f1")
    rl, whole = (
        only(document["results"], method=method, rate=0.5, metric="reader_f1")["mean"] for method in ("rl", "identity")
    )
    assert found["difference"] == pytest.approx(rl - whole)
    assert found["ci_low"] <= found["difference"] <= found["ci_high"]
    assert (found["n"], found["groups"]) == (16, 8)
    worse = only(document["comparisons"], against="short", rate=0.3, metric="reader_f1")
    assert worse["ci_low"] > 0


def _of(example: Example) -> tuple[str, str | None, str | None]:
    return example.text, example.question, example.answer


def test_who_is_not_asked_answers_nothing() -> None:
    reader = LongestWord()
    run(reader=reader)
    assert not [text for text in reader.asked if "nobody" in text]
    asked = len(reader.asked)
    run(reader=reader, metrics=("distortion_bits", "answer_span"))
    assert len(reader.asked) == asked, "no metric needs it"


def test_a_failure_is_no_wrong_answer() -> None:
    bad = Example("bad", "fail or stay", "What?", "stay", "5")
    with_bad, without = run([*ASKED, bad]), run()
    [cell] = [cell for cell in with_bad.cells if (cell.method, cell.rate) == ("identity", 0.5)]
    assert cell.statuses[0] == [*[Status.OK] * 4, Status.JUDGE_FAILED]
    assert all(math.isnan(cell.quantities[name][0, 4]) for name in ("reader_exact", "reader_f1", "reads"))
    rows_of = [summarise(evaluation)["results"] for evaluation in (with_bad, without)]
    mine, other = (only(found, method="identity", rate=0.5, metric="reader_f1") for found in rows_of)
    assert (mine["mean"], mine["n"], mine["judge_failed"]) == (other["mean"], 3, 1)


def test_a_reader_that_is_away_leaves_no_figure(caplog: pytest.LogCaptureFixture) -> None:
    class Away(LongestWord):
        def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
            raise JudgeUnavailable("nobody is there")

    document = summarise(run(reader=Away()))
    found = only(document["results"], method="rl", rate=0.5, metric="reader_exact")
    assert (found["mean"], found["n"], found["judge_failed"]) == (None, 0, 3)
    assert only(document["results"], method="rl", rate=0.5, metric="achieved_rate")["n"] == 4
    assert [record.args for record in caplog.records if record.levelname == "WARNING"] == [("nobody is there",)]


class FirstWord:
    """An `Answerer` that says the first word of its prompt."""

    version, window = "first", 400

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def length(self, text: str) -> int:
        return len(text.split())

    def bits(self, prompts: Sequence[str], answers: Sequence[str]) -> list[FloatArray]:
        raise AssertionError("nobody asked")

    def embed(self, texts: Sequence[str]) -> list[FloatArray]:
        raise AssertionError("nobody asked")

    def say(self, prompts: Sequence[str], tokens: int) -> list[str]:
        self.prompts += prompts
        return [asked.split()[0] for asked in prompts]


def test_the_original_is_read_once() -> None:
    answerer = FirstWord()
    run(reader=ReaderJudge(answerer, ("said",)))
    originals = {prompt(example.text, example.question) for example in ASKED[:3]}
    assert {asked: answerer.prompts.count(asked) for asked in originals} == dict.fromkeys(originals, 1)
    assert len(answerer.prompts) == len(set(answerer.prompts)) > 10


def test_answers_are_stored_and_computed_again(tmp_path: Path) -> None:
    document = write_results(run(), tmp_path / "read")
    assert recompute(tmp_path / "read") == document
    assert document["models"] == {"reader": "longest"}
    assert pooled([tmp_path / "read"] * 2)["results"][0]["n"] == 4
    table = (tmp_path / "read" / "table.txt").read_text(encoding="utf-8")
    assert "reader_f1" in table
    write_results(run(metrics=SHARED_METRICS), tmp_path / "plain")
    columns = [set(pq.read_schema(tmp_path / name / "items.parquet").names) for name in ("read", "plain")]
    assert columns[0] - columns[1] == {"reader_exact", "reader_f1", "reads"}
    assert columns[1] < columns[0]
    assert "models" not in load_results(tmp_path / "plain")


def test_a_real_model_answers_as_it_does_alone(bpe: TextTokenizer, tmp_path: Path) -> None:
    """A GPT-2 from its folder, which reads as much as it can: its own greedy words, row by row."""
    folder = save_gpt2(tmp_path / "gpt2", bpe)
    reader = reader_from_name(str(folder), ReaderJudgeConfig(window=9999, answer_tokens=6), ("said",))
    assert isinstance(reader, ReaderJudge)
    assert reader.answerer.window == 299
    requests = []
    for example in (*PASSAGES[:3], Example("long", "word " * 400, "What?", "word")):
        starts_N = unit_starts(example.text)
        kept_N = np.arange(len(starts_N)) % 3 > 0
        kept_N = kept_N if example.id == "long" else kept_N & (np.arange(len(starts_N)) < 30)
        requests.append(JudgeRequest(example.text, starts_N, kept_N, example.question, example.answer))
    said = reader.answerer.say([prompt(r.text, r.question) for r in requests[:3]], 6)
    found = ReaderProbe(reader).ask(requests, batch=2)
    assert found[3].status is Status.JUDGE_FAILED
    for finding, words, request in zip(found, said, requests, strict=False):
        mine, right = bare_words(words), bare_words(request.answer or "")
        common = sum(min(mine.count(word), right.count(word)) for word in set(mine))
        expected = 2 * common / (len(mine) + len(right))
        assert finding.quantities == {"reader_exact": float(mine == right), "reader_f1": expected, "reads": 1.0}


def test_readers_by_name(tmp_path: Path) -> None:
    settings = ReaderJudgeConfig()
    assert reader_from_name("builtin:overlap", settings, ("said",)).version == "overlap-1"
    with pytest.raises(UserError, match="builtin:causal is trained in a run"):
        reader_from_name("builtin:causal", settings, ("said",))
    with pytest.raises(UserError, match="cannot be loaded"):
        reader_from_name(str(tmp_path), settings, ("said",))


EVERYBODY: set[Source] = {metric.source for metric in METRICS.values() if metric.source is not None}


@pytest.mark.parametrize("name", METRICS)
def test_a_listed_metric_is_computed_or_refused(name: str) -> None:
    metric = METRICS[name]
    assert name in chosen_metrics([name], ASKED, EVERYBODY)
    if metric.source is not None:
        with pytest.raises(UserError, match=f"lists {name}, and .*(set|name) .*leave it out"):
            chosen_metrics([name], ASKED, EVERYBODY - {metric.source})
    if metric.needs_answer:
        with pytest.raises(UserError, match=f"lists {name}, and no row has .*answer: give data"):
            chosen_metrics([name], rows(3), EVERYBODY)
        with pytest.raises(UserError, match=f"lists {name}"):
            chosen_metrics([name], [Example("a", "b", "an unanswered question?")], EVERYBODY)


def test_a_reader_needs_questions() -> None:
    unasked = [Example("a", "old ships", None, "old")]
    assert chosen_metrics(["answer_span"], unasked, {"judge"}) == ("answer_span",)
    with pytest.raises(UserError, match="no row has a question and an answer"):
        chosen_metrics(["answer_span", "reader_f1"], unasked, EVERYBODY)


def test_without_a_list_what_can_be_is_measured() -> None:
    assert chosen_metrics(None, ASKED, {"judge", "reader"}) == SHARED_METRICS
    assert chosen_metrics(None, rows(3), set()) == ("achieved_rate",)
    assert chosen_metrics(None, rows(3), {"judge", "adapted judge"})[-1] == "distortion_bits_adapted"
    assert chosen_metrics(["answer_span", "answer_span"], ASKED, set()) == ("answer_span",)


def test_listed_metrics_are_refused_before_anybody_is_asked() -> None:
    reader = LongestWord()
    with pytest.raises(UserError, match=r"distortion_bits, and judges\.heldout\.model is none"):
        evaluate(
            ASKED,
            segmenter(),
            METHODS,
            (0.5,),
            SilentJudge(),
            metrics=["reader_f1", "distortion_bits"],
            probes=[ReaderProbe(reader)],
        )
    assert reader.asked == []


# ------------------------------------------------------------------------------------------------ reconstructions


class LettersJudge(LengthJudge):
    """Fills each gap with as many letters x as there were, but for words of one letter, which it guesses right."""

    def __init__(self) -> None:
        super().__init__()
        self.filled = 0

    def reconstruct(self, requests: Sequence[JudgeRequest]) -> list[tuple[str, str]]:
        self.filled += len(requests)
        return [(request.source, _filled(request)) for request in requests]


def _filled(request: JudgeRequest) -> str:
    said = zip(request.source.split(), request.kept_N.tolist(), strict=True)
    return " ".join(word if kept or len(word) == 1 else "x" * len(word) for word, kept in said)


class Lengths:
    """An embedder of two channels: how many words are short and how many long."""

    version = "lengths"

    def sentences(self, texts: Sequence[str]) -> FloatArray:
        counts = [[sum(len(w) <= 3 for w in text.split()), sum(len(w) > 3 for w in text.split())] for text in texts]
        vectors = np.asarray(counts, np.float64).reshape(-1, 2)
        unit: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return unit

    def words(self, text: str, spans_N2: object) -> FloatArray:
        raise AssertionError("nobody asked")


FILLED = [name for name, metric in METRICS.items() if metric.source == "reconstruction"]


def reconstructed(metrics: Sequence[str], judge: LettersJudge | None = None) -> Evaluation:
    judge = judge or LettersJudge()
    probes = [ReconstructionProbe(judge, metrics, Lengths() if "semantic_similarity" in metrics else None)]
    return evaluate(
        ASKED,
        segmenter(),
        METHODS,
        (0.5, 0.3),
        judge,
        seeds=2,
        bootstrap=100,
        metrics=metrics,
        probes=probes,
        batch=3,
    )


def test_reconstructions_are_compared_with_their_originals() -> None:
    evaluation = reconstructed(FILLED)
    document = summarise(evaluation)
    for method in ("rl", "short", "random"):
        expected: dict[str, list[float]] = {name: [] for name in FILLED}
        for output in evaluation.outputs:
            if (output.method, output.rate) == (method, 0.5):
                original = ASKED[output.item].text
                starts_N = unit_starts(original)
                kept_N = [any(a <= start < b for a, b in output.spans) for start in starts_N.tolist()]
                filled = _filled(JudgeRequest(original, starts_N, np.asarray(kept_N)))
                for name in WORDS:
                    expected[name].append(WORDS[name](original.split(), filled.split()))
                expected["semantic_similarity"].append(float(np.prod(Lengths().sentences([original, filled]), 0).sum()))
        for name in FILLED:
            assert len(expected[name]) == 4 * (2 if method == "random" else 1)
            found = only(document["results"], method=method, rate=0.5, metric=name)
            assert found["mean"] == pytest.approx(np.mean(expected[name]), abs=1e-6)
            assert only(document["results"], method="identity", rate=0.5, metric=name)["mean"] == 1.0
    assert only(document["results"], method="rl", rate=0.5, metric="rouge2")["mean"] < 0.7


def test_nothing_is_filled_in_for_nothing(tmp_path: Path) -> None:
    judge = LettersJudge()
    write_results(reconstructed(["distortion_bits", "perplexity"], judge), tmp_path / "plain")
    assert judge.filled == 0
    document = write_results(reconstructed(["rougeL", "distortion_bits"], judge), tmp_path / "filled")
    assert judge.filled == 2 * 4 * (1 + 1 + 2 + 1)
    assert document["models"] == {"reconstruction": "length-1"}
    assert recompute(tmp_path / "filled") == document
    columns = [set(pq.read_schema(tmp_path / name / "items.parquet").names) for name in ("plain", "filled")]
    assert columns[1] - columns[0] == {"rougeL", "reconstructions"}


def test_perplexity_is_of_all_dropped_tokens_together(tmp_path: Path) -> None:
    evaluation = reconstructed(["perplexity", "distortion_bits"])
    document = write_results(evaluation, tmp_path)
    for cell in evaluation.cells:
        bits, dropped = (cell.quantities[name].mean(0).sum() for name in ("bits", "dropped"))
        found = only(document["results"], method=cell.method, rate=cell.rate, metric="perplexity")
        if cell.method == "identity":
            assert (found["mean"], found["n"]) == (None, 0)
            continue
        assert found["mean"] == pytest.approx(2 ** (bits / dropped))
        assert found["ci_low"] <= found["mean"] <= found["ci_high"]
        each = [
            2 ** (b / d) for b, d in zip(*(cell.quantities[name].mean(0) for name in ("bits", "dropped")), strict=True)
        ]
        assert found["item_sd"] == pytest.approx(np.std(each, ddof=1))
    short = only(document["comparisons"], against="short", rate=0.5, metric="perplexity")
    rl, other = (
        only(document["results"], method=method, rate=0.5, metric="perplexity")["mean"] for method in ("rl", "short")
    )
    assert short["difference"] == pytest.approx(rl - other)
    assert recompute(tmp_path) == document
    random = only(document["results"], method="random", rate=0.5, metric="perplexity")
    [cell] = [cell for cell in evaluation.cells if (cell.method, cell.rate) == ("random", 0.5)]
    by_seed = 2 ** (cell.quantities["bits"].sum(1) / cell.quantities["dropped"].sum(1))
    assert random["seed_sd"] == pytest.approx(np.std(by_seed, ddof=1))


def test_the_same_text_is_the_same_whatever_the_encoder_knows() -> None:
    probe = ReconstructionProbe(LettersJudge(), ["semantic_similarity"], Lengths())
    starts_N = unit_starts("old")
    [finding] = probe.ask([JudgeRequest("", np.zeros(0, np.int64), np.zeros(0, np.bool_))], 4)
    assert finding.quantities == {"semantic_similarity": 1.0, "reconstructions": 1.0}
    [finding] = probe.ask([JudgeRequest("old", starts_N, np.zeros(1, np.bool_))], 4)
    assert finding.quantities["semantic_similarity"] == pytest.approx(1.0)
    assert probe.version == "length-1, lengths"
