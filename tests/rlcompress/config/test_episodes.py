"""Which algorithm learns from which episodes; what does not fit is refused with its mend."""

from __future__ import annotations

import pytest

from rlcompress.config.files import load_config
from rlcompress.errors import UserError

PROGRESSIVE = ["env.form=progressive", "learner.algorithm=ppo"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["learner.algorithm=ppo"], "set env.form progressive, not single"),
        (["env.form=progressive"], "learner.algorithm grpo learns from one step: set env.form single, or use ppo"),
        ([*PROGRESSIVE, "env.passes=0"], "env.passes"),
        ([*PROGRESSIVE, "env.passes=21"], "env.passes"),
        ([*PROGRESSIVE, "learner.kl_coeff=0.1"], "ppo bounds its steps by learner.target_kl: set kl_coeff to 0"),
        ([*PROGRESSIVE, "learner.gamma=0"], "learner.gamma"),
        ([*PROGRESSIVE, "learner.gae_lambda=1.1"], "learner.gae_lambda"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_mend(settings: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_config(None, settings)


def test_ppo_needs_no_group() -> None:
    config = load_config(None, [*PROGRESSIVE, "learner.samples_per_prompt=1"])
    assert (config.learner.samples_per_prompt, config.env.steps) == (1, 4)


def test_a_single_episode_has_one_step_whatever_passes_say() -> None:
    assert load_config(None, ["env.passes=7"]).env.steps == 1


def test_the_shipped_file_is_ppo_in_two_passes() -> None:
    config = load_config("tune_configs/masking/progressive.yaml")
    assert (config.learner.algorithm, config.env.form, config.env.steps) == ("ppo", "progressive", 2)
