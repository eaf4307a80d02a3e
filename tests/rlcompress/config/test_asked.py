"""What does not go together in runs that ask questions or ask no judge."""

from __future__ import annotations

import pytest

from rlcompress.config.files import load_config
from rlcompress.errors import UserError

TOLD = ["policy.channels=question"]
SILENT = ["judges.reward.model=none", "warm_start.steps=0", "reward.terms={distortion: 0.0, answer_kept: 1.0}"]


def test_a_run_that_asks_questions_and_no_judge_is_a_run() -> None:
    config = load_config(
        None, [*TOLD, *SILENT, "judges.heldout.model=none", "policy.encoder=none", "policy.prior=sentences"]
    )
    assert config.judges.reward.silent
    assert config.judges.heldout.silent
    assert not load_config(None, []).judges.reward.silent


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["policy.encoder=none"], "policy.encoder none needs what the question tells: set policy.channels to question"),
        (["policy.prior=sentences"], "policy.prior sentences needs what the question tells"),
        (
            [*TOLD, "policy.encoder=none", "env.form=progressive", "learner.algorithm=ppo"],
            "env.form progressive needs an encoder that sees what is left: set policy.encoder",
        ),
        ([*SILENT, "reward.terms={distortion: 1.0}"], "reward.terms.distortion is 1 and judges.reward.model is none"),
        ([*SILENT, "warm_start.steps=5"], "set warm_start.steps to 0, or name a judge"),
        ([*SILENT, "cotrain.steps=5"], "set cotrain.steps to 0, or name a judge"),
    ],
)
def test_what_does_not_go_together_is_refused_with_its_mend(changes: list[str], named: str) -> None:
    with pytest.raises(UserError, match=named):
        load_config(None, changes)
