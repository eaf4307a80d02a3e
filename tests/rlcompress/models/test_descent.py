"""One update: the mean over dropped tokens whatever the pieces, no row lost to a full memory, float32 weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from rlcompress.errors import UserError
from rlcompress.models.descent import Descent
from rlcompress.models.reconstructor import MaskedReconstructor, weights_hash

V, MASK, B, T = 40, 0, 7, 12


def model(dropout: float = 0.0) -> MaskedReconstructor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MaskedReconstructor("attention", V, MASK, width=16, layers=1, dropout=dropout)


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, V, (B, T), generator=generator)
    kept = torch.rand(B, T, generator=generator) < 0.5
    valid = torch.arange(T) < torch.tensor([12, 7, 1, 12, 3, 9, 5])[:, None]
    kept[5] = True  # a row in which nothing is dropped
    return ids, kept, valid


def test_the_loss_is_the_mean_over_dropped_tokens_alone() -> None:
    """A slow twin in numpy; what stands at padded places does not matter, nor how many there are."""
    ids, kept, valid = batch()
    one = model()
    with torch.no_grad():
        logits = one.head(one.hidden(ids, kept, valid)).double().numpy()
    nats = [
        math.log(np.exp(logits[b, t] - logits[b, t].max()).sum()) + logits[b, t].max() - logits[b, t, int(ids[b, t])]
        for b in range(B)
        for t in range(T)
        if valid[b, t] and not kept[b, t]
    ]
    expected = float(np.mean(nats)) / math.log(2)
    assert Descent(model(), 1e-3).step(ids, kept, valid, 1e-3) == pytest.approx(expected, abs=1e-5)
    noise = torch.randint(2, V, (B, T))
    other = model()
    padded = [torch.cat([x, y], 1) for x, y in ((torch.where(valid, ids, noise), noise), (kept, kept))]
    loss = Descent(other, 1e-3).step(*padded, torch.cat([valid, torch.zeros_like(valid)], 1), 1e-3)
    assert loss == pytest.approx(expected, abs=1e-5)
    Descent(one, 1e-3).step(ids, kept, valid, 1e-3)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=0)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
def test_pieces_make_the_same_update_as_the_whole(rows: int) -> None:
    """Uneven last pieces and pieces without a dropped token included: gradients are of the whole batch's mean."""
    whole, pieces = Descent(model(), 1e-3), Descent(model(), 1e-3, rows=rows)
    assert whole.step(*batch(), 1e-3) == pytest.approx(pieces.step(*batch(), 1e-3), abs=1e-5)
    for a, b in zip(whole.model.parameters(), pieces.model.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-4)


class Small(MaskedReconstructor):
    """Has memory for few rows, in the forward or, worse, in the backward."""

    limit, in_backward = 2, False
    seen: list[int]

    def dropped_nll(self, ids_BT: Tensor, kept_BT: Tensor, valid_BT: Tensor) -> Tensor:
        self.seen.append(len(ids_BT))
        nll = super().dropped_nll(ids_BT, kept_BT, valid_BT)
        if len(ids_BT) <= self.limit:
            return nll
        if not self.in_backward:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        nll.register_hook(_fail)
        return nll


def _fail(gradient: Tensor) -> None:
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")


def small(limit: int, in_backward: bool) -> Small:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Small("attention", V, MASK, width=16, layers=1, dropout=0.3)
    made.seen, made.limit, made.in_backward = [], limit, in_backward
    return made


@pytest.mark.parametrize("in_backward", [False, True])
def test_a_full_memory_halves_the_rows_and_loses_none(in_backward: bool) -> None:
    """Bit by bit what had come of the smaller size from the start, dropout included."""
    full, spared = Descent(small(2, in_backward), 1e-3), Descent(small(99, False), 1e-3, rows=1)
    losses = []
    for descent in (full, spared):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            losses.append([descent.step(*batch(seed), 1e-3) for seed in (1, 2)])
    assert losses[0] == losses[1]
    assert weights_hash(full.model) == weights_hash(spared.model)
    assert isinstance(full.model, Small)
    assert full.model.seen == [7, 3] + [1] * 14  # 7 -> 3 -> 1, and the second update starts where the first ended
    assert full.rows == 1


def test_one_row_that_does_not_fit_is_the_end() -> None:
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        Descent(small(0, False), 1e-3).step(*batch(), 1e-3)


def test_other_errors_are_raised_at_once() -> None:
    broken = small(99, False)
    broken.dropped_nll = _raising  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError, match="shapes differ"):
        Descent(broken, 1e-3).step(*batch(), 1e-3)


def _raising(*tensors: Tensor) -> Tensor:
    raise RuntimeError("shapes differ")


def test_nothing_dropped_changes_nothing() -> None:
    ids, kept, valid = batch()
    one = model()
    before = weights_hash(one)
    assert math.isnan(Descent(one, 1e-3).step(ids, torch.ones_like(kept), valid, 1e-3))
    assert weights_hash(one) == before


def steps(descent: Descent, count: int) -> list[float]:
    return [descent.step(*batch(seed % 3), 1e-2) for seed in range(count)]


def test_bfloat16_computes_in_bfloat16_and_keeps_float32() -> None:
    first, second = copy.deepcopy(model()), copy.deepcopy(model())
    exact, half = steps(Descent(first, 1e-2), 30), steps(Descent(second, 1e-2, precision="bfloat16"), 30)
    assert half[0] != exact[0]
    assert half[0] == pytest.approx(exact[0], rel=0.05)
    assert np.mean(half[-3:]) < 0.8 * np.mean(half[:3])
    assert {p.dtype for p in second.parameters()} == {torch.float32}


def test_float16_is_refused_where_nothing_scales_it() -> None:
    with pytest.raises(UserError, match="precision float16 needs a CUDA device and this is cpu: use bfloat16"):
        Descent(model(), 1e-3, precision="float16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_on_cuda(precision: str) -> None:
    make: Callable[..., Descent] = Descent
    losses = steps(make(model().cuda(), 1e-2, precision=precision), 30)
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
