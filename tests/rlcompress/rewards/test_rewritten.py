"""The reward of rewrites: no cheat is paid what an honest one is, even by the most gullible of evaluators."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import pytest

from rlcompress.config.files import load_run
from rlcompress.config.rewarding import LengthConfig
from rlcompress.config.rewriting_run import RewritingRun
from rlcompress.errors import UserError
from rlcompress.rewards.rewriting import Rewrite
from rlcompress.rewards.rewritten import REWRITE_TERMS, JudgedRewrite, RewriteReward
from rlcompress.words import Judgement, Status
from tests.rlcompress.rewards.test_rewriting import CHEATS, HONEST, PROBLEM

WRONG = "<<80+110=190>>190\n#### 190"
GUARDED = RewriteReward({"guarded": 1.0}, cap=0.9)
SHORTER = RewriteReward({"correctness": 1.0, "shorter": 0.5, "likelihood": 0.1}, cap=0.9)

FILES = sorted((Path(__file__).resolve().parents[3] / "tune_configs" / "rewriting").glob("*.yaml"))
SHIPPED = {
    file.stem: RewriteReward.of(config.reward)
    for file, config in ((file, load_run(file)) for file in FILES)
    if isinstance(config, RewritingRun)
}


def verdict(said: str = PROBLEM.solution, bits: float = 4.0, version: str = "v") -> Judgement:
    return Judgement(bits, version=version, tokens=4, detail={"said": said})


def judged(text: str, after: Judgement | None = None, before: Judgement | None = None) -> JudgedRewrite:
    """Tokens are words and signs; whoever is asked for nothing answers right."""
    words = [len(t.replace(".", " .").replace("?", " ?").split()) for t in (PROBLEM.text, text)]
    rewrite = Rewrite.of(PROBLEM, text)
    return JudgedRewrite(rewrite, PROBLEM.answer, after or verdict(), before or verdict(), *words, target=0.5)


@pytest.mark.parametrize("reward", [GUARDED, SHORTER, *SHIPPED.values()], ids=["guarded", "shorter", *SHIPPED])
@pytest.mark.parametrize("cheat", CHEATS)
def test_no_cheat_is_paid_like_an_honest_rewrite(cheat, reward):
    """Though the evaluator is right about every cheat, as one that is told the answer would be."""
    assert reward.score(judged(CHEATS[cheat][1](HONEST))).total == 0.0
    assert reward.score(judged(HONEST)).total > 0.3


def test_copying_padding_and_echoing_lose():
    honest = GUARDED.score(judged(HONEST)).total
    for text in (PROBLEM.text, f"{HONEST} the" * 2, HONEST + " a" * 40, f"{HONEST} {HONEST}"):
        assert GUARDED.score(judged(text)).total < honest
        assert SHORTER.score(judged(text)).total < SHORTER.score(judged(HONEST)).total


def test_with_the_gates_off_the_answer_alone_wins():
    """What the gates are for; and the contract above can fail."""
    off = RewriteReward({"correctness": 1.0, "shorter": 0.5, "likelihood": 0.1}, gates=())
    told = judged("19", after=verdict(bits=0.1))
    assert off.score(told).total > off.score(judged(HONEST)).total
    assert SHORTER.score(told).total == 0.0


def test_a_wrong_answer_buys_nothing_by_being_short():
    assert GUARDED.score(judged(HONEST, after=verdict(WRONG))).total == 0.0
    added = RewriteReward({"correctness": 1.0, "length": 1.0})
    assert added.score(judged(HONEST, after=verdict(WRONG))).total > 0.0


def test_what_it_is_made_of():
    every = RewriteReward(dict.fromkeys(REWRITE_TERMS, 1.0)).score(judged(HONEST, after=verdict(bits=0.0)))
    assert set(every.terms) == set(REWRITE_TERMS)
    assert all(0.0 <= value <= 1.0 for value in every.terms.values())
    assert every.terms["correctness"] == 0.5
    assert every.terms["likelihood"] == pytest.approx(2 / 3)  # one bit a token less
    assert every.total == pytest.approx(sum(every.terms.values()))
    assert set(every.gates.values()) == {True}


def test_a_price_counts_from_its_worst():
    """A negative weight pays most where the term is 0, and never less than a closed gate does."""
    priced = RewriteReward({"correctness": 1.0, "length": -0.5})
    for text in (HONEST, PROBLEM.text):
        assert priced.score(judged(text)).total >= 0.5


def test_a_length_of_its_own():
    far = judged(HONEST)
    tight = JudgedRewrite(**{**far.__dict__, "length": LengthConfig(target=0.05, tolerance=0.0, slope=0.1)})
    assert GUARDED.score(tight).total == 0.0
    assert RewriteReward({"guarded": 1.0}, cap=0.05).score(far).gates["cap"] is False


@pytest.mark.parametrize("side", ["after", "before"])
def test_a_failed_evaluator_is_masked(side):
    scored = GUARDED.score(judged(HONEST, **{side: Judgement.failed("out of memory")}))
    assert math.isnan(scored.total)
    assert scored.status is Status.JUDGE_FAILED
    other = GUARDED.score(judged(HONEST, **{side: verdict(version="w")}))
    assert other.status is Status.JUDGE_FAILED


def test_a_term_that_is_no_number_is_masked():
    scored = RewriteReward({"likelihood": 1.0}).score(judged(HONEST, after=verdict(bits=float("nan"))))
    assert scored.status is Status.REWARD_FAILED
    assert math.isnan(scored.total)


@pytest.mark.parametrize(
    ("weights", "gates", "message"),
    [
        ({"corectness": 1.0}, (), r"reward\.terms: 'corectness' is unknown: use correctness"),
        ({"length": 1.0}, ("leek",), r"reward\.gates: 'leek' is unknown: use leak"),
        ({"length": 0.0}, (), r"reward\.terms needs at least one"),
    ],
)
def test_mistakes(weights, gates, message):
    with pytest.raises(UserError, match=message):
        RewriteReward(weights, gates)


def test_gold_is_compared_exactly():
    item = judged(HONEST, after=verdict("#### 19.0"))
    assert GUARDED.score(item).terms["guarded"] == GUARDED.score(judged(HONEST)).terms["guarded"]
    assert item.gold == Fraction(19)
