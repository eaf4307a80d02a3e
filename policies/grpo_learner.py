"""The GRPO learner: one forward and backward a prompt for all its samples, in micro-batches that change nothing."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from torch import Tensor

from policies.module import SCORES
from rlcompress.losses import clip_fraction, clipped_surrogate, kl_to_reference, masked_mean
from rlcompress.sampling import draw_entropy, draw_logp, draw_mask

DECISIONS = "decisions_P"  # global number of decisions in the batch, repeated on each row


def grpo_terms(
    scores_PN: Tensor, batch: Mapping[str, Tensor], settings: Mapping[str, Any], reference_PN: Tensor | None
) -> dict[str, Tensor]:
    """Loss and metrics of GRPO over Plackett–Luce draws; every value is a share of the whole batch's mean.

    loss = surrogate + kl_coeff · KL − entropy_coeff · H, each Σ over decisions / global number of decisions.
    """
    drawn = (batch["order_PGN"], batch["draws_PG"], batch["free_P"], batch["tau_P"])
    mask_PGN = draw_mask(batch["draws_PG"], batch["order_PGN"].shape[-1]) & batch["ok_PG"][..., None]
    count = batch[DECISIONS][0]
    low, high = settings["clip_low"], settings["clip_high"]
    logp = draw_logp(scores_PN, *drawn)
    old = batch["logp_PGN"]
    surrogate = clipped_surrogate(
        logp, old, batch["advantage_PG"][..., None], mask_PGN, low=low, high=high, count=count
    )
    entropy = masked_mean(draw_entropy(scores_PN, *drawn), mask_PGN, count=count)
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
            logp, draw_logp(reference_PN, *drawn), mask_PGN, estimator=settings["kl_estimator"], count=count
        )
        loss = loss + settings["kl_coeff"] * kl
        terms["kl_reference"] = kl
    return {"loss": loss, **terms}


class GRPOLearner(TorchLearner):
    """RLlib's Learner with our loss, AdamW, a linear learning-rate schedule and a guard against non-finite updates."""

    def build(self) -> None:
        super().build()
        self.settings: dict[str, Any] = self.config.learner_config_dict
        self.skipped = 0
        self.reference = None
        if self.settings["kl_coeff"] > 0:
            self.reference = copy.deepcopy(self.module[DEFAULT_MODULE_ID].unwrapped().network).requires_grad_(False)

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        parameters = self.get_parameters(self._module[module_id])
        optimizer = torch.optim.AdamW(
            parameters, betas=(0.9, 0.98), weight_decay=self.config.learner_config_dict["weight_decay"]
        )
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=parameters, lr_or_lr_schedule=self.config.lr
        )

    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        super().before_gradient_based_update(timesteps=timesteps)
        for optimizer in self._named_optimizers.values():
            self._set_optimizer_lr(optimizer, timesteps["lr"])

    def compute_loss_for_module(self, *, module_id: str, config: Any, batch: Any, fwd_out: Any) -> Tensor:
        reference_PN = None
        if self.reference is not None:
            with torch.no_grad():
                reference_PN = self.reference(batch)
        terms = grpo_terms(fwd_out[SCORES], batch, self.settings, reference_PN)
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()
        return terms["loss"]

    def _uncompiled_update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Accumulate gradients over micro-batches, then step once; a non-finite gradient skips the step."""
        columns = {k: v for k, v in batch[DEFAULT_MODULE_ID].items() if isinstance(v, Tensor)}
        rows = len(columns["free_P"])
        size = self.settings["micro_batch"] or rows
        self._sums: dict[str, Tensor | float] = {}
        for optimizer in self._optimizer_parameters:
            optimizer.zero_grad(set_to_none=True)
        total: Tensor | float = 0.0
        forward: Any = {}
        for start in range(0, rows, size):
            part = {DEFAULT_MODULE_ID: {k: v[start : start + size] for k, v in columns.items()}}
            with self._without_sync(start + size < rows):
                forward = self.module.forward_train(part)
                losses = self.compute_losses(fwd_out=forward, batch=part)
                # data-parallel learners average gradients, so a shard of the global mean counts once per learner
                scaled = losses[DEFAULT_MODULE_ID] * max(1, self.config.num_learners)
                scaled.backward()
            total = total + losses[DEFAULT_MODULE_ID].detach()
        self._step()
        return forward, {DEFAULT_MODULE_ID: total}, {}

    def _without_sync(self, more_to_come: bool) -> contextlib.AbstractContextManager[Any]:
        module = self.module[DEFAULT_MODULE_ID]
        if more_to_come and hasattr(module, "no_sync"):
            return module.no_sync()  # type: ignore[no-any-return]
        return contextlib.nullcontext()

    def _step(self) -> None:
        parameters = [p for p in self._params.values() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.settings["grad_clip"])
        finite = bool(torch.isfinite(norm))
        if finite:
            for optimizer in self._named_optimizers.values():
                optimizer.step()
        else:
            self.skipped += 1
        self.metrics.log_dict(
            {**{k: float(v) for k, v in self._sums.items()}, "gradient_norm": float(norm), "skipped": self.skipped},
            key=DEFAULT_MODULE_ID,
            window=1,
        )

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_state(*args, **kwargs), "skipped": self.skipped}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.skipped = state.get("skipped", 0)
