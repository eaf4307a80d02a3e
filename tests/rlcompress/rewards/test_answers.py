"""Terms that a reader answers: worked numbers, order, what they need, and failures that are no zeros."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.config.schema import RewardConfig
from rlcompress.errors import UserError
from rlcompress.rewards.reward import Reward
from rlcompress.rewards.terms import TERMS, RewardInput, reads
from rlcompress.words import Compression, Example, Judgement, Status
from tests.rlcompress.rewards.test_reward import EXAMPLE, N, cut

BLANK = Judgement(1.0, version="v")
TEXT = "The meeting starts at noon"


def reading(bits: float = 4.0, said: str = "", tokens: int = 2, version: str = "r", **detail) -> Judgement:
    return Judgement(bits, version=version, tokens=tokens, detail={"said": said, **detail})


def item(read: Judgement, original: Judgement, example: Example = EXAMPLE, written: str | None = None) -> RewardInput:
    units = cut(example.text)
    compression = Compression(units, np.ones(len(units), np.bool_), 1.0)
    return RewardInput(example, compression, BLANK, BLANK, None, written, 1.0, read, original)


def value(term: str, thing: RewardInput, **settings) -> float:
    result = Reward(RewardConfig.model_validate({"terms": {term: 1.0}, **settings})).score(thing)
    assert result.status is Status.OK
    return result.terms[term]


bits = st.floats(0, 200)


@given(bits, bits, st.integers(1, 9))
def test_likelihood_is_the_share_of_the_outputs_probability(after, before, tokens):
    """p(a | output) / (p(a | output) + p(a | original)) of the geometric means, from probabilities themselves."""
    p, q = 2 ** (-after / tokens), 2 ** (-before / tokens)
    found = value("answer_likelihood", item(reading(after, tokens=tokens), reading(before, tokens=tokens)))
    assert 0.0 <= found <= 1.0
    if p + q > 0:
        assert found == pytest.approx(p / (p + q), abs=1e-9)
    better = value("answer_likelihood", item(reading(after / 2, tokens=tokens), reading(before, tokens=tokens)))
    assert better >= found


def test_likelihood_by_hand():
    assert value("answer_likelihood", item(reading(6.0), reading(6.0))) == 0.5
    assert value("answer_likelihood", item(reading(6.0), reading(2.0))) == pytest.approx(1 / 5)  # 2 bits a token worse
    assert value("answer_likelihood", item(reading(2.0), reading(6.0))) == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("said", "before", "paid"),
    [
        ("17:30", "17:30", 0.5),
        ("at 17:30!", "17:30", (1 + (0 + 2 / 3) / 2 - 1) / 2),
        ("17:30", "noon", 1.0),
        ("noon", "17:30", 0.0),
        ("noon", "midnight", 0.5),
        ("", "", 0.5),
    ],
)
def test_the_task_is_counted_from_what_the_reader_managed_before(said, before, paid):
    assert value("task", item(reading(said=said), reading(said=before))) == pytest.approx(paid)


def test_a_question_that_is_never_answered_decides_nothing():
    paid = {value("task", item(reading(said=said), reading(said="midnight"))) for said in ("noon", "", "a b c")}
    assert paid == {0.5}


def test_agreement_asks_no_one_what_is_right():
    same = item(reading(said="five to twelve"), reading(said="Five to twelve."))
    assert value("agreement", same) == 1.0
    near = item(reading(said="five twelve"), reading(said="five to twelve"))
    assert value("agreement", near) == pytest.approx(0.8)
    assert value("agreement", near, similarity={"kind": "exact"}) == 0.0
    assert value("agreement", near, similarity={"kind": "rouge_l", "threshold": 0.81}) == 0.0
    assert value("agreement", near, similarity={"kind": "rouge_l", "threshold": 0.8}) == pytest.approx(0.8)


def test_similarity_of_masks_is_to_the_original_and_of_written_outputs_to_the_answer():
    units = cut(TEXT)
    half = Compression(units, np.asarray([False, True, False, False, True]), 0.4)
    example = Example("a", TEXT, "When?", "at noon")
    assert value("similarity", RewardInput(example, half, BLANK, BLANK)) == pytest.approx(4 / 7)
    wrote = RewardInput(example, half, BLANK, BLANK, written="starts at noon")
    assert value("similarity", wrote) == pytest.approx(4 / 5)
    unanswered = RewardInput(Example("b", TEXT), half, BLANK, BLANK, written="starts at noon")
    assert value("similarity", unanswered) == pytest.approx(6 / 8)


def test_similarity_by_the_readers_embedding_and_by_its_own_judgement():
    here, there = np.asarray([1.0, 0.0]), np.asarray([1.0, 1.0])
    kept = item(reading(embedding=here), reading(embedding=there), Example("a", TEXT))
    assert value("similarity", kept, similarity={"kind": "embedding"}) == pytest.approx(math.sqrt(0.5))
    opposite = item(reading(embedding=-here), reading(embedding=here), Example("a", TEXT))
    assert value("similarity", opposite, similarity={"kind": "embedding"}) == 0.0
    asked = item(reading(same=0.7), reading(same=0.9), Example("a", TEXT))
    assert value("similarity", asked, similarity={"kind": "judge"}) == 0.7


@pytest.mark.parametrize("kind", ["embedding", "judge"])
def test_an_echo_does_not_raise_what_the_reader_measures(kind):
    vectors = {"embedding": np.ones(2), "same": 1.0}
    example = Example("a", TEXT)
    whole = item(reading(**vectors), reading(**vectors), example, written=TEXT)
    echo = item(reading(**vectors), reading(**vectors), example, written=f"{TEXT} {TEXT}")
    assert value("similarity", whole, similarity={"kind": kind}) == pytest.approx(1.0)
    assert value("similarity", echo, similarity={"kind": kind}) == pytest.approx(0.5)


def test_what_a_reader_is_asked_for():
    def asked(terms: dict[str, float], **similarity: str) -> set[str]:
        return set(reads(RewardConfig.model_validate({"terms": terms, "similarity": similarity})))

    assert asked({"distortion": 1.0}) == set()
    assert asked({"distortion": 1.0, "answer_likelihood": 0.0}) == {"bits"}, "logged, so asked for"
    assert asked({"task": 1.0, "answer_likelihood": 1.0}) == {"said", "bits"}
    assert asked({"similarity": 1.0}) == set()
    assert asked({"similarity": 1.0}, kind="embedding") == {"embedding"}
    assert asked({"similarity": 1.0}, kind="judge") == {"same"}
    assert asked({"distortion": 1.0}, kind="judge") == set()


@pytest.mark.parametrize("name", [name for name, term in TERMS.items() if term.reads])
def test_a_reader_that_fails_is_no_reward_and_one_that_is_missing_a_mistake(name):
    reward = Reward(RewardConfig(terms={name: 1.0}))
    away = Judgement.failed("away")
    for pair in ((away, reading()), (reading(), away), (reading(version="r"), reading(version="s"))):
        result = reward.score(item(*pair))
        assert result.status is Status.JUDGE_FAILED
        assert math.isnan(result.total)
    with pytest.raises(UserError, match=r"judges\.reader"):
        reward.score(RewardInput(EXAMPLE, Compression(cut(EXAMPLE.text), np.ones(N, np.bool_), 1.0), BLANK, BLANK))


def test_a_term_without_weight_may_fail():
    """A reconstructor that says nothing leaves NaN in the log, and the reward is what the other terms pay."""
    silent = Judgement(math.nan, version="none")
    compression = Compression(cut(EXAMPLE.text), np.ones(N, np.bool_), 1.0)
    thing = RewardInput(EXAMPLE, compression, silent, silent)
    result = Reward(RewardConfig(terms={"distortion": 0.0, "answer_kept": 1.0})).score(thing)
    assert (result.status, result.total) == (Status.OK, 1.0)
    assert math.isnan(result.terms["distortion"])
    failed = Reward(RewardConfig(terms={"distortion": 0.1, "answer_kept": 1.0})).score(thing)
    assert failed.status is Status.REWARD_FAILED


def test_the_length_of_what_is_written_counts_words_and_characters():
    compression = Compression(cut(TEXT), np.zeros(5, np.bool_), 0.5)

    def rate(written: str | None) -> float:
        return RewardInput(Example("a", TEXT), compression, BLANK, BLANK, written=written).rate

    assert rate(None) == 0.0
    assert rate(TEXT) == 1.0
    assert rate(f"{TEXT} {TEXT}") > 1.9
    assert rate(TEXT.replace(" ", "")) == pytest.approx(22 / 26), "one word, and nearly all characters"
    assert rate("! ! ! ! !") == 1.0, "five words of one character"
    assert rate("") == 0.0
