"""Layers: attention against loops, padding that changes nothing, rows without any token."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from rlcompress.models.layers import AttentionBlock, ConvolutionBlock, MaskedConvolution

MAKERS: dict[str, Callable[[], nn.Module]] = {
    "attention": lambda: AttentionBlock(8, 2),
    "convolution": lambda: ConvolutionBlock(8, 5, 2),
    "masked convolution": lambda: MaskedConvolution(8, 8, 3),
}


def test_attention_equals_loops() -> None:
    torch.manual_seed(0)
    block = AttentionBlock(8, 4).double()
    hidden, valid = torch.randn(2, 5, 8, dtype=torch.float64), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    result = block(hidden, valid)
    for b in range(2):
        q, k, v = block.qkv(block.norm_attention(hidden[b])).view(5, 3, 4, 2).unbind(1)
        for t in range(5):
            mixed = []
            for h, slope in enumerate([0.0, 1.0, 0.5, 0.25]):
                places = [s for s in range(5) if valid[b, s]]
                logits = torch.stack([q[t, h] @ k[s, h] / math.sqrt(2) - slope * abs(s - t) for s in places])
                mixed.append(sum(w * v[s, h] for w, s in zip(logits.softmax(0), places, strict=True)))
            one = hidden[b, t] + block.out(torch.cat(mixed))
            one = one + block.down(nn.functional.gelu(block.up(block.norm_mlp(one))))
            torch.testing.assert_close(result[b, t], one)


@pytest.mark.parametrize("name", MAKERS)
def test_padding_is_absent(name: str) -> None:
    torch.manual_seed(0)
    layer = MAKERS[name]().double()
    hidden, valid = torch.randn(3, 6, 8, dtype=torch.float64), torch.ones(3, 6, dtype=torch.bool)
    wide = torch.cat([hidden, 100 * torch.randn(3, 4, 8, dtype=torch.float64)], 1)
    longer = layer(wide, torch.cat([valid, torch.zeros(3, 4, dtype=torch.bool)], 1))
    torch.testing.assert_close(longer[:, :6], layer(hidden, valid))


@pytest.mark.parametrize("name", MAKERS)
def test_a_row_without_tokens_gives_no_nan(name: str) -> None:
    layer = MAKERS[name]()
    hidden = torch.randn(2, 4, 8, requires_grad=True)
    valid = torch.tensor([[True] * 4, [False] * 4])
    layer(hidden, valid)[0].sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)
