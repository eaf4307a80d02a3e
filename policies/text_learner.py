"""The learner of texts: GRPO's loss a token, with the weights that the driver gave each token of the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.utils.numpy import convert_to_numpy
from torch import Tensor

from policies.learner import DECISIONS, CompressorLearner
from policies.text_module import ENTROPY, LOGP
from rlcompress.learning.losses import KL_ESTIMATORS, clip_fraction, clipped_surrogate, masked_mean

SHARES = ("loss", "surrogate", "entropy", "ratio_deviation", "kl_old", "kl_reference", "clip_fraction", "chaos")


def text_terms(
    logp: Tensor,
    batch: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    reference: Tensor | None = None,
    entropy: Tensor | None = None,
) -> dict[str, Tensor]:
    """Loss and metrics over tokens [P, G, O]; every value is a share of the whole batch's.

    With the weights w of `token_weights`, which hold all normalisers, and ρ = exp(logp − logp_old):

        loss = −Σ w min(ρ A, clip(ρ) A) + kl_coeff Σ w KL(policy ‖ reference) − entropy_coeff Σ w H

    Metrics are means over the batch's tokens, all alike. Without `entropy` (exact, with gradients) the metric of that
    name is the mean of −logp: unbiased where the tokens were drawn, and without use as a term of a loss, for the
    expectation of its gradient is 0.
    """
    mask, weight, count = batch["output_PGO"], batch["weight_PGO"], batch[DECISIONS][0]
    old, clip = batch["logp_PGO"], {"low": settings["clip_low"], "high": settings["clip_high"]}
    # weights are not negative, so they may stand inside of the minimum
    surrogate = clipped_surrogate(logp, old, weight * batch["advantage_PG"][..., None], mask, **clip, count=1.0)
    gap = torch.where(mask, old - logp, 0.0)
    loss = surrogate
    terms = {
        "entropy": masked_mean(-logp if entropy is None else entropy, mask, count=count),
        "ratio_deviation": masked_mean((-gap).exp().sub(1).abs(), mask, count=count),
        "kl_old": masked_mean(gap.exp() - 1 - gap, mask, count=count),
        "clip_fraction": clip_fraction(logp, old, mask, **clip, count=count),
    }
    if entropy is not None:
        loss = loss - settings["entropy_coeff"] * masked_mean(weight * entropy, mask, count=1.0)
    if reference is not None:
        kl = KL_ESTIMATORS[settings["kl_estimator"]](torch.where(mask, reference - logp, 0.0))
        loss = loss + settings["kl_coeff"] * masked_mean(weight * kl, mask, count=1.0)
        terms["kl_reference"] = masked_mean(kl, mask, count=count)
    return {"loss": loss, "surrogate": surrogate, **terms}


class TextGRPOLearner(CompressorLearner):
    """Our learner with GRPO's loss on texts and, where there is a KL term, the policy before RL as its reference."""

    LENGTH = "decoding.max_new_tokens"

    def build(self) -> None:
        super().build()
        # a restored learner is built from the same folder, so this is where the run began and not where it went on
        self.reference = self.policy.learned() if self.settings["kl_coeff"] > 0 else None

    def compute_loss_for_module(self, *, module_id: str, config: Any, batch: Any, fwd_out: Any) -> Tensor:
        reference_PGO = None
        if self.reference is not None:
            with torch.no_grad():
                reference_PGO = self.policy.outputs(batch, self.reference)[LOGP]
        terms = text_terms(fwd_out[LOGP], batch, self.settings, reference_PGO, fwd_out.get(ENTROPY))
        # of the largest that there is: what schedules of the temperature go by
        chaos = terms["entropy"] / math.log(self.policy.network.config.vocab_size)
        self.count({**terms, "chaos": chaos})
        return terms["loss"]

    def _get_optimizer_state(self) -> dict[str, Any]:
        """As RLlib's, with moments of bfloat16 parameters as float32: numpy knows no bfloat16."""
        found = {}
        for name, optimizer in self._named_optimizers.items():
            state = optimizer.state_dict()
            moments = {i: {k: v.float() for k, v in values.items()} for i, values in state["state"].items()}
            found[name] = {
                "module_id": self._optimizer_name_to_module[name],
                "state": convert_to_numpy({**state, "state": moments}),
            }
        return found
