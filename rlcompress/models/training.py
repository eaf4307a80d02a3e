"""Training the built-in reconstructors on random masks, and adapting one to a method's own masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlcompress.models.reconstructor import MaskedReconstructor
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.text.units import token_units
from rlcompress.words import Units


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Texts as padded rows: token ids, the unit of each token and which places hold a token."""

    ids_BT: Tensor
    units_BT: Tensor
    valid_BT: Tensor

    @classmethod
    def of(cls, texts: Sequence[Units], tokenizer: TextTokenizer, longest: int) -> TokenTable:
        rows = []
        for units in texts:
            ids_T, spans_T2 = tokenizer.encode(units.text)
            rows.append((ids_T[:longest], token_units(units.text, units.starts_N, spans_T2)[:longest]))
        width = max((len(ids) for ids, _ in rows), default=1)
        ids_BT = np.full((len(rows), width), tokenizer.pad_id, np.int64)
        units_BT = np.zeros((len(rows), width), np.int64)
        valid_BT = np.zeros((len(rows), width), np.bool_)
        for b, (ids_T, unit_T) in enumerate(rows):
            ids_BT[b, : len(ids_T)], units_BT[b, : len(ids_T)], valid_BT[b, : len(ids_T)] = ids_T, unit_T, True
        return cls(torch.from_numpy(ids_BT), torch.from_numpy(units_BT), torch.from_numpy(valid_BT))

    def rows(self, index_B: Tensor) -> TokenTable:
        width = int(self.valid_BT[index_B].sum(1).max())
        return TokenTable(*(x[index_B, :width] for x in (self.ids_BT, self.units_BT, self.valid_BT)))


def random_kept(table: TokenTable, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Token masks [B, T] that keep whole units, each with a probability drawn per row from [low, high]."""
    B = len(table.ids_BT)
    rate_B1 = low + (high - low) * torch.rand(B, 1, generator=generator)
    kept_BN = torch.rand(B, int(table.units_BT.max()) + 1, generator=generator) < rate_B1
    return kept_BN.gather(1, table.units_BT)


def keep_range(progress: float) -> tuple[float, float]:
    """Kept fractions at a point of training in [0, 1]: easy gaps first, then all from 20 to 80 %.

    Without easy gaps first, a small masked model stays at the unigram plateau for hundreds of steps.
    """
    return max(0.2, 0.7 - 1.5 * progress), 0.85 - 0.05 * progress


def train_reconstructor(
    model: MaskedReconstructor,
    table: TokenTable,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train on random masks with AdamW, warm-up and decay; returns the loss of each step in bits a dropped token."""
    generator = torch.Generator().manual_seed(seed)
    counts_V = torch.bincount(table.ids_BT[table.valid_BT], minlength=model.embed.num_embeddings)
    model.start_from_unigrams(counts_V)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    losses: list[float] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout draws from the global generator
        for step in range(steps):
            progress = step / steps
            _set_rate(optimizer, learning_rate * min(1.0, (step + 1) / 60) * (1 - progress) ** 0.7 + 1e-5)
            rows = table.rows(torch.randint(len(table.ids_BT), (batch,), generator=generator))
            kept_BT = random_kept(rows, *keep_range(progress), generator)
            losses.append(_descend(model, optimizer, rows, kept_BT))
            if on_step is not None:
                on_step(step, losses[-1])
    model.eval()
    return losses


def adapt_reconstructor(
    model: MaskedReconstructor, table: TokenTable, kept_BT: Tensor, *, steps: int, batch: int, seed: int
) -> None:
    """Go on training, in place, on given masks [B, T] of the rows of `table`, at a small falling rate."""
    generator = torch.Generator().manual_seed(seed)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in range(steps):
            _set_rate(optimizer, 1e-3 * (1 - step / steps) + 1e-5)
            index_B = torch.randint(len(table.ids_BT), (batch,), generator=generator)
            rows = table.rows(index_B)
            _descend(model, optimizer, rows, kept_BT[index_B, : rows.ids_BT.shape[1]])
    model.eval()


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _descend(model: MaskedReconstructor, optimizer: torch.optim.Optimizer, rows: TokenTable, kept_BT: Tensor) -> float:
    nll = model.dropped_nll(rows.ids_BT, kept_BT, rows.valid_BT)
    if not len(nll):
        return float("nan")
    loss = nll.mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach()) / float(np.log(2))
