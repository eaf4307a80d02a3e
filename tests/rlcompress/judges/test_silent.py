"""The judge that says nothing: terms that need none are paid, terms that need one fail by name."""

from __future__ import annotations

import math
import pickle

from rlcompress.baselines import heuristics
from rlcompress.config.schema import RewardConfig
from rlcompress.judges.silent import SilentJudge
from rlcompress.measuring.evaluation import evaluate
from rlcompress.measuring.summary import summarise
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.rewards.reward import Reward
from rlcompress.rewards.terms import RewardInput
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, JudgeRequest, Status

EXAMPLE = Example("a", "The old man paid seven crowns.", "Who paid?", "man")


def item(bpe: TextTokenizer) -> RewardInput:
    units = Segmenter(bpe)(EXAMPLE.text)
    kept = select(units, -units.starts_N.astype(float), 0.6)
    request = JudgeRequest.of(kept, EXAMPLE)
    judge = pickle.loads(pickle.dumps(SilentJudge()))
    verdict, empty = judge.judge([request, request.emptied()])
    assert (verdict.status, verdict.version) == (Status.OK, "none")
    return RewardInput(EXAMPLE, kept, verdict, empty)


def test_a_term_of_the_text_is_paid(bpe: TextTokenizer) -> None:
    found = Reward(RewardConfig(terms={"distortion": 0.0, "answer_retention": 1.0})).score(item(bpe))
    assert (found.status, found.total) == (Status.OK, 1.0)


def test_a_term_of_the_judge_is_a_failure_and_no_zero(bpe: TextTokenizer) -> None:
    found = Reward(RewardConfig(terms={"distortion": 1.0, "answer_retention": 1.0})).score(item(bpe))
    assert found.status is Status.REWARD_FAILED
    assert math.isnan(found.total)


def test_metrics_of_a_judge_are_left_out(bpe: TextTokenizer) -> None:
    evaluation = evaluate(
        [EXAMPLE], Segmenter(bpe), [heuristics.HEAD], [0.5], SilentJudge(), seeds=1, bootstrap=100, reference="head"
    )
    assert evaluation.settings.metrics == ("achieved_rate", "answer_retention", "answer_span")
    rows = summarise(evaluation)["results"]
    assert {row["metric"] for row in rows} == set(evaluation.settings.metrics)
    assert all(math.isfinite(row["mean"]) for row in rows)
