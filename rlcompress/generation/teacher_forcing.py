"""Log-probabilities of given outputs by one forward: what a learner computes, and how likely a given answer is.

B rows, T places, O places of outputs, V tokens of the vocabulary. Prompts end and outputs begin at the same place of
every row: padding stands left of prompts and right of outputs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlcompress.generation.language import LanguageModel
from rlcompress.words import FloatArray

_BUCKET = 16


def left_padded(rows_of_ids: Sequence[Sequence[int]], width: int, pad_id: int, rows: int) -> tuple[Tensor, Tensor]:
    """Ids [B, width] and which places hold one [B, width], filled up to `rows` rows that hold one padding token."""
    ids_BT = torch.full((rows, width), pad_id, dtype=torch.long)
    real_BT = torch.zeros((rows, width), dtype=torch.bool)
    real_BT[:, -1] = True
    for b, ids in enumerate(rows_of_ids):
        ids_BT[b, width - len(ids) :] = torch.as_tensor(ids, dtype=torch.long)
        real_BT[b, width - len(ids) :] = True
    return ids_BT, real_BT


def packed(
    prompts: Sequence[Sequence[int]],
    outputs: Sequence[Sequence[int]],
    pad_id: int,
    shape: tuple[int, int, int] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [B, T], which of them are real [B, T], and which of the last O places hold an output [B, O].

    `shape` is (rows, places of prompts, places of outputs); as small as can be if it is not given.
    """
    rows, before, after = shape or (len(prompts), max(map(len, prompts)), max(map(len, outputs)))
    ids_BT, real_BT = left_padded(prompts, before, pad_id, rows)
    ids_BO = torch.full((rows, after), pad_id, dtype=torch.long)
    output_BO = torch.zeros((rows, after), dtype=torch.bool)
    for b, ids in enumerate(outputs):
        ids_BO[b, : len(ids)] = torch.as_tensor(ids, dtype=torch.long)
        output_BO[b, : len(ids)] = True
    return torch.cat([ids_BT, ids_BO], 1), torch.cat([real_BT, output_BO], 1), output_BO


def forward(
    model: Any, ids_BT: Tensor, real_BT: Tensor, *, last: int, cache: Any = None, use_cache: bool = False
) -> tuple[Tensor, Any]:
    """Logits [B, last, V] of the last places of `ids_BT`, and the keys and values so far.

    `real_BT` also covers the places in the cache. Positions count real tokens, so that padding moves nothing.
    """
    position_BT = (real_BT.long().cumsum(1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
    out = model(
        input_ids=ids_BT,
        attention_mask=real_BT.long(),
        position_ids=position_BT,
        past_key_values=cache,
        use_cache=use_cache,
        logits_to_keep=last,
    )
    return out.logits[:, -last:], out.past_key_values


def output_logits(
    model: Any, ids_BT: Tensor, real_BT: Tensor, outputs: int, temperature: float | Tensor = 1.0
) -> Tensor:
    """Logits [B, O, V] over `temperature` of each of the last `outputs` = O places, in float32; see `output_logp`."""
    logits_BOV = forward(model, ids_BT, real_BT, last=outputs + 1)[0][:, :-1].float()
    if isinstance(temperature, Tensor):
        return logits_BOV / temperature[:, None, None]
    return logits_BOV if temperature == 1 else logits_BOV / temperature


def chosen_logp(logits_BOV: Tensor, ids_BO: Tensor, output_BO: Tensor) -> Tensor:
    """Log p [B, O] of the tokens that stand there; 0 at padding."""
    chosen_BO = logits_BOV.gather(-1, ids_BO[..., None])[..., 0]
    return (chosen_BO - logits_BOV.logsumexp(-1)).masked_fill(~output_BO, 0.0)


def output_logp(
    model: Any, ids_BT: Tensor, real_BT: Tensor, output_BO: Tensor, temperature: float | Tensor = 1.0
) -> Tensor:
    """Log p [B, O] of each token of the outputs given all before it, with gradients; 0 at padding.

    Args:
        model: in the mode it is in; in evaluation mode the log-probabilities are those recorded by `writing.write`.
        ids_BT: as `packed` gives them, on the model's device, as are the others.
        real_BT: which places hold a token.
        output_BO: which of the last O places belong to an output.
        temperature: of the distribution, or of each row's [B]; an output that was sampled from a nucleus has no such
            log-probability.
    """
    outputs = output_BO.shape[1]
    logits_BOV = output_logits(model, ids_BT, real_BT, outputs, temperature)
    return chosen_logp(logits_BOV, ids_BT[:, -outputs:], output_BO)


def sequence_logp(
    language: LanguageModel,
    prompts: Sequence[Sequence[int]],
    outputs: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Log p [B, O] of the outputs' tokens with gradients, in one forward, and which places hold one [B, O]."""
    ids_BT, real_BT, output_BO = (x.to(language.device) for x in packed(prompts, outputs, language.pad_id))
    return output_logp(language.model, ids_BT, real_BT, output_BO, temperature), output_BO


@torch.no_grad()
def given_logp(
    language: LanguageModel, prompts: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]
) -> list[FloatArray]:
    """Log p [O] of each token of each output, in nats; each row's depend on that row alone, bit for bit on a CPU."""
    found = [np.zeros(len(output)) for output in outputs]
    buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, (prompt, output) in enumerate(zip(prompts, outputs, strict=True)):
        if len(output):
            buckets[len(prompt) // _BUCKET + 1, -(-len(output) // _BUCKET)].append(number)
    for (before, after), numbers in sorted(buckets.items()):
        for first in range(0, len(numbers), language.chunk):
            chunk = numbers[first : first + language.chunk]
            shape = (language.chunk, before * _BUCKET, after * _BUCKET)
            rows = packed([prompts[i] for i in chunk], [outputs[i] for i in chunk], language.pad_id, shape)
            ids_BT, real_BT, output_BO = (x.to(language.device) for x in rows)
            logp_BO = output_logp(language.model, ids_BT, real_BT, output_BO)
            for i, logp_O in zip(chunk, logp_BO.cpu().numpy().astype(np.float64), strict=False):
                found[i] = logp_O[: len(outputs[i])].copy()
    return found
