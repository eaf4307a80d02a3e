"""The PPO learner: episodes become a batch with advantages, and each minibatch of their steps one update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from torch import Tensor

from policies.connectors import ADVANTAGE, DRAWS, FREE, LOGP, ORDER, TARGET, TAU, VALUE, WholeEpisodeAdvantages
from policies.learner import DECISIONS, CompressorLearner
from policies.module import SCORES
from policies.ppo_module import STATE
from rlcompress.learning.losses import clip_fraction, clipped_surrogate, masked_mean, value_loss
from rlcompress.learning.sampling import draw_entropy, draw_logp, draw_mask

STEPS = "steps_P"  # number of steps in the minibatch, repeated on each row
BATCH = (*STATE, ORDER, DRAWS, FREE, TAU, LOGP, ADVANTAGE, TARGET, VALUE)
SHARES = ("loss", "surrogate", "value_loss", "entropy", "ratio_deviation", "kl", "clip_fraction")

_VALUE_ROWS = 256  # steps in one forward of the value pass, unless micro-batches are smaller


def ppo_terms(
    scores_PN: Tensor, value_P: Tensor, batch: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Loss and metrics of PPO; every value is a share of the whole minibatch's mean.

    loss = surrogate + value_coeff · value loss − entropy_coeff · H. Surrogate, entropy and KL are means over decisions
    (the draws of a step, each with the step's advantage); the value loss is a mean over steps, also of those that left
    nothing to decide. `kl` estimates KL(sampled ‖ now) as the mean of ρ − 1 − log ρ (k3, Schulman 2020).
    """
    order_PGN = batch[ORDER][:, None, : scores_PN.shape[1]]
    drawn = (order_PGN, batch[DRAWS][:, None], batch[FREE], batch[TAU])
    mask = draw_mask(batch[DRAWS][:, None], scores_PN.shape[1])
    logp, old = draw_logp(scores_PN, *drawn), batch[LOGP][:, None, : scores_PN.shape[1]]
    count, clip = batch[DECISIONS][0], {"low": settings["clip_low"], "high": settings["clip_high"]}
    surrogate = clipped_surrogate(logp, old, batch[ADVANTAGE][:, None, None], mask, **clip, count=count)
    entropy = masked_mean(draw_entropy(scores_PN, *drawn), mask, count=count)
    error = value_loss(value_P, batch[VALUE], batch[TARGET], clip=settings["value_clip"], count=batch[STEPS][0])
    gap = logp - old
    return {
        "loss": surrogate + settings["value_coeff"] * error - settings["entropy_coeff"] * entropy,
        "surrogate": surrogate,
        "value_loss": error,
        "entropy": entropy,
        "ratio_deviation": masked_mean(gap.exp().sub(1).abs(), mask, count=count),
        "kl": masked_mean(gap.exp() - 1 - gap, mask, count=count),
        "clip_fraction": clip_fraction(logp, old, mask, **clip, count=count),
    }


class PPOLearner(CompressorLearner):
    """Our learner with PPO's loss. RLlib's learner pipeline turns episodes into the batch, see `prepare`."""

    def build(self) -> None:
        super().build()
        self._learner_connector.append(
            WholeEpisodeAdvantages(
                gamma=self.settings["gamma"],
                lambda_=self.settings["gae_lambda"],
                against_others=self.settings["against_others"],
                chunk=min(_VALUE_ROWS, self.settings["micro_batch"] or _VALUE_ROWS),
            )
        )

    @classmethod
    def rl_module_required_apis(cls) -> list[type]:
        return [ValueFunctionAPI]

    def prepare(self, episodes: Sequence[SingleAgentEpisode]) -> dict[str, NDArray[Any]]:
        """The batch of these episodes, a row a step in their order, by this learner's pipeline and critic."""
        batch = self._learner_connector(
            rl_module=self.module, batch={}, episodes=list(episodes), shared_data={}, metrics=self.metrics
        )
        return {
            name: np.asarray(batch[DEFAULT_MODULE_ID][name].cpu()) for name in (*self.policy.features.names, *BATCH)
        }

    def compute_loss_for_module(self, *, module_id: str, config: Any, batch: Any, fwd_out: Any) -> Tensor:
        value_P = self.policy.compute_values(batch, embeddings=fwd_out[Columns.EMBEDDINGS])
        terms = ppo_terms(fwd_out[SCORES], value_P, batch, self.settings)
        self.count(terms)
        return terms["loss"]
