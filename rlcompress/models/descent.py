"""One update of a network: accumulated over as many forwards as memory asks for, in the precision asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from rlcompress.errors import UserError
from rlcompress.machine.memory import give_back_memory, is_out_of_memory
from rlcompress.models.parallel import add_up_gradients, added_up, share
from rlcompress.models.training_state import random_states, set_random_states

Precision = Literal["float32", "bfloat16", "float16"]
_CLIP = 1.0  # largest norm of a gradient


class Learns(Protocol):
    """A network that says what each dropped token costs, given the kept ones; all rows in one list, in nats."""

    def dropped_nll(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor, /) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


Model = TypeVar("Model", bound=Learns)


class Descent(Generic[Model]):
    """AdamW on the mean nats of the dropped tokens; weights and moments stay float32 in every precision.

    `rows` is the most rows of one forward and backward. It is halved when memory runs out, and the update starts
    again, with the same dropout as if it had been so small from the start: no row is lost. Where several workers learn,
    each is given whole batches, takes its share of the rows, and all make the same step.
    """

    def __init__(
        self,
        model: Model,
        learning_rate: float,
        *,
        precision: Precision = "float32",
        rows: int | None = None,
    ) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        if precision == "float16" and self.device.type != "cuda":
            raise UserError(
                f"precision float16 needs a CUDA device and this is {self.device.type}: use bfloat16 or float32"
            )
        self.autocast = None if precision == "float32" else getattr(torch, precision)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "float16")
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(learned, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
        self.rows = rows

    def step(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor, learning_rate: float) -> float:
        """Descend once; the loss in bits a dropped token, NaN where nothing is dropped and nothing was done."""
        batch = [share(tensor).to(self.device) for tensor in (ids_BT, kept_BT, valid_BT)]
        dropped = int((valid_BT & ~kept_BT).sum())
        if not dropped:
            return float("nan")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        loss = added_up(self._gradients(batch, dropped), self.device)
        self.scaler.unscale_(self.optimizer)
        add_up_gradients(self.model.parameters())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss / math.log(2)

    def _gradients(self, batch: list[Tensor], dropped: int) -> float:
        """Gradients of the batch's mean, and the mean in nats."""
        drawn = random_states(self.device)
        while True:
            size = min(self.rows or len(batch[0]), len(batch[0])) or 1  # a share may be empty
            self.optimizer.zero_grad(set_to_none=True)
            try:
                return sum(
                    self._accumulate([tensor[first : first + size] for tensor in batch], dropped)
                    for first in range(0, len(batch[0]), size)
                )
            except RuntimeError as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            self.rows = size // 2
            set_random_states(drawn, self.device)
            give_back_memory()

    def _accumulate(self, part: list[Tensor], dropped: int) -> float:
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            nll = self.model.dropped_nll(*part)
        if not len(nll):
            return 0.0
        loss = nll.sum() / dropped
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())
