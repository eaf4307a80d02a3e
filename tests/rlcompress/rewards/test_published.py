"""The published formulas with numbers worked by hand, the holes that they have, and that the presets have them not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.config.files import load_config
from rlcompress.config.presets import PRESETS
from rlcompress.config.rewarding import SIZED, RewardConfig
from rlcompress.errors import UserError
from rlcompress.rewards.published import cmprsr, core_rag, pcrl, tac_c, taco_rl
from rlcompress.rewards.recipes import RECIPES
from rlcompress.rewards.reward import Reward
from rlcompress.rewards.terms import RewardInput
from rlcompress.words import Compression, Example, Judgement, Status
from tests.rlcompress.rewards.arena import RATE
from tests.rlcompress.rewards.test_reward import cut

TEXT = "one two three four five six seven eight nine ten " * 4
BLANK = Judgement(1.0, version="v")


def paid(term: str, kept: int, said: str, original: str = "four five", answer: str = "four five", **length: float):
    """A recipe's value where the first `kept` of 40 words stay and the reader says so and so."""
    units = cut(TEXT)
    config = RewardConfig.model_validate({"preset": term, "length": {"target": RATE, **length}})
    readings = [Judgement(3.0, version="r", tokens=2, detail={"said": text}) for text in (said, original)]
    compression = Compression(units, np.arange(len(units)) < kept, RATE)
    example = Example("x", TEXT, "Which?", answer)
    result = Reward(config).score(RewardInput(example, compression, BLANK, BLANK, None, None, 1.0, *readings))
    assert result.status is Status.OK
    return result.terms[term]


def test_pcrl():
    assert pcrl(0.95, 0.7) == pytest.approx(0.3)
    assert pcrl(0.9, 0.7) == pytest.approx(-0.01), "the gate is not reached, but passed"


def test_pcrl_prefers_copying_to_a_nearly_unchanged_answer_and_the_preset_does_not():
    assert pcrl(1.0, 1.0) > pcrl(0.85, 0.5)
    nearly = "one two three four six"  # ROUGE-L 0.8 with five words of which one is another
    assert paid("pcrl", 40, "one two three four five", "one two three four five") < paid(
        "pcrl", 20, nearly, "one two three four five"
    )


def test_taco_rl():
    assert taco_rl(0.6, kept=10, tokens=100) == -0.4
    assert taco_rl(0.6, kept=11, tokens=100) == -0.1
    assert taco_rl(0.6, kept=20, tokens=100) == 0.6
    assert taco_rl(0.6, kept=80, tokens=100) == 0.6
    assert taco_rl(0.6, kept=81, tokens=100) == -0.1


def test_taco_rl_pays_a_copy_of_a_short_text_in_full_and_the_preset_does_not():
    assert taco_rl(1.0, kept=40, tokens=40) == 1.0 > taco_rl(0.8, kept=20, tokens=40)
    assert paid("taco_rl", 40, "four five") == pytest.approx(-0.1)
    assert paid("taco_rl", 20, "four five") == pytest.approx(1.0)


def test_core_rag():
    assert core_rag(1.0, 1.0) == 15.0
    assert core_rag(0.0, 0.5) == 2.5
    assert core_rag(0.0, 0.5, f1_weight=10.0) == 5.0
    assert paid("core_rag", 20, "four six") == pytest.approx(2.5 / 15)
    assert paid("core_rag", 40, "four five") == 0.0, "the published one has no length in it"


def test_cmprsr():
    assert cmprsr(0.8, rate=0.4, target=0.5) == pytest.approx(1.8)
    assert cmprsr(0.8, rate=0.7, target=0.5) == pytest.approx(1.6)


def test_cmprsr_sells_length_for_quality_and_pays_for_nothing_and_the_preset_does_not():
    assert cmprsr(1.0, 1.0, 0.5) > cmprsr(0.4, 0.5, 0.5)
    assert cmprsr(0.0, 0.0, 0.5) == 1.0
    assert paid("cmprsr", 40, "four five") == 0.0 < paid("cmprsr", 20, "four six") == pytest.approx(0.5)
    assert paid("cmprsr", 4, "") == 0.0


def test_tac_c():
    assert tac_c(1.0, 1.0, True, 0.5, 0.5, leaked=False) == pytest.approx(1.0)
    assert tac_c(0.0, 0.4, True, 0.55, 0.5, leaked=False) == pytest.approx((0.95 * 0.2 + 0.05) * 0.5)
    assert tac_c(1.0, 1.0, True, 0.61, 0.5, leaked=False) == 0.0
    assert tac_c(1.0, 1.0, True, 0.5, 0.5, leaked=True) == 0.0


def test_tac_c_pays_for_its_format_alone_and_the_preset_does_not():
    assert tac_c(0.0, 0.0, True, 0.0, 0.5, leaked=False) == pytest.approx(0.05)
    assert paid("tac_c", 4, "") == 0.0
    assert paid("tac_c", 20, "four five") == pytest.approx(1.0)
    assert PRESETS["tac_c"]["length"] == {"slope": 0.1}, "its own budget gate"


@pytest.mark.parametrize("name", RECIPES)
@given(kept=st.integers(0, 40), said=st.sampled_from(["", "four", "four five", "five four nine"]))
def test_ranges_and_no_cliff(name, kept, said):
    """One more token moves the reward by no more than the steepest slope, wherever one stands."""
    here = paid(name, kept, said)
    assert RECIPES[name].low <= here <= RECIPES[name].high
    if kept < 40:
        slope = PRESETS[name].get("length", {}).get("slope", 0.2)
        steepest = 1.1 / slope + 0.3 / 0.05
        assert abs(paid(name, kept + 1, said) - here) <= steepest / 40 + 1e-9


@pytest.mark.parametrize("name", RECIPES)
def test_a_better_answer_is_paid_more(name):
    values = [paid(name, 20, said) for said in ("", "four six", "four five")]
    assert values == sorted(values)
    assert values[0] < values[-1]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_in_what_is_not_written(name):
    config = load_config(None, [f"reward.preset={name}", "reward.terms.rate=0.25", "reward.gates.floor=0.1"]).reward
    assert config.terms == {"distortion": 0.0, name: 1.0, "rate": 0.25}
    assert config.gates.floor == 0.1
    assert config.gates.leak
    assert config.gates.bare
    assert RewardConfig.model_validate(config.model_dump()) == config, "a written configuration says it all"
    assert RewardConfig(preset=name).terms == {"distortion": 0.0, name: 1.0}
    assert load_config(None, [f"reward.preset={name}", "reward.preset=null"]).reward == RewardConfig()


def test_a_weight_of_the_default_term_goes_over_the_preset():
    assert load_config(None, ["reward.terms.distortion=0.3", "reward.preset=pcrl"]).reward.terms == {
        "distortion": 0.3,
        "pcrl": 1.0,
    }


def test_what_does_not_fit_is_named():
    with pytest.raises(UserError, match=r"reward\.preset.*'pcrll'.*pcrl"):
        load_config(None, ["reward.preset=pcrll"])
    with pytest.raises(UserError, match=r"reward\.terms\.pcrl.*similarity\.kind embedding.*rouge_l"):
        load_config(None, ["reward.preset=pcrl", "reward.similarity.kind=embedding"])
    for name in SIZED:
        with pytest.raises(UserError, match=rf"reward\.terms\.{name}.*reward\.length\.target"):
            load_config(None, [f"reward.preset={name}", "env.sampler=bernoulli"])
