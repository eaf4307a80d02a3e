"""What chooses its own length needs a price on it: combinations of sampler, reward and form that make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcompress.config.files import load_config
from rlcompress.config.schema import RunConfig
from rlcompress.errors import UserError

PRICED = ["env.sampler=bernoulli", "reward.terms.rate_distortion=1.0"]
TARGET = [*PRICED, "reward.target_rate=0.4"]
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["env.sampler=bernoulli"], ["env.sampler bernoulli", "rate_distortion, simple or rate"]),
        (["env.sampler=bernoulli", "reward.terms.rate=0.0"], ["no term of reward.terms prices it"]),
        ([*PRICED, "env.form=progressive", "learner.algorithm=ppo"], ["env.sampler bernoulli", "env.form to single"]),
        (["reward.terms.rate_distortion=1.0", "reward.target_rate=0.4"], ["reward.target_rate", "env.sampler"]),
        (["env.sampler=bernouli"], ["env.sampler", "bernoulli"]),
        ([*TARGET, "reward.target_rate=1.5"], ["reward.target_rate"]),
        ([*TARGET, "reward.lagrangian.stp=1"], ["reward.lagrangian.stp", "step"]),
        (["reward.beta.kind=adaptive"], ["reward.beta.kind adaptive"]),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_mend(settings: list[str], says: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_config(None, settings)
    for part in says:
        assert part in str(caught.value)


@pytest.mark.parametrize("term", ["rate_distortion", "simple", "rate", "my.module:function"])
def test_any_term_that_may_price_the_length_will_do(term: str) -> None:
    config = RunConfig.model_validate({"env": {"sampler": "bernoulli"}, "reward": {"terms": {term: 1.0}}})
    assert config.env.sampler == "bernoulli"


def test_shipped_prices_weigh_one_side_against_the_other_and_nothing_twice() -> None:
    """The default distortion term would count the bits again beside those in rate_distortion."""
    for name in ("rate_distortion", "target_rate"):
        terms = load_config(ROOT / "tune_configs" / "masking" / f"{name}.yaml").reward.terms
        assert {term: weight for term, weight in terms.items() if weight} == {"rate_distortion": 1.0}
