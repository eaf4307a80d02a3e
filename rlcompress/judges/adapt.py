"""A judge adapted to one method's own masks: what that method's texts cost a decoder that is used to them.

A judge trained on random masks favours methods whose masks look random. Beside the shared judge, each method is
therefore also judged by a copy that was trained further, for the same number of steps, on that method's masks.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rlcompress.errors import UserError
from rlcompress.judges.reconstruction import ReconstructionJudge
from rlcompress.models.reconstructor import MaskedReconstructor
from rlcompress.models.training import TokenTable, adapt_reconstructor
from rlcompress.words import JudgeRequest, Units


def adapt_judge(
    judge: ReconstructionJudge, method: str, requests: Sequence[JudgeRequest], *, steps: int, batch: int, seed: int
) -> ReconstructionJudge:
    """A copy of a built-in judge after `steps` more steps on the masks in `requests` (of training texts).

    Raises:
        UserError: the judge is a hub model, which this does not train.
    """
    if not isinstance(judge.model, MaskedReconstructor):
        raise UserError("evaluate.adapt_steps needs a built-in judge: set it to 0 or use builtin:convolution")
    model = copy.deepcopy(judge.model)
    table, kept_BT = masked_rows(requests, judge)
    adapt_reconstructor(model, table, kept_BT, steps=steps, batch=batch, seed=seed)
    return ReconstructionJudge(
        model,
        judge.tokenizer,
        f"{judge.version}+{method}@{steps}",
        window=judge.window,
        chunk=judge.chunk,
        device=judge.device,
    )


def masked_rows(requests: Sequence[JudgeRequest], judge: ReconstructionJudge) -> tuple[TokenTable, Tensor]:
    """The texts as the judge's own tokens, cut at its window, and which tokens [B, T] were kept."""
    table = TokenTable.of([_units(request) for request in requests], judge.tokenizer, judge.window)
    width = max(len(request.kept_N) for request in requests)
    kept_BN = np.zeros((len(requests), width), np.bool_)
    for b, request in enumerate(requests):
        kept_BN[b, : len(request.kept_N)] = request.kept_N
    return table, torch.from_numpy(kept_BN).gather(1, table.units_BT)


def _units(request: JudgeRequest) -> Units:
    starts_N = request.unit_starts_N
    ends_N = np.append(starts_N[1:], len(request.source)).astype(np.int64)
    return Units(request.source, starts_N, ends_N, np.zeros_like(starts_N), np.zeros(len(starts_N), np.bool_))
