"""Finding terms by name and by Python path, gates on strings, importance weights."""

from __future__ import annotations

import math
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.config.schema import RewardConfig
from rlcompress.errors import UserError
from rlcompress.rewards.gates import bare_open, floor_open, leak_open, leaked_words, order_open
from rlcompress.rewards.importance import IMPORTANCES, Importance, count_words
from rlcompress.rewards.reward import Reward
from rlcompress.rewards.terms import TERMS, RewardInput, answer_kept, find_term
from rlcompress.text.units import unit_starts
from rlcompress.words import Compression, Example, Judgement, Status, Units

PLUGIN = """
import math

def brevity(item):
    return 1.0 / len(item.compression.text)

def huge(item):
    return 40.0

def undefined(item):
    return math.nan

def broken(item):
    return item.no_such_field

number = 3
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "my_reward_terms.py").write_text(PLUGIN)
    (tmp_path / "my_hungry_terms.py").write_text("import a_package_that_is_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)


def compressed(text: str, kept: set[int]) -> Compression:
    starts_N = unit_starts(text)
    ends_N = np.append(starts_N[1:], len(text)).astype(np.int64) if text else starts_N
    n = len(starts_N)
    units = Units(text, starts_N, ends_N, np.ones(n, np.int64), np.zeros(n, np.bool_))
    return Compression(units, np.isin(np.arange(n), sorted(kept)), 0.5)


def item_for(text: str, kept: set[int], answer: str | None = None) -> RewardInput:
    verdict = Judgement(1.0, version="v")
    return RewardInput(Example("x", text, answer=answer), compressed(text, kept), verdict, verdict)


def test_a_term_of_yours_is_found_by_path_and_clipped(plugin):
    item = item_for("a b c d", {0, 1, 2, 3})
    reward = Reward(RewardConfig(terms={"my_reward_terms:brevity": 2.0, "my_reward_terms:huge": 1.0}))
    result = reward.score(item)
    assert result.terms == {"my_reward_terms:brevity": pytest.approx(1 / 7), "my_reward_terms:huge": 1.0}
    assert result.total == pytest.approx(2 / 7 + 1)


def test_a_term_of_yours_that_raises_keeps_its_traceback(plugin):
    reward = Reward(RewardConfig(terms={"my_reward_terms:broken": 1.0}))
    with pytest.raises(AttributeError) as caught:
        reward.score(item_for("a b", {0}))
    assert "in broken" in "".join(traceback.format_exception(caught.value))


def test_a_term_of_yours_without_a_value_is_a_failed_reward(plugin):
    result = Reward(RewardConfig(terms={"my_reward_terms:undefined": 1.0})).score(item_for("a b", {0}))
    assert result.status is Status.REWARD_FAILED
    assert math.isnan(result.total)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("distorsion", "did you mean distortion"),
        ("zzz", "package.module:function"),
        ("no_such_module_here:f", "no_such_module_here:f.*cannot be imported"),
        (":f", "cannot be imported"),
        ("my_reward_terms:absent", "has no function 'absent'"),
        ("my_reward_terms:number", "has no function 'number'"),
        ("my_hungry_terms:f", "my_hungry_terms:f.*a_package_that_is_not_installed"),
    ],
)
def test_a_wrong_name_is_one_line_naming_it(plugin, name, message):
    with pytest.raises(UserError, match=message) as caught:
        find_term(name)
    assert "\n" not in str(caught.value)


def test_every_range_is_a_range():
    for term in TERMS.values():
        assert term.low < term.high


@pytest.mark.parametrize(
    ("answer", "kept", "share"),
    [
        ("New York", {0, 1}, 1.0),
        ("new york.", {1}, 0.5),
        ("New York", {2}, 0.0),
        ("York York", {1}, 1.0),
        ("?!", {2}, 1.0),
    ],
)
def test_answer_kept_counts_bare_words(answer, kept, share):
    assert answer_kept(item_for("New York! big", kept, answer)) == share


@pytest.mark.parametrize(
    ("source", "written", "leaked"),
    [
        ("2 and 3 apples", "2 3 apples", set()),
        ("2 and 3 apples", "5 apples", {"5"}),
        ("The cat sat", "the CAT!", set()),
        ("The cat sat", "The dog", {"dog"}),
        ("costs 1,234.5 euro", "costs 1,234", {"1,234"}),
        ("anything", "", set()),
        ("日本語を学ぶ", "日語", set()),
        ("日本語を学ぶ", "日英", {"英"}),
    ],
)
def test_leaked_words(source, written, leaked):
    assert leaked_words(source, written) == leaked


@given(st.text(), st.data())
def test_a_masked_text_has_only_words_of_its_source(text, data):
    """Span by span: the neighbours of a dropped hyphen may join up, but each was there."""
    n = len(unit_starts(text))
    kept = {u for u in range(n) if data.draw(st.booleans())}
    compression = compressed(text, kept)
    assert all(not leaked_words(text, text[a:b]) for a, b in compression.spans)
    assert leak_open(compression, None)


def test_floor_counts_reader_tokens():
    compression = compressed("a b c d", {0, 3})
    assert floor_open(compression.achieved_rate, 0.5)
    assert not floor_open(compression.achieved_rate, 0.51)


def test_importance_weights_point_where_they_should():
    units = compressed("the 42 zebras , the end", set()).units
    counts = count_words(["the the the the end", "the zebras"])
    rarity_N = Importance("rarity", counts)(units)
    assert rarity_N is not None
    the, number, zebras, comma, the_again, end = rarity_N
    assert the == the_again == comma < end < number
    assert end == zebras
    assert Importance("numbers")(units).tolist() == [1, 4, 1, 1, 1, 1]
    position_N = Importance("position")(units)
    assert position_N == pytest.approx(position_N[::-1])
    assert position_N[0] == 1.5 > position_N[1] > position_N[2]
    assert Importance()(units) is None


@pytest.mark.parametrize("name", sorted(IMPORTANCES))
def test_weights_are_positive_and_one_a_unit(name):
    importance = Importance(name, count_words(["some words here"]))
    for text in ("", "one", "some 7 words, 日本 👩‍👩‍👧 here\n"):
        units = compressed(text, set()).units
        weights_N = importance(units)
        if weights_N is not None:
            assert weights_N.shape == (len(units),)
            assert (weights_N > 0).all()


def test_importance_changes_the_distortion():
    text = "the 42 zebras"
    blank = Judgement(6.0, version="v", per_unit_N=np.asarray([2.0, 2.0, 2.0]))
    dropped_number = Judgement(2.0, version="v", per_unit_N=np.asarray([0.0, 2.0, 0.0]))
    compression = compressed(text, {0, 2})

    def term(name: str) -> float:
        reward = Reward(RewardConfig(importance=name))
        weights_N = reward.importance(compression.units)
        item = RewardInput(Example("x", text), compression, dropped_number, blank, weights_N)
        return reward.score(item).terms["distortion"]

    assert term("none") == pytest.approx(2 / 3)
    assert term("numbers") == pytest.approx(1 - 8 / 12)


def test_importance_says_what_it_lacks():
    with pytest.raises(UserError, match="count_words"):
        Importance("rarity")
    with pytest.raises(UserError, match="use one of none"):
        Importance("wise")
    item = item_for("a b", {0})
    with pytest.raises(UserError, match="splits its bits"):
        Reward().score(RewardInput(item.example, item.compression, item.judgement, item.judgement, np.ones(2)))


SOURCE = "The old man paid the bill. Later that day his sister came home from work and found the door open."


@pytest.mark.parametrize(
    ("written", "is_open"),
    [
        (None, True),
        ("", True),
        ("sister man door", True),
        (SOURCE, True),
        ("old man paid bill sister came home found door open", True),
        ("his sister came home and found the door open. The old man paid the bill", True),
        ("open bill sister the old work day found man from", False),
    ],
)
def test_the_order_gate_closes_on_soup(written, is_open):
    assert order_open(SOURCE, written) is is_open


@pytest.mark.parametrize(
    ("output", "answer", "is_open"),
    [
        ("sister", "his sister", True),
        ("his sister", "his sister", False),
        ("who came his sister", "his sister", False),
        ("his sister found", "his sister", True),
        ("anything", None, True),
        ("sister", "?!", True),
    ],
)
def test_the_bare_gate_closes_on_an_answer_and_nothing_else(output, answer, is_open):
    assert bare_open(SOURCE, output, answer, "Who came home?") is is_open


def test_the_bare_gate_is_open_where_the_source_is_no_more():
    assert bare_open("his sister", "his sister", "his sister", None)
