"""Sampling outputs in batches, with everything recorded that a learner needs.

A row's output depends on that row alone, bit for bit on a CPU: rows come in forwards of fixed numbers and widths, each
has its own random numbers, and at least one place of padding keeps attention on the same kernel for every row.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from rlcompress.config.generating import DecodingConfig
from rlcompress.generation.decoding import next_token
from rlcompress.generation.language import LanguageModel
from rlcompress.generation.teacher_forcing import forward, left_padded
from rlcompress.words import BoolArray, FloatArray

BUCKET = 16  # prompts are padded to a multiple of this many tokens, by one at least
Insert = Callable[[str], str | None]
"""Asked after each sampled token with the output so far: what comes next without being sampled, or None."""


class Ending(enum.StrEnum):
    """How an output ended. Only `ENDED` ones are whole; the others are counted and never a reward of zero."""

    ENDED = "ended"
    TRUNCATED = "truncated"  # `max_new_tokens` without an end token
    TOO_LONG = "too_long"  # prompt and `max_new_tokens` do not fit the window: nothing was written
    FAILED = "failed"  # the logits were no distribution


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """One output of T tokens; its end token is among `ids` and not in `text`.

    `logp_T` is at temperature 1, what a learner's forward gives; `sampling_logp_T` of the distribution that was sampled
    from. Both are 0 where `sampled_T` is False: those tokens were inserted.
    """

    ids: list[int]
    text: str
    logp_T: FloatArray
    sampling_logp_T: FloatArray
    sampled_T: BoolArray
    ending: Ending


@dataclass(slots=True)
class _Row:
    """An output in the making."""

    uniform_T: FloatArray  # one number a place: an insertion does not shift those that follow
    ids: list[int] = field(default_factory=list)
    logps: list[tuple[float, float]] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # inserted ids that are still to be read
    ending: Ending | None = None


def write(
    language: LanguageModel,
    prompts: Sequence[Sequence[int]],
    decoding: DecodingConfig,
    *,
    seeds: Sequence[int | Sequence[int]] | None = None,
    insert: Insert | None = None,
) -> list[Written]:
    """One output for each prompt of ids.

    Args:
        language: the model and its tokenizer.
        prompts: ids as `LanguageModel.prompt_ids` gives them, none empty.
        decoding: temperature, nucleus, most new tokens (inserted ones count).
        seeds: of each row's random numbers; 0, 1, 2 … if not given, and without meaning at temperature 0.
        insert: say a calculator, which answers "190" to "… <<80+110=".
    """
    seeds = range(len(prompts)) if seeds is None else seeds
    assert len(seeds) == len(prompts)
    rows = [_Row(np.random.default_rng(seed).random(decoding.max_new_tokens)) for seed in seeds]
    buckets: dict[int, list[int]] = defaultdict(list)  # width -> numbers of rows
    for number, prompt in enumerate(prompts):
        if len(prompt) + decoding.max_new_tokens > language.window:
            rows[number].ending = Ending.TOO_LONG
        else:
            buckets[(len(prompt) // BUCKET + 1) * BUCKET].append(number)
    for width, numbers in sorted(buckets.items()):
        for first in range(0, len(numbers), language.chunk):
            chunk = numbers[first : first + language.chunk]
            _write_chunk(language, [prompts[i] for i in chunk], [rows[i] for i in chunk], width, decoding, insert)
    return [_written(language, row) for row in rows]


@torch.no_grad()
def _write_chunk(
    language: LanguageModel,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[_Row],
    width: int,
    decoding: DecodingConfig,
    insert: Insert | None,
) -> None:
    ids_BT, real_BT = left_padded(prompts, width, language.pad_id, rows=language.chunk)
    read_BT, cache = ids_BT.to(language.device), None
    real_BT = real_BT.to(language.device)
    uniform_B = torch.zeros(language.chunk, dtype=torch.float64)
    for t in range(decoding.max_new_tokens):
        logits_BOV, cache = forward(language.model, read_BT, real_BT, last=1, cache=cache, use_cache=True)
        uniform_B[: len(rows)] = torch.tensor([row.uniform_T[t] for row in rows], dtype=torch.float64)
        ids_B, *logps = (x.tolist() for x in next_token(logits_BOV[:, -1], decoding, uniform_B))
        for b, row in enumerate(rows):
            if row.ending is None:
                _take(language, row, ids_B[b], (logps[0][b], logps[1][b]), insert)
                ids_B[b] = row.ids[-1]
        if all(row.ending is not None for row in rows):
            return
        read_BT = torch.tensor(ids_B, device=language.device)[:, None]
        real_BT = torch.cat([real_BT, torch.ones_like(read_BT, dtype=torch.bool)], 1)
    for row in rows:
        row.ending = row.ending or Ending.TRUNCATED


def _take(language: LanguageModel, row: _Row, drawn: int, logps: tuple[float, float], insert: Insert | None) -> None:
    """Add what waits to be inserted, else what was drawn, and ask whether something is to be inserted after it."""
    if row.waiting:
        row.ids.append(row.waiting.pop(0))
        row.logps.append((0.0, 0.0))
        row.sampled.append(False)
        return
    row.ids.append(drawn)
    row.logps.append(logps)
    row.sampled.append(True)
    if logps[0] != logps[0]:
        row.ending = Ending.FAILED
    elif drawn in language.end_ids:
        row.ending = Ending.ENDED
    elif insert is not None and (inserted := insert(language.decode(row.ids))):
        row.waiting = language.following_ids(inserted)


def _written(language: LanguageModel, row: _Row) -> Written:
    assert row.ending is not None
    logp_T2 = np.asarray(row.logps, np.float64).reshape(-1, 2)
    text = language.decode(row.ids[:-1] if row.ending is Ending.ENDED else row.ids)
    return Written(row.ids, text, logp_T2[:, 0], logp_T2[:, 1], np.asarray(row.sampled, np.bool_), row.ending)
