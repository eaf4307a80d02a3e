"""The learner that every algorithm's learner extends: AdamW, the run's learning rate, micro-batches, a guard.

A subclass gives `compute_loss_for_module` and reports its terms to `count`; each term is a share of the whole batch's
mean, so micro-batches and data-parallel learners add up to exactly the loss of the whole batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from torch import Tensor

DECISIONS = "decisions_P"  # global number of decisions in the batch, repeated on each row

_COMMON = ("gradient_norm", "skipped")  # what follows the all-reduce is equal in all learners


class CompressorLearner(TorchLearner):
    """RLlib's Learner with AdamW, our learning-rate schedule and a guard against non-finite updates."""

    def build(self) -> None:
        super().build()
        self.settings: dict[str, Any] = self.config.learner_config_dict
        self.skipped = 0

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

    def count(self, terms: Mapping[str, Tensor]) -> None:
        """Add one micro-batch's shares to the metrics of this update."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()

    def _uncompiled_update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Accumulate gradients over micro-batches, then step once; a non-finite gradient skips the step."""
        columns = {k: v for k, v in batch[DEFAULT_MODULE_ID].items() if isinstance(v, Tensor)}
        rows = len(columns[DECISIONS])
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


def learner_metrics(learners: Sequence[Mapping[str, Any]], shares: Sequence[str]) -> dict[str, float]:
    """Each learner reports its share of a mean over the whole batch: `learner/…` adds them up."""
    summed = {name: sum(_plain(one[name]) for one in learners) for name in shares if name in learners[0]}
    common = {name: _plain(learners[0][name]) for name in _COMMON}
    return {f"learner/{k}": v for k, v in {**summed, **common}.items()}


def _plain(value: Any) -> float:
    return float(value.peek() if hasattr(value, "peek") else value)
