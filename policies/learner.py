"""The learner that every algorithm's learner extends: AdamW, the run's learning rate, micro-batches, guards.

A subclass gives `compute_loss_for_module` and reports its terms to `count`; each term is a share of the whole batch's
mean, so micro-batches and data-parallel learners add up to exactly the loss of the whole batch.
"""

from __future__ import annotations

import contextlib
import enum
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from torch import Tensor

from rlcompress.errors import OutOfMemory, UserError
from rlcompress.machine.hardware import GIGABYTE
from rlcompress.machine.memory import give_back_memory, is_out_of_memory

log = logging.getLogger(__name__)

DECISIONS = "decisions_P"  # global number of decisions in the batch, repeated on each row

GPU_PEAK = "gpu_peak"  # bytes that an update held at most on its card
_COMMON = ("gradient_norm", "skipped", "micro_batch", "oom_retries")  # equal in all learners


class CompressorLearner(TorchLearner):
    """RLlib's Learner with AdamW, our learning-rate schedule, guards against non-finite updates and lack of memory."""

    LENGTH = "policy.window"  # the key that bounds how long a prompt is

    def build(self) -> None:
        super().build()
        self.settings: dict[str, Any] = self.config.learner_config_dict
        self.skipped = 0
        self.micro_batch: int | None = self.settings["micro_batch"]  # None: the whole batch
        self.at_once = 0  # prompts in a micro-batch of the last update
        self.oom_retries = 0
        half = self.settings["precision"] == "float16"
        if half and self._device.type != "cuda":
            raise UserError(
                f"learner.precision float16 needs CUDA and this learner computes on {self._device.type}: set "
                "learner.gpus_per_learner, or use bfloat16 or float32"
            )
        self.scaler = torch.amp.GradScaler(self._device.type, enabled=half)

    @property
    def policy(self) -> Any:
        """The module that is trained, without what wraps it for several learners."""
        return self.module[DEFAULT_MODULE_ID].unwrapped()

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        parameters = [p for p in self.get_parameters(self._module[module_id]) if p.requires_grad]
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
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        loss = self._gradients(columns)
        self._step()
        return {}, {DEFAULT_MODULE_ID: loss}, {}

    def _gradients(self, columns: dict[str, Tensor]) -> Tensor:
        """Gradients of the whole batch; returns its loss.

        Where memory runs out, all is done again from the beginning with half the micro-batch, in all learners alike:
        no sample is lost and none is counted twice. The smaller size stays for the next updates.

        Raises:
            OutOfMemory: even one prompt is too much.
        """
        rows = len(columns[DECISIONS])
        while True:
            size = min(self.micro_batch or rows, rows)
            said, broken, outcome = "in another learner", None, Outcome.DONE
            try:
                loss = self._accumulate(columns, size)
            except Exception as error:
                said, outcome = str(error).partition("\n")[0], outcome_of(error, size)
                broken = error if outcome is Outcome.BROKEN else None  # its traceback holds tensors: not kept otherwise
            outcome = self._agree(outcome)
            if outcome is Outcome.DONE:
                self._add_up_gradients()
                self.at_once = size
                return loss
            if outcome is Outcome.BROKEN:
                raise broken or RuntimeError("another learner failed: its own error says why")
            self._zero_gradients()
            give_back_memory()
            if outcome is Outcome.TOO_LARGE_FOR_ONE:
                raise OutOfMemory(
                    f"one prompt alone does not fit the learner's memory ({said}): lower "
                    f"{self.LENGTH} or learner.samples_per_prompt, set learner.gradient_checkpointing, or set "
                    "learner.precision to bfloat16 (learner.micro_batch is 1 already)"
                )
            self.micro_batch = max(1, size // 2)
            self.oom_retries += 1
            log.warning("out of memory with %d prompts at once: going on with %d (%s)", size, self.micro_batch, said)

    def _accumulate(self, columns: dict[str, Tensor], size: int) -> Tensor:
        """Add up the gradients and metrics of all micro-batches of `size` prompts, starting from nothing."""
        self._sums: dict[str, Tensor] = {}
        self._zero_gradients()
        losses = []
        with self._without_sync():
            for start in range(0, len(columns[DECISIONS]), size):
                part = {DEFAULT_MODULE_ID: {k: v[start : start + size] for k, v in columns.items()}}
                loss = self.compute_losses(fwd_out=self.module.forward_train(part), batch=part)[DEFAULT_MODULE_ID]
                self.scaler.scale(loss).backward()
                losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _zero_gradients(self) -> None:
        for optimizer in self._optimizer_parameters:
            optimizer.zero_grad(set_to_none=True)

    def _without_sync(self) -> contextlib.AbstractContextManager[Any]:
        """Data-parallel modules share gradients in `_add_up_gradients`, once all learners have theirs."""
        module = self.module[DEFAULT_MODULE_ID]
        return module.no_sync() if hasattr(module, "no_sync") else contextlib.nullcontext()

    def _agree(self, outcome: Outcome) -> Outcome:
        """The worst outcome of all learners: they go on, or try again, together."""
        if self.config.num_learners < 2:
            return outcome
        worst = torch.tensor(outcome.value, device=self._device)
        torch.distributed.all_reduce(worst, op=torch.distributed.ReduceOp.MAX)
        return Outcome(int(worst))

    def _add_up_gradients(self) -> None:
        """Each learner's loss is a share of the whole batch's: the sum of gradients is that of the whole batch."""
        if self.config.num_learners < 2:
            return
        parameters = list(self._params.values())
        used = torch.tensor([float(p.grad is not None) for p in parameters], device=self._device)
        flat = torch.cat([used, *((torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters)])
        torch.distributed.all_reduce(flat)
        used, *gradients = torch.split(flat, [len(parameters), *(p.numel() for p in parameters)])
        for parameter, gradient, learners in zip(parameters, gradients, used.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter) if learners else None

    def _step(self) -> None:
        optimizers = list(self._named_optimizers.values())
        for optimizer in optimizers:
            self.scaler.unscale_(optimizer)
        parameters = [p for p in self._params.values() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.settings["grad_clip"])
        if bool(torch.isfinite(norm)):
            for optimizer in optimizers:
                self.scaler.step(optimizer)
        else:
            self.skipped += self.scaler.get_scale() <= 1.0  # above, float16 overflowed: the scale is lowered below
        self.scaler.update()
        values = {
            **{k: float(v) for k, v in self._sums.items()},
            "gradient_norm": float(norm),
            "skipped": self.skipped,
            "micro_batch": self.at_once,
            "oom_retries": self.oom_retries,
        }
        if self._device.type == "cuda":
            values[GPU_PEAK] = torch.cuda.max_memory_allocated(self._device)
        self.metrics.log_dict(values, key=DEFAULT_MODULE_ID, window=1)

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        own = {"skipped": self.skipped, "micro_batch": self.micro_batch, "oom_retries": self.oom_retries}
        return {**super().get_state(*args, **kwargs), **own, "scaler": self.scaler.state_dict()}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.skipped = state.get("skipped", 0)
        self.micro_batch = state.get("micro_batch", self.micro_batch)
        self.oom_retries = state.get("oom_retries", 0)
        self.scaler.load_state_dict(state.get("scaler") or self.scaler.state_dict())


class Outcome(enum.Enum):
    """How an attempt at the gradients of a batch ended; the worst has the highest value."""

    DONE = 0
    TOO_LARGE = 1
    TOO_LARGE_FOR_ONE = 2
    BROKEN = 3


def outcome_of(error: Exception, size: int) -> Outcome:
    if not is_out_of_memory(error):
        return Outcome.BROKEN
    return Outcome.TOO_LARGE if size > 1 else Outcome.TOO_LARGE_FOR_ONE


def learner_metrics(learners: Sequence[Mapping[str, Any]], shares: Sequence[str]) -> dict[str, float]:
    """Each learner reports its share of a mean over the whole batch: `learner/…` adds them up."""
    summed = {name: sum(_plain(one[name]) for one in learners) for name in shares if name in learners[0]}
    common = {name: _plain(learners[0][name]) for name in _COMMON}
    metrics = {f"learner/{k}": v for k, v in {**summed, **common}.items()}
    if GPU_PEAK in learners[0]:
        metrics["memory/learner_gpu"] = max(_plain(one[GPU_PEAK]) for one in learners) / GIGABYTE
    return metrics


def _plain(value: Any) -> float:
    return float(value.peek() if hasattr(value, "peek") else value)
