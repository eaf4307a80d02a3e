"""The reader judge on a fake and on a real language model: prompts, exactness, cache, failures, making and loading."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from rlcompress.config.schema import DataConfig, ReaderConfig, ReaderJudgeConfig, RunConfig
from rlcompress.data.prepare import prepare
from rlcompress.errors import JudgeUnavailable, UserError
from rlcompress.judges.reader import ReaderJudge, prompt, same_prompt
from rlcompress.judges.reading import load_reader, make_reader, reader_key, reading_gain
from rlcompress.models.answering import CausalAnswerer
from rlcompress.models.causal import load_causal
from rlcompress.text.units import unit_starts
from rlcompress.words import Example, FloatArray, JudgeRequest, Status
from tests.rlcompress.rewards.passages import PASSAGES, ROWS
from tests.rlcompress.small_models import save_gpt2

TEXT = "The old man paid 1,234.50 of it."


def request(text: str = TEXT, question: str | None = "Who paid?", answer: str | None = "The old man", drop: int = 0):
    starts_N = unit_starts(text)
    return JudgeRequest(text, starts_N, np.arange(len(starts_N)) >= drop, question, answer)


class FakeAnswerer:
    """A word is a token and costs 3 bits, or 1 where its prompt has it; it says the prompt's first word."""

    version, window = "fake", 40

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.away = False

    def length(self, text: str) -> int:
        return len(text.split())

    def bits(self, prompts: Sequence[str], answers: Sequence[str]) -> list[FloatArray]:
        self.prompts += prompts
        if self.away:
            raise JudgeUnavailable("no answer within the deadline")
        told = [set(asked.split()) for asked in prompts]
        return [np.asarray([1.0 if w in t else 3.0 for w in a.split()]) for t, a in zip(told, answers, strict=True)]

    def say(self, prompts: Sequence[str], tokens: int) -> list[str]:
        return [asked.split()[0] for asked in prompts]

    def embed(self, texts: Sequence[str]) -> list[FloatArray]:
        return [np.asarray([float(len(text))]) for text in texts]


def test_bits_are_of_the_answer_after_what_was_kept():
    fake = FakeAnswerer()
    whole, dropped = ReaderJudge(fake).judge([request(), request(drop=2)])
    assert fake.prompts[0] == f"{TEXT}\n\nQuestion: Who paid?\nAnswer:"
    assert fake.prompts[1].startswith("man paid 1,234.50")
    assert (whole.score, whole.tokens, whole.detail["said"]) == (3.0, 3, "The")
    assert (dropped.score, dropped.detail["said"]) == (7.0, "man")


def test_only_what_is_asked_for_is_found_out():
    verdict = ReaderJudge(FakeAnswerer(), ("said",)).judge([request()])[0]
    assert (verdict.score, verdict.detail) == (0.0, {"said": "The"})
    verdict = ReaderJudge(FakeAnswerer(), ("embedding", "same")).judge([request()])[0]
    assert verdict.detail["embedding"] == [len(TEXT)]
    assert verdict.detail["same"] == 0.5, "yes and no cost the same here"


def test_a_text_without_a_question_is_continued_and_one_without_an_answer_has_no_bits():
    assert prompt("a text", None) == "a text"
    verdict = ReaderJudge(FakeAnswerer()).judge([request(question=None, answer=None)])[0]
    assert (verdict.status, verdict.score, verdict.tokens) == (Status.OK, 0.0, 0)


def test_what_is_too_long_gets_no_verdict_and_the_others_theirs():
    long = request(" ".join(["word"] * 30))
    judge = ReaderJudge(FakeAnswerer(), answer_tokens=10)
    before, failed, after = judge.judge([request(), long, request(drop=1)])
    assert failed.status is Status.JUDGE_FAILED
    assert math.isnan(failed.score)
    assert "judges.reader.window" in failed.detail["why"]
    assert before.status is after.status is Status.OK


def test_a_verdict_is_computed_once_and_a_failure_is_asked_again():
    fake = FakeAnswerer()
    judge = ReaderJudge(fake)
    fake.away = True
    assert judge.judge([request()])[0].status is Status.JUDGE_FAILED
    fake.away = False
    first, again = judge.judge([request()])[0], judge.judge([request(), request()])
    assert [verdict.score for verdict in again] == [first.score] * 2
    assert len(fake.prompts) == 2, "once in vain, once for good"
    assert (judge.asked, judge.computed) == (4, 2)


# ------------------------------------------------------------------------------------------------ a real model


@pytest.fixture(scope="module")
def answerer(bpe, tmp_path_factory) -> CausalAnswerer:
    folder = save_gpt2(tmp_path_factory.mktemp("gpt2"), bpe)
    return CausalAnswerer(load_causal(str(folder), window=160, chunk=3))


REQUESTS = [request(), request(drop=1), request(drop=3), request("Words come again and again.", "What?", "Words")]


def test_bits_equal_the_slow_twin(answerer):
    """One row at a time, without padding: −log2 of the softmax at each token of the answer."""
    causal = answerer.causal
    for verdict, asked in zip(ReaderJudge(answerer, ("bits",)).judge(REQUESTS), REQUESTS, strict=True):
        before = causal.tokenizer.encode(prompt(asked.text, asked.question))[0].tolist()
        answer = causal.tokenizer.encode(f" {asked.answer}")[0].tolist()
        with torch.no_grad():
            logits = causal.model(torch.tensor([[causal.start_id, *before, *answer]])).logits[0]
        logp = torch.log_softmax(logits, -1) / math.log(2)
        slow = -sum(float(logp[len(before) + i, token]) for i, token in enumerate(answer))
        assert verdict.score == pytest.approx(slow, abs=1e-3)
        assert verdict.tokens == len(answer)


def test_greedy_answers_equal_the_slow_twin(answerer):
    """Without padding or cache, the whole text again for each token."""
    causal = answerer.causal
    prompts = [prompt(asked.text, asked.question) for asked in REQUESTS]
    for said, asked in zip(answerer.say(prompts, 6), prompts, strict=True):
        ids = [causal.start_id, *causal.tokenizer.encode(asked)[0].tolist()]
        size = len(ids)
        for _ in range(6):
            with torch.no_grad():
                ids.append(int(causal.model(torch.tensor([ids])).logits[0, -1].argmax()))
        slow = causal.tokenizer.decode(np.asarray(ids[size:])).strip().partition("\n")[0].strip()
        assert said == slow


def test_embeddings_equal_the_slow_twin(answerer):
    causal = answerer.causal
    for vector, text in zip(answerer.embed([TEXT, "One"]), [TEXT, "One"], strict=True):
        ids = torch.tensor([[causal.start_id, *causal.tokenizer.encode(text)[0].tolist()]])
        with torch.no_grad():
            slow = causal.model(ids, output_hidden_states=True).hidden_states[-1][0].mean(0).numpy()
        assert vector == pytest.approx(slow, abs=1e-4)


def test_company_changes_no_bit(answerer):
    measures = ("bits", "said", "embedding", "same")
    alone = [ReaderJudge(answerer, measures).judge([asked])[0] for asked in REQUESTS]
    together = ReaderJudge(answerer, measures).judge(REQUESTS)
    for one, other in zip(alone, together, strict=True):
        assert one.score == other.score
        assert one.detail["said"] == other.detail["said"]
        assert one.detail["same"] == other.detail["same"]
        assert (one.detail["embedding"] == other.detail["embedding"]).all()
        copy = pickle.loads(pickle.dumps(one))
        assert (copy.score, copy.detail["said"]) == (one.score, one.detail["said"])


def test_same_is_the_probability_of_yes(answerer):
    judge = ReaderJudge(answerer, ("same",))
    asked = request(drop=2)
    yes, no = (
        float(answerer.bits([same_prompt(asked.source, asked.text)], [word])[0].sum()) for word in (" Yes", " No")
    )
    assert judge.judge([asked])[0].detail["same"] == pytest.approx(2**-yes / (2**-yes + 2**-no))


# ------------------------------------------------------------------------------------------------ on disk


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = [{"context": text, "question": question, "answer": answer} for text, question, answer in ROWS]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits = {"train": 0.4, "validation": 0.4, "test": 0.2}
    source = DataConfig(source=str(folder / "rows.jsonl"), max_tokens=300, splits=splits)
    prepare(RunConfig(data=source, reader=ReaderConfig(vocabulary=400)), folder / "prepared")
    return folder / "prepared"


def test_the_overlap_reader_is_made_and_loaded(data, tmp_path):
    gain = make_reader(ReaderJudgeConfig(), data, tmp_path / "reader")
    assert gain.gain > 0.3
    assert gain.read == gain.asked >= 2
    assert json.loads((tmp_path / "reader" / "judge.json").read_text())["reads"]["gain"] == gain.gain
    assert load_reader(tmp_path / "reader").judge([request()])[0].detail["said"]


def test_the_built_in_language_model_is_trained_and_loaded(data, tmp_path):
    """Too short to read, and measured as such; the weights follow from the settings."""
    config = ReaderJudgeConfig(model="builtin:causal", steps=4, batch=2, width=32, layers=1, window=400)
    gain = make_reader(config, data, tmp_path / "reader")
    assert abs(gain.gain) < 0.3
    verdict = load_reader(tmp_path / "reader").judge([request()])[0]
    assert verdict.status is Status.OK
    assert verdict.tokens > 0
    make_reader(config, data, tmp_path / "again")
    assert load_reader(tmp_path / "again").judge([request()])[0].score == verdict.score


def test_a_readers_name_says_what_decides_its_answers():
    plain = ReaderJudgeConfig()
    assert reader_key(plain, "h") == reader_key(plain.model_copy(update={"threads": 2, "timeout": 9.0}), "h")
    others = [({"model": "builtin:causal"}, "h"), ({"answer_tokens": 3}, "h"), ({"seed": 1}, "h"), ({}, "i")]
    keys = {reader_key(plain.model_copy(update=update), data_hash) for update, data_hash in others}
    assert len(keys | {reader_key(plain, "h")}) == 5


def test_what_cannot_be_measured_is_said(data, tmp_path):
    with pytest.raises(UserError, match="too few"):
        reading_gain(ReaderJudge(FakeAnswerer()), [Example("a", "no question")])
    with pytest.raises(UserError, match=r"no verdict on any of 8 .*judges\.reader\.window"):
        reading_gain(ReaderJudge(FakeAnswerer()), PASSAGES)
    with pytest.raises(UserError, match="no reader in"):
        load_reader(tmp_path)
    make_reader(ReaderJudgeConfig(), data, tmp_path / "reader")
    with pytest.raises(UserError, match="builtin:overlap knows no same"):
        load_reader(tmp_path / "reader", ("same",))
