"""Supervised fine-tuning on (prompt, completion) pairs: the loss is on completions alone.

The loop's parts are those of reconstructors: a prompt is what is kept and seen, a completion what is dropped and must
be found. So one update accumulates, halves its forwards when memory runs out and trains in the precision asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rlcompress.config.generating import FineTuningConfig
from rlcompress.errors import UserError
from rlcompress.generation.language import LanguageModel
from rlcompress.generation.lora import learned_state, set_learned_state
from rlcompress.generation.prompting import Prompt
from rlcompress.generation.teacher_forcing import given_logp, output_logp, packed
from rlcompress.generation.writing import Insert
from rlcompress.models.descent import Descent
from rlcompress.models.parallel import added_up, place
from rlcompress.models.training import SCHEDULES, seeded

_POOL = 8  # batches' worth of pairs that are sorted by length together


class Pair(NamedTuple):
    """Ids of a prompt, and of its completion with the end token; `inserted` are places of the completion."""

    prompt: Sequence[int]
    completion: Sequence[int]
    inserted: frozenset[int] = frozenset()  # not the model's to write: read, and no part of the loss

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(slots=True)
class FineTuned:
    """How it went. Losses are mean nats a token that the model has to write, end tokens included."""

    losses: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)  # (updates before it, loss)
    best: int = 0  # updates of the weights that were kept


class CompletionModel(nn.Module):
    """A causal model as `Descent` trains one: its completions are the places that are not kept."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def dropped_nll(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor) -> Tensor:
        """−log p of each token of the completions, all rows in one list, in nats.

        Prompts end at the same place of every row (`teacher_forcing.packed`), and no completion begins with what was
        inserted.
        """
        output_BT = valid_BT & ~kept_BT
        first = int(output_BT.any(0).int().argmax())
        output_BO = output_BT[:, first:]
        return -output_logp(self.model, ids_BT, valid_BT, output_BO)[output_BO]


def encoded(language: LanguageModel, pairs: Sequence[tuple[Prompt, str]], insert: Insert | None = None) -> list[Pair]:
    """Ids of prompts and completions; each completion ends with the end token.

    `insert` is the calculator that will be asked while the model writes, if there is one. The model sees what it says
    and does not learn to say it: results of sums cannot be guessed, and would be most of the loss.

    Raises:
        UserError: there are none, or one is longer than the window.
    """
    found = [_pair(language, prompt, text, insert) for prompt, text in pairs]
    if not found:
        raise UserError("there are no pairs to fine-tune on: give some")
    for number, pair in enumerate(found, 1):
        if pair.length > language.window:
            raise UserError(
                f"pair {number} is {pair.length} tokens and {language.name!r} reads {language.window}: leave it out, "
                "or raise window"
            )
    return found


def _pair(language: LanguageModel, prompt: Prompt, text: str, insert: Insert | None) -> Pair:
    ids: list[int] = []
    inserted: list[int] = []
    for part, told in language.output_parts(text, insert):
        inserted += range(len(ids), len(ids) + len(part)) if told else ()
        ids += part
    return Pair(language.prompt_ids(prompt), ids, frozenset(inserted))


def fine_tune(
    language: LanguageModel,
    pairs: Sequence[Pair],
    validation: Sequence[Pair],
    config: FineTuningConfig,
    on_step: Callable[[int, float], None] | None = None,
) -> FineTuned:
    """Learn completions, in place, and keep the weights with the least validation loss.

    What learns is what asks for gradients: adapters, or the whole model. Without validation pairs the last weights
    stay.

    Args:
        language: the policy.
        pairs: to learn, as `encoded` gives them.
        validation: to know when to stop; no gradient comes from them.
        config: updates, rate, patience.
        on_step: told the number of each update and its loss.
    """
    model = CompletionModel(language.model)
    descent = Descent(model, config.learning_rate, precision=config.precision, rows=config.micro_batch)
    result, best, waited = FineTuned(), math.inf, 0
    kept = learned_state(model) if validation else {}
    batches = _batches(pairs, config)
    with seeded(config.seed, descent.device):
        for step in range(config.steps + 1):
            if validation and (step % config.validate_every == 0 or step == config.steps):
                result.validation.append((step, loss_of(language, validation)))
                if result.validation[-1][1] < best:
                    best, waited, result.best, kept = result.validation[-1][1], 0, step, learned_state(model)
                elif (waited := waited + 1) == config.patience:
                    break
            if step == config.steps:
                break
            model.train()
            loss = descent.step(*_tensors(language, next(batches)), learning_rate(config, step)) * math.log(2)
            model.eval()
            result.losses.append(loss)
            if on_step is not None:
                on_step(step, loss)
    if validation:
        set_learned_state(model, kept)
    else:
        result.best = len(result.losses)
    return result


def learning_rate(config: FineTuningConfig, step: int) -> float:
    """Linear warm-up times the schedule."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    return config.learning_rate * warm * SCHEDULES[config.schedule](step / config.steps)


def loss_of(language: LanguageModel, pairs: Sequence[Pair]) -> float:
    """Mean nats a token of the completions; nothing learns from it."""
    number, workers = place()
    mine = pairs[number::workers]
    logps = given_logp(language, [pair.prompt for pair in mine], [pair.completion for pair in mine])
    written = [np.delete(logp_O, list(pair.inserted)) for logp_O, pair in zip(logps, mine, strict=True)]
    total = added_up(float(sum(logp_O.sum() for logp_O in written)), language.device)
    return -total / sum(len(pair.completion) - len(pair.inserted) for pair in pairs)


def _batches(pairs: Sequence[Pair], config: FineTuningConfig) -> Iterator[list[Pair]]:
    """Batches of like lengths for ever; each pair once an epoch, in an order of its own."""
    epoch = 0
    while True:
        rng = np.random.default_rng([config.seed, epoch])
        order = rng.permutation(len(pairs)).tolist()
        batches: list[list[int]] = []
        pool = _POOL * config.batch
        for start in range(0, len(order), pool):
            near = sorted(order[start : start + pool], key=lambda i: pairs[i].length)
            batches += [near[at : at + config.batch] for at in range(0, len(near), config.batch)]
        for number in rng.permutation(len(batches)).tolist():
            yield [pairs[i] for i in batches[number]]
        epoch += 1


def _tensors(language: LanguageModel, batch: Sequence[Pair]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, the places that are not to be learned, and real places, each [B, T]."""
    rows = packed([pair.prompt for pair in batch], [pair.completion for pair in batch], language.pad_id)
    ids_BT, valid_BT, output_BO = rows
    prompts = ids_BT.shape[1] - output_BO.shape[1]
    given_BO = torch.zeros_like(output_BO)
    for b, pair in enumerate(batch):
        given_BO[b, sorted(pair.inserted)] = True
    return ids_BT, torch.cat([valid_BT[:, :prompts], given_BO], 1), valid_BT
