"""How much each token of a batch of outputs weighs in a policy loss: what the published variants of GRPO differ in.

P prompts, G samples each, O places of outputs. A sample without tokens in the mask (cut off, without a verdict) takes
no part: it has no weight and does not count as a sample. Weights are computed over the whole batch, so that the losses
of micro-batches and of data-parallel learners, which multiply and add up, need no normaliser of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

WeightFn = Callable[[Tensor, int], Tensor]  # (mask [P, G, O], most tokens of an output) -> weights [P, G, O]


def each_sample_alike(mask_PGO: Tensor, longest: int) -> Tensor:
    """1 / (samples · tokens of the sample): each sample's mean over its tokens, averaged (GRPO, Shao et al. 2024).

    They sum to 1. A token of a long output weighs less than one of a short output.
    """
    tokens_PG1 = mask_PGO.sum(-1, keepdim=True).clamp(min=1)
    return mask_PGO.float() / (tokens_PG1 * _samples(mask_PGO))


def each_token_alike(mask_PGO: Tensor, longest: int) -> Tensor:
    """1 / tokens of the batch: one mean over all of them (DAPO, Yu et al. 2025). They sum to 1."""
    return mask_PGO.float() / mask_PGO.sum().clamp(min=1)


def each_place_alike(mask_PGO: Tensor, longest: int) -> Tensor:
    """1 / (samples · `longest`): a constant, so that no length is favoured (Dr. GRPO, Liu et al. 2025).

    They sum to the mean length over `longest`.
    """
    return mask_PGO.float() / (_samples(mask_PGO) * longest)


def _samples(mask_PGO: Tensor) -> Tensor:
    return mask_PGO.any(-1).sum().clamp(min=1)


# RLOO (Ahmadian et al. 2024) takes whole outputs as actions: their log-probabilities are summed and never divided by
# their lengths, so up to the constant its tokens weigh as Dr. GRPO's.
TOKEN_WEIGHTS: dict[str, WeightFn] = {
    "grpo": each_sample_alike,
    "dapo": each_token_alike,
    "dr_grpo": each_place_alike,
    "rloo": each_place_alike,
}
