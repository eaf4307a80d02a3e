"""Training reconstructors on random masks, and adapting one to a method's own masks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rlcompress.config.judging import JudgeConfig
from rlcompress.models.descent import Descent
from rlcompress.models.reconstructor import TrainableReconstructor
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.models.training_state import load_state, random_states, save_state, set_random_states
from rlcompress.recording.publish import publishing, why_torn
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

    def __len__(self) -> int:
        return len(self.ids_BT)

    def followed_by(self, other: TokenTable) -> TokenTable:
        """The rows of both tables, these first, padded to the wider of the two."""
        width = max(self.ids_BT.shape[1], other.ids_BT.shape[1])

        def join(first: Tensor, second: Tensor) -> Tensor:
            return torch.cat([functional.pad(x, (0, width - x.shape[1])) for x in (first, second)])

        return TokenTable(
            join(self.ids_BT, other.ids_BT),
            join(self.units_BT, other.units_BT),
            join(self.valid_BT, other.valid_BT),
        )

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


# share of the learning rate at a point of training in [0, 1], after warm-up
SCHEDULES: dict[str, Callable[[float], float]] = {
    "power": lambda progress: float((1 - progress) ** 0.7),
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "constant": lambda progress: 1.0,
}


def learning_rate(config: JudgeConfig, step: int) -> float:
    """Linear warm-up times the schedule, plus a floor of 1e-5 or a hundredth of the rate, whichever is less."""
    peak = config.learning_rate
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    return peak * warm * SCHEDULES[config.schedule](step / config.steps) + min(1e-5, peak / 100)


def _kept_range(config: JudgeConfig, progress: float) -> tuple[float, float]:
    return keep_range(progress) if config.mask_ratio is None else (1 - config.mask_ratio[1], 1 - config.mask_ratio[0])


def train_reconstructor(
    model: TrainableReconstructor,
    table: TokenTable,
    config: JudgeConfig,
    *,
    state: Path | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train on random masks, in place, where the model lies; returns the loss of each step in bits a dropped token.

    With `state`, a folder, the training goes on from what an earlier, killed one saved there, to the same bits as if
    it had never stopped: rows and masks come from a generator of their own, and the state of dropout's is saved too.
    """
    descent = Descent(model, config.learning_rate, precision=config.precision, rows=config.micro_batch)
    generator = torch.Generator().manual_seed(config.seed)
    losses: list[float] = []
    model.train()
    with seeded(config.seed, descent.device):
        if state is not None and why_torn(state) is None:
            losses = _resume(state, descent, generator)
        for step in range(len(losses), config.steps):
            rows = table.rows(torch.randint(len(table.ids_BT), (config.batch,), generator=generator))
            kept_BT = random_kept(rows, *_kept_range(config, step / config.steps), generator)
            losses.append(descent.step(rows.ids_BT, kept_BT, rows.valid_BT, learning_rate(config, step)))
            if state is not None and (step + 1) % config.save_every == 0 and step + 1 < config.steps:
                _save(state, descent, generator, losses)
            if on_step is not None:
                on_step(step, losses[-1])
    model.eval()
    return losses


def _save(
    state: Path, descent: Descent[TrainableReconstructor], generator: torch.Generator, losses: list[float]
) -> None:
    record = {"losses": losses, "rows": descent.rows, "scaler": descent.scaler.state_dict()}
    random = {**random_states(descent.device), "rows": generator.get_state()}
    with publishing(state) as folder:
        save_state(folder, descent.model, descent.optimizer, record, random)


def _resume(state: Path, descent: Descent[TrainableReconstructor], generator: torch.Generator) -> list[float]:
    record, random = load_state(state, descent.model, descent.optimizer)
    generator.set_state(random["rows"])
    set_random_states(random, descent.device)
    descent.rows = record["rows"]
    descent.scaler.load_state_dict(record["scaler"])
    losses: list[float] = record["losses"]
    return losses


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout draws from the global generators: seeded inside the block, afterwards as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def adapt_reconstructor(
    model: TrainableReconstructor, table: TokenTable, kept_BT: Tensor, *, steps: int, batch: int, seed: int
) -> None:
    """Go on training, in place, on given masks [B, T] of the rows of `table`, at a small falling rate."""
    generator = torch.Generator().manual_seed(seed)
    descent = Descent(model, 1e-3)
    model.train()
    with seeded(seed, descent.device):
        for step in range(steps):
            index_B = torch.randint(len(table.ids_BT), (batch,), generator=generator)
            rows = table.rows(index_B)
            kept = kept_BT[index_B, : rows.ids_BT.shape[1]]
            descent.step(rows.ids_BT, kept, rows.valid_BT, 1e-3 * (1 - step / steps) + 1e-5)
    model.eval()
