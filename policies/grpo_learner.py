"""The GRPO learner: one forward and backward a prompt for all its samples."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from policies.learner import DECISIONS, CompressorLearner
from policies.module import SCORES
from rlcompress.losses import clip_fraction, clipped_surrogate, kl_to_reference, masked_mean
from rlcompress.samplers import SAMPLERS
from rlcompress.sampling import draw_mask

SHARES = ("loss", "surrogate", "entropy", "ratio_deviation", "kl_old", "kl_reference", "clip_fraction")


def grpo_terms(
    scores_PN: Tensor, batch: Mapping[str, Tensor], settings: Mapping[str, Any], reference_PN: Tensor | None
) -> dict[str, Tensor]:
    """Loss and metrics of GRPO over a sampler's decisions; every value is a share of the whole batch's mean.

    loss = surrogate + kl_coeff · KL − entropy_coeff · H, each Σ over decisions / global number of decisions.
    """
    sampler = SAMPLERS[settings["sampler"]]
    mask_PGN = draw_mask(batch["draws_PG"], batch["order_PGN"].shape[-1]) & batch["ok_PG"][..., None]
    count = batch[DECISIONS][0]
    low, high = settings["clip_low"], settings["clip_high"]
    logp = sampler.logp(scores_PN, batch)
    old = batch["logp_PGN"]
    surrogate = clipped_surrogate(
        logp, old, batch["advantage_PG"][..., None], mask_PGN, low=low, high=high, count=count
    )
    entropy = masked_mean(sampler.entropy(scores_PN, batch), mask_PGN, count=count)
    loss = surrogate - settings["entropy_coeff"] * entropy
    terms = {
        "surrogate": surrogate,
        "entropy": entropy,
        "ratio_deviation": masked_mean((logp - old).exp().sub(1).abs(), mask_PGN, count=count),
        "kl_old": masked_mean((old - logp).exp() - 1 - (old - logp), mask_PGN, count=count),
        "clip_fraction": clip_fraction(logp, old, mask_PGN, low=low, high=high, count=count),
    }
    if reference_PN is not None:
        kl = kl_to_reference(
            logp, sampler.logp(reference_PN, batch), mask_PGN, estimator=settings["kl_estimator"], count=count
        )
        loss = loss + settings["kl_coeff"] * kl
        terms["kl_reference"] = kl
    return {"loss": loss, **terms}


class GRPOLearner(CompressorLearner):
    """Our learner with GRPO's loss and, where there is a KL term, the policy before RL as its reference."""

    terms = staticmethod(grpo_terms)

    def build(self) -> None:
        super().build()
        self.reference = None
        if self.settings["kl_coeff"] > 0:
            self.reference = copy.deepcopy(self.policy.network).requires_grad_(False)

    def compute_loss_for_module(self, *, module_id: str, config: Any, batch: Any, fwd_out: Any) -> Tensor:
        reference_PN = None
        if self.reference is not None:
            with torch.no_grad():
                reference_PN = self.policy.scores(batch, self.reference)
        terms = self.terms(fwd_out[SCORES], batch, self.settings, reference_PN)
        self.count(terms)
        return terms["loss"]
