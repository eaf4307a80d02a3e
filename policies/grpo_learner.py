"""The GRPO learner: one forward and backward a prompt for all its samples."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from policies.learner import DECISIONS, CompressorLearner
from policies.module import SCORES
from rlcompress.learning.losses import clip_fraction, clipped_surrogate, kl_to_reference, masked_mean
from rlcompress.learning.samplers import SAMPLERS, Columns
from rlcompress.learning.sampling import draw_mask

SHARES = ("loss", "surrogate", "entropy", "ratio_deviation", "kl_old", "kl_reference", "clip_fraction")
Scores = Tensor | None  # of a reference, if there is one


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions of a batch under the scores: `logp` [P, G, N], `mask` where a valid sample decided, their `count`."""

    logp: Tensor
    mask: Tensor
    count: Tensor


def decisions_of(scores_PN: Tensor, batch: Columns, settings: Mapping[str, Any]) -> Decisions:
    mask_PGN = draw_mask(batch["draws_PG"], batch["order_PGN"].shape[-1]) & batch["ok_PG"][..., None]
    return Decisions(SAMPLERS[settings["sampler"]].logp(scores_PN, batch), mask_PGN, batch[DECISIONS][0])


def regularised(
    surrogate: Tensor,
    made: Decisions,
    scores_PN: Tensor,
    batch: Columns,
    settings: Mapping[str, Any],
    reference: Scores,
) -> dict[str, Tensor]:
    """The loss of any surrogate, loss = surrogate + kl_coeff · KL − entropy_coeff · H, and what it was made of."""
    logp, mask_PGN, count = made.logp, made.mask, made.count
    sampler = SAMPLERS[settings["sampler"]]
    entropy = masked_mean(sampler.entropy(scores_PN, batch), mask_PGN, count=count)
    loss = surrogate - settings["entropy_coeff"] * entropy
    terms = {
        "surrogate": surrogate,
        "entropy": entropy,
        "ratio_deviation": masked_mean((logp - batch["logp_PGN"]).exp().sub(1).abs(), mask_PGN, count=count),
    }
    if reference is not None:
        kl = kl_to_reference(
            logp, sampler.logp(reference, batch), mask_PGN, estimator=settings["kl_estimator"], count=count
        )
        loss = loss + settings["kl_coeff"] * kl
        terms["kl_reference"] = kl
    return {"loss": loss, **terms}


def grpo_terms(
    scores_PN: Tensor, batch: Columns, settings: Mapping[str, Any], reference_PN: Scores
) -> dict[str, Tensor]:
    """Loss and metrics of GRPO over a sampler's decisions; every value is a share of the whole batch's mean.

    The surrogate is PPO's, Σ over decisions / global number of decisions; see `regularised` for the rest of the loss.
    """
    made = decisions_of(scores_PN, batch, settings)
    old, clip = batch["logp_PGN"], {"low": settings["clip_low"], "high": settings["clip_high"]}
    surrogate = clipped_surrogate(made.logp, old, batch["advantage_PG"][..., None], made.mask, **clip, count=made.count)
    gap = old - made.logp
    return {
        **regularised(surrogate, made, scores_PN, batch, settings, reference_PN),
        "kl_old": masked_mean(gap.exp() - 1 - gap, made.mask, count=made.count),
        "clip_fraction": clip_fraction(made.logp, old, made.mask, **clip, count=made.count),
    }


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
