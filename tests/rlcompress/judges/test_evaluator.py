"""The evaluator over a fake solver: what is computed once, what misses the cache, what is a failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from rlcompress.config.generating import DecodingConfig, EvaluatorConfig
from rlcompress.errors import JudgeUnavailable
from rlcompress.generation.prompting import Prompt
from rlcompress.generation.writing import Ending, Insert
from rlcompress.judges.evaluator import Evaluator, Said, Solve
from rlcompress.rewards.solving import Outcome, correct
from rlcompress.words import FloatArray, Status

CONFIG = EvaluatorConfig(model="fake", template="Solve: {text}\nAnswer:", answer=" #### {answer}")


class FakeSolver:
    """Says the prompt backwards and how it was asked; an answer's tokens are its letters, of half a bit each."""

    version = "fake@1"
    tokenizer: Any = None

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.trouble: Exception | None = None
        self.endings: dict[str, Ending] = {}
        self.lost = float("nan")

    def say(
        self, prompts: Sequence[Prompt], decoding: DecodingConfig, seeds: Sequence[int], insert: Insert | None
    ) -> list[Said]:
        self.calls.append(tuple(prompt.text for prompt in prompts))
        if self.trouble:
            raise self.trouble
        said = [f"{p.content[::-1]} {s}" for p, s in zip(prompts, seeds, strict=True)]
        said = [text + (insert(text) or "" if insert else "") for text in said]
        return [Said(s, self.endings.get(p.content, Ending.ENDED)) for s, p in zip(said, prompts, strict=True)]

    def logp(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[FloatArray]:
        return [np.full(len(a), self.lost if "lost" in a else -0.5 * np.log(2)) for a in answers]


def test_a_verdict_holds_what_was_said_and_the_bits_of_the_gold_answer() -> None:
    verdict = Evaluator(FakeSolver(), CONFIG).judge([Solve("abc", "7")])[0]
    assert verdict.detail["said"].startswith("cba ")
    assert verdict.detail["ending"] is Ending.ENDED
    assert (verdict.score, verdict.tokens) == (pytest.approx(0.5 * len(" #### 7")), len(" #### 7"))
    solver = FakeSolver()
    Evaluator(solver, CONFIG).judge([Solve("abc")])
    assert solver.calls == [("Solve: abc\nAnswer:",)]


def test_what_was_computed_is_not_computed_again() -> None:
    solver = FakeSolver()
    evaluator = Evaluator(solver, CONFIG)
    one, two, three = evaluator.judge([Solve("a"), Solve("b"), Solve("a")])
    assert one is three
    assert one is not two
    assert evaluator.judge([Solve("b")])[0] is two
    assert (evaluator.asked, evaluator.computed, len(solver.calls)) == (4, 2, 1)


def test_originals_are_scored_once() -> None:
    solver = FakeSolver()
    evaluator = Evaluator(solver, CONFIG.model_copy(update={"cache": 2}))
    first = evaluator.judge_originals([Solve("original")])[0]
    rewritten = evaluator.judge([Solve("r")])[0]
    evaluator.judge([Solve(str(i)) for i in range(5)])
    assert evaluator.judge_originals([Solve("original")])[0] is first
    assert evaluator.judge([Solve("original")])[0] is first
    assert sum("original" in text for call in solver.calls for text in call) == 1
    assert evaluator.judge([Solve("r")])[0] is not rewritten, "others are forgotten"


@pytest.mark.parametrize(
    "change",
    [
        {"template": "Solve {text}"},
        {"answer": "{answer}"},
        {"chat": False},
        {"decoding": DecodingConfig(temperature=0.0, max_new_tokens=255)},
        {"decoding": DecodingConfig(temperature=0.5, max_new_tokens=256)},
        {"measures": ("said",)},
        {"seed": 1},
    ],
    ids=str,
)
def test_every_part_of_the_key_misses_the_cache(change: dict[str, Any]) -> None:
    key = Evaluator(FakeSolver(), CONFIG).key(Solve("a", "7"))
    assert Evaluator(FakeSolver(), CONFIG.model_copy(update={"chunk": 3, "cache": 7})).key(Solve("a", "7")) == key
    assert Evaluator(FakeSolver(), CONFIG.model_copy(update=change)).key(Solve("a", "7")) != key


def test_model_prompt_answer_and_calculator_are_in_the_key() -> None:
    other = FakeSolver()
    other.version = "fake@2"
    evaluator = Evaluator(FakeSolver(), CONFIG)
    calculating = Evaluator(FakeSolver(), CONFIG.model_copy(update={"calculator": "a:b"}), lambda text: None)
    asked = [Solve("a", "7"), Solve("b", "7"), Solve("a", "8"), Solve("a")]
    keys = [evaluator.key(request) for request in asked]
    keys += [Evaluator(other, CONFIG).key(asked[0]), calculating.key(asked[0])]
    assert len(set(keys)) == len(keys)


def test_random_numbers_belong_to_the_request() -> None:
    alone = Evaluator(FakeSolver(), CONFIG).judge([Solve("b")])[0]
    among = Evaluator(FakeSolver(), CONFIG).judge([Solve("a"), Solve("b")])[1]
    assert alone.detail == among.detail


def test_the_calculator_is_asked_where_an_output_ends_in_the_mark() -> None:
    config = CONFIG.model_copy(update={"calculator_after": "7"})
    seen: list[str] = []
    evaluator = Evaluator(FakeSolver(), config, lambda text: seen.append(text) or "!")  # type: ignore[func-returns-value]
    said = [v.detail["said"] for v in evaluator.judge([Solve(str(i)) for i in range(40)])]
    assert seen
    assert all(text.endswith("7") for text in seen)
    assert [s for s in said if s.endswith("!")] == [text + "!" for text in seen]


def test_a_failing_model_is_a_status_and_asked_again() -> None:
    solver = FakeSolver()
    evaluator = Evaluator(solver, CONFIG)
    for trouble, why in (
        (JudgeUnavailable("no answer in 5 s"), "no answer in 5 s"),
        (torch.OutOfMemoryError("out of memory"), "ran out of memory"),
    ):
        solver.trouble = trouble
        verdicts = evaluator.judge([Solve("a", "7"), Solve("b")])
        assert [v.status for v in verdicts] == [Status.JUDGE_FAILED] * 2
        assert why in verdicts[0].detail["why"]
        assert np.isnan(correct(Outcome.of(verdicts[0]), 7))
    solver.trouble = None
    assert evaluator.judge([Solve("a", "7")])[0].status is Status.OK
    solver.trouble = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        evaluator.judge([Solve("c")])


def test_what_does_not_fit_or_is_not_finite_is_a_failure() -> None:
    solver = FakeSolver()
    solver.endings = {"long": Ending.TOO_LONG, "nan": Ending.FAILED, "cut": Ending.TRUNCATED}
    asked = [Solve("long"), Solve("nan"), Solve("cut"), Solve("a", "lost")]
    verdicts = Evaluator(solver, CONFIG).judge(asked)
    assert [v.status is Status.OK for v in verdicts] == [False, False, True, False]
    assert verdicts[2].detail["ending"] is Ending.TRUNCATED
    assert "window" in verdicts[0].detail["why"]
