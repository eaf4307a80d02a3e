"""Encoders of a scorer: tokens in rows to hidden states, built in or from the hub."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rlcompress.errors import UserError
from rlcompress.models.layers import AttentionBlock, MaskedConvolution

_EMBEDDINGS = 8192  # rows of the table: tokens of a larger vocabulary share them, so that the policy stays small


class TokenEncoder(nn.Module):
    """The built-in encoder, well under 2 M parameters: embeddings, a local window, attention by distance."""

    def __init__(self, vocabulary: int, width: int, layers: int) -> None:
        super().__init__()
        self.width = self.input_width = width
        self.recompute = False
        self.embed = nn.Embedding(min(vocabulary, _EMBEDDINGS), width)
        self.segment = nn.Embedding(2, width)
        self.local = MaskedConvolution(width, width, 5)
        self.blocks = nn.ModuleList(AttentionBlock(width, 4) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embed.weight, std=0.5)
        nn.init.zeros_(self.segment.weight)

    def forward(self, ids_RT: Tensor, valid_RT: Tensor, segment_RT: Tensor, more_RTD: Tensor | None = None) -> Tensor:
        """Hidden states [R, T, D]; `more_RTD` is added to the embeddings."""
        hidden_RTD = self.embed(ids_RT % self.embed.num_embeddings) + self.segment(segment_RT)
        if more_RTD is not None:
            hidden_RTD = hidden_RTD + more_RTD
        hidden_RTD = hidden_RTD + self.local(hidden_RTD, valid_RT)
        recompute = self.recompute and torch.is_grad_enabled()
        for block in self.blocks:
            inputs = (hidden_RTD, valid_RT)
            hidden_RTD = checkpoint(block, *inputs, use_reentrant=False) if recompute else block(*inputs)
        result: Tensor = self.norm(hidden_RTD)
        return result

    def recompute_activations(self) -> None:
        """Keep the inputs of each block and compute the rest again in the backward pass: less memory, more time."""
        self.recompute = True


class HubEncoder(nn.Module):
    """Any Hugging Face encoder behind the same call; never in training mode, so sampling and learning agree."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model = model.float()
        self.tokenizer = tokenizer  # goes into the artifact
        self.width = int(model.config.hidden_size)
        self.input_width = int(model.get_input_embeddings().weight.shape[1])
        self.recomputing: list[nn.Module] = []

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.model.eval()  # no dropout, wherever the model keeps it
        for layer in self.recomputing:
            layer.training = mode  # of the layer alone, which recomputes in training mode only
        return self

    def recompute_activations(self) -> None:
        """Keep the inputs of each layer and compute the rest again in the backward pass: less memory, more time.

        Raises:
            UserError: the model's code cannot do so.
        """
        from transformers.modeling_layers import GradientCheckpointingLayer

        self.recomputing = [layer for layer in self.model.modules() if isinstance(layer, GradientCheckpointingLayer)]
        if not self.recomputing or not self.model.supports_gradient_checkpointing:
            kind = type(self.model).__name__
            raise UserError(f"learner.gradient_checkpointing: {kind} cannot recompute its activations: set it to false")
        enable = getattr(self.model, "activation_checkpointing_enable", None)
        (enable or self.model.gradient_checkpointing_enable)({"use_reentrant": False})  # the older of its names
        self.train(self.training)

    def forward(self, ids_RT: Tensor, valid_RT: Tensor, segment_RT: Tensor, more_RTD: Tensor | None = None) -> Tensor:
        """Hidden states [R, T, D]; `more_RTD` is added to the embeddings of the tokens."""
        inputs = {"input_ids": ids_RT}
        if more_RTD is not None:
            inputs = {"inputs_embeds": self.model.get_input_embeddings()(ids_RT) + more_RTD}
        result: Tensor = self.model(**inputs, attention_mask=valid_RT.long()).last_hidden_state
        return result
