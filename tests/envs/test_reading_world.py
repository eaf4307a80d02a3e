"""An environment whose reward asks a reader: who is asked, how often, and what a failure is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from envs.dealing import Passage
from envs.masking_vector import TokenMaskingVector
from envs.masking_world import MaskingWorld
from rlcompress.errors import JudgeUnavailable, UserError
from rlcompress.judges.overlap import OverlapReader
from rlcompress.words import Judgement, JudgeRequest, Status
from tests.rlcompress.rewards.passages import PASSAGES

PAID = {"terms": {"distortion": 0.0, "answer_likelihood": 1.0, "task": 0.5}}


class CountingReader(OverlapReader):
    """Remembers how many texts each call had; away on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.away = False

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        self.calls.append(len(requests))
        if self.away:
            raise JudgeUnavailable("no answer within the deadline")
        return super().judge(requests)


def world(reader: CountingReader, **changes: object) -> MaskingWorld:
    return MaskingWorld(examples=PASSAGES, reward=PAID, reader=reader, **changes)


def step(world: MaskingWorld, indices: list[int]):
    rng = np.random.default_rng(0)
    states = [world.initial(rng, Passage(len(PASSAGES)), i, 0.5) for i in indices]
    return world.outcomes(states, [rng.normal(size=world.n_max) for _ in indices])


def test_one_call_a_step_and_an_original_is_read_once():
    reader = CountingReader()
    made = world(reader)
    step(made, [0, 0, 1])
    step(made, [0, 1, 2])
    assert reader.calls == [3 + 2, 3 + 1]


def test_the_terms_are_those_of_the_readers_verdicts():
    outcome = step(world(CountingReader()), [3])[0]
    example, reader = PASSAGES[3], OverlapReader()
    kept, whole = (
        reader.read(text, example.question or "", example.answer or "")
        for text in (outcome.compression.text, example.text)
    )
    p, q = (2 ** (-verdict.score / verdict.tokens) for verdict in (kept, whole))
    assert outcome.breakdown.terms["answer_likelihood"] == pytest.approx(p / (p + q))
    assert outcome.reward == pytest.approx(
        outcome.breakdown.terms["answer_likelihood"] + 0.5 * outcome.breakdown.terms["task"]
    )


def test_a_reader_that_is_away_is_a_status_and_is_asked_again():
    reader = CountingReader()
    made = world(reader)
    reader.away = True
    (lost,) = step(made, [0])
    assert lost.status is Status.JUDGE_FAILED
    assert math.isnan(lost.reward)
    reader.away = False
    (found,) = step(made, [0])
    assert found.status is Status.OK
    assert reader.calls == [2, 2], "the original's failure was not kept"


def test_without_a_term_that_reads_nobody_is_asked():
    reader = CountingReader()
    made = MaskingWorld(examples=PASSAGES, reader=reader)
    assert math.isfinite(step(made, [0])[0].reward)
    assert reader.calls == []


def test_the_vector_form_reads_too():
    reader = CountingReader()
    env = TokenMaskingVector(4, examples=PASSAGES, reward=PAID, reader=reader)
    env.reset(seed=0, options={"indices": [0, 0, 1, 1], "rates": [0.5] * 4})
    rewards_B = env.step(np.random.default_rng(0).normal(size=(4, env.world.n_max)))[1]
    assert np.isfinite(rewards_B).all()
    assert reader.calls == [6]


def test_a_reader_by_name():
    assert isinstance(MaskingWorld(examples=PASSAGES, reward=PAID).reader, OverlapReader)
    with pytest.raises(UserError, match="reader 'wise' is unknown: use overlap"):
        MaskingWorld(examples=PASSAGES, reward=PAID, reader="wise")
    with pytest.raises(UserError, match="builtin:overlap knows no same"):
        MaskingWorld(examples=PASSAGES, reward={"terms": {"similarity": 1.0}, "similarity": {"kind": "judge"}})
