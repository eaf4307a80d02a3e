"""Words of a text from what is known of each: convolutions over neighbours, and what their sentence says together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlcompress.models.layers import MaskedConvolution

_REACH = 7  # words that a convolution sees


class WordContext(nn.Module):
    """[P, N, C] to [P, N, D]: two residual convolutions over words, between them the mean of each sentence, gated."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.into = nn.Linear(channels, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.near = MaskedConvolution(width, width, _REACH)
        self.far = MaskedConvolution(width, width, _REACH)
        self.told = nn.Linear(width, 2 * width)

    def forward(self, known_PNC: Tensor, exists_PN: Tensor, sentence_PN: Tensor) -> Tensor:
        hidden_PND = nn.functional.gelu(self.into(known_PNC))
        hidden_PND = hidden_PND + nn.functional.gelu(self.near(self.norms[0](hidden_PND), exists_PN))
        mean_PND = sentence_means(self.norms[1](hidden_PND), exists_PN, sentence_PN)
        hidden_PND = hidden_PND + nn.functional.glu(self.told(mean_PND), -1)
        result: Tensor = hidden_PND + nn.functional.gelu(self.far(self.norms[2](hidden_PND), exists_PN))
        return result


def sentence_means(hidden_PND: Tensor, exists_PN: Tensor, sentence_PN: Tensor) -> Tensor:
    """For each word the mean [P, N, D] over the words of its sentence; padding counts nowhere and gets zeros."""
    P, N, D = hidden_PND.shape
    exists_PN1 = exists_PN[..., None].to(hidden_PND.dtype)
    columns = torch.cat([hidden_PND * exists_PN1, exists_PN1], -1)
    target = sentence_PN[..., None].expand(P, N, D + 1)
    sums_PSD = torch.zeros_like(columns).scatter_add(1, target, columns)  # never more sentences than words
    back = sums_PSD.gather(1, target)
    return back[..., :-1] / back[..., -1:].clamp(min=1.0) * exists_PN1
