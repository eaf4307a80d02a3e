"""REINFORCE with a baseline (Williams 1992): the simple reference that GRPO and PPO are held against.

No ratio, no clip, no group: each batch of samples serves one update, and a reward counts relative to the mean of the
batch. Sampling, environment and learner are those of GRPO, so that a comparison compares the losses alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from policies.groups import Group
from policies.grpo import GRPO, GRPOConfig
from policies.grpo_learner import GRPOLearner, Scores, decisions_of, regularised
from rlcompress.config.schema import LearnerConfig
from rlcompress.learning.losses import score_function
from rlcompress.learning.samplers import Columns


def reinforce_terms(
    scores_PN: Tensor, batch: Columns, settings: Mapping[str, Any], reference_PN: Scores
) -> dict[str, Tensor]:
    """Loss and metrics of REINFORCE over a sampler's decisions; every value is a share of the whole batch's mean.

    The surrogate is −Σ A·logp over decisions / global number of decisions; see `regularised` for the rest of the loss.
    """
    made = decisions_of(scores_PN, batch, settings)
    surrogate = score_function(made.logp, batch["advantage_PG"][..., None], made.mask, count=made.count)
    return regularised(surrogate, made, scores_PN, batch, settings, reference_PN)


class ReinforceLearner(GRPOLearner):
    terms = staticmethod(reinforce_terms)


class ReinforceConfig(GRPOConfig):
    """See `CompressorConfig.run`."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or Reinforce)

    def get_default_learner_class(self) -> type:
        return ReinforceLearner


class Reinforce(GRPO):
    """REINFORCE for one-step masking episodes; one sample a prompt is enough."""

    @classmethod
    def get_default_config(cls) -> ReinforceConfig:
        return ReinforceConfig()

    @staticmethod
    def teaches(group: Group, settings: LearnerConfig) -> bool:
        """Any valid sample: it is compared with the batch, not with its group."""
        return bool(group.ok_G.any())
