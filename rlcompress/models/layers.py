"""Small layers shared by the built-in networks. All take [B, T, D] and treat padding as absent."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MaskedConvolution(nn.Module):
    """Convolution over tokens in which padding is zero, so that results do not depend on how much there is."""

    def __init__(self, width: int, channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, channels, kernel, padding=dilation * (kernel // 2), dilation=dilation)

    def forward(self, hidden_BTD: Tensor, valid_BT: Tensor) -> Tensor:
        zeroed = hidden_BTD * valid_BT[..., None].to(hidden_BTD.dtype)
        result: Tensor = self.conv(zeroed.transpose(1, 2)).transpose(1, 2)
        return result


class AttentionBlock(nn.Module):
    """Pre-norm self-attention and MLP; order enters by a penalty that grows with distance.

    Linear biases let a network trained on short texts read longer ones (Press et al. 2022, ALiBi), here on both
    sides and with one head free of any penalty, which finds repetitions wherever they are.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.up = nn.Linear(width, 3 * width)
        self.down = nn.Linear(3 * width, width)
        slopes = [0.0] + [2.0 ** (1 - h) for h in range(1, heads)]
        self.register_buffer("slopes_H", torch.tensor(slopes), persistent=False)

    def forward(self, hidden_BTD: Tensor, valid_BT: Tensor) -> Tensor:
        B, T, D = hidden_BTD.shape
        projected = self.qkv(self.norm_attention(hidden_BTD)).view(B, T, 3, self.heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        position_T = torch.arange(T, device=hidden_BTD.device)
        distance_TT = (position_T[:, None] - position_T[None, :]).abs()
        bias_HTT = -self.get_buffer("slopes_H")[:, None, None] * distance_TT
        # finite with any penalty, so that a row without any token gives no NaN
        absent = torch.finfo(query.dtype).min / 2
        absent_BT = torch.zeros_like(valid_BT, dtype=query.dtype).masked_fill(~valid_BT, absent)
        bias = bias_HTT.to(query.dtype) + absent_BT[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        hidden_BTD = hidden_BTD + self._drop(self.out(mixed.transpose(1, 2).reshape(B, T, D)))
        return hidden_BTD + self._drop(self.down(functional.gelu(self.up(self.norm_mlp(hidden_BTD)))))

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)


class ConvolutionBlock(nn.Module):
    """Pre-norm gated convolution: what is near decides."""

    def __init__(self, width: int, kernel: int, dilation: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm = nn.LayerNorm(width)
        self.conv = MaskedConvolution(width, 2 * width, kernel, dilation)
        self.out = nn.Linear(width, width)

    def forward(self, hidden_BTD: Tensor, valid_BT: Tensor) -> Tensor:
        gated = functional.glu(self.conv(self.norm(hidden_BTD), valid_BT), dim=-1)
        return hidden_BTD + functional.dropout(self.out(gated), self.dropout, self.training)
