"""From logits to the next token: tempering, the nucleus, one draw from one uniform number.

B rows, V tokens of the vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlcompress.config.generating import DecodingConfig


def sampling_logp(logits_BV: Tensor, temperature: float, top_p: float = 1.0) -> Tensor:
    """Log-probabilities [B, V] that tokens are drawn with; −inf outside of the nucleus.

    The nucleus (Holtzman et al. 2020) is the shortest list of likeliest tokens that holds at least `top_p`; of equally
    likely ones, those that come first. At temperature 0 all probability lies on the likeliest token.
    """
    logits_BV = logits_BV.float()
    if temperature == 0:
        best_B1 = logits_BV.argmax(-1, keepdim=True)
        return torch.full_like(logits_BV, -torch.inf).scatter(1, best_B1, 0.0)
    logp_BV = torch.log_softmax(logits_BV / temperature, -1)
    if top_p < 1:
        sorted_BV, order_BV = torch.sort(logp_BV, dim=-1, descending=True, stable=True)
        p_BV = sorted_BV.exp()
        outside_BV = p_BV.cumsum(-1) - p_BV >= top_p  # what stands before it is enough already
        logp_BV = logp_BV.masked_fill(torch.empty_like(outside_BV).scatter(1, order_BV, outside_BV), -torch.inf)
        logp_BV = torch.log_softmax(logp_BV, -1)
    return logp_BV


def draw(logp_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """The token [B] at which the cumulative probability passes `uniform_B` in [0, 1); never one of probability 0."""
    cumulative_BV = (logp_BV if logp_BV.device.type == "mps" else logp_BV.double()).exp().cumsum(-1)
    total_B1 = cumulative_BV[:, -1:]
    below_B1 = torch.nextafter(total_B1, torch.zeros_like(total_B1))
    target_B1 = torch.minimum(uniform_B.to(cumulative_BV)[:, None] * total_B1, below_B1)
    return torch.searchsorted(cumulative_BV, target_B1, right=True)[:, 0]


def next_token(logits_BV: Tensor, decoding: DecodingConfig, uniform_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The next ids [B], their log-probabilities [B] at temperature 1 and those they were drawn with.

    A row whose logits are no distribution gets token 0 and NaN: nothing can be drawn from it.
    """
    logits_BV = logits_BV.float()
    sound_B = ~(logits_BV.isnan() | (logits_BV == torch.inf)).any(-1) & (logits_BV > -torch.inf).any(-1)
    drawn_BV = sampling_logp(torch.where(sound_B[:, None], logits_BV, 0.0), decoding.temperature, decoding.top_p)
    ids_B = draw(drawn_BV, uniform_B)
    logp_BV = torch.log_softmax(logits_BV, -1)
    plain_B, sampling_B = (x.gather(1, ids_B[:, None])[:, 0] for x in (logp_BV, drawn_BV))
    ids_B = torch.where(sound_B, ids_B, 0)
    return ids_B, torch.where(sound_B, plain_B, torch.nan), torch.where(sound_B, sampling_B, torch.nan)
