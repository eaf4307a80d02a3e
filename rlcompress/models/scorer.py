"""Scorers: f(text, question) gives one score a unit; higher stays longer. The rate is never an input.

A score is a prior plus a learned residual that starts at zero, so an untrained policy *is* its prior:
`score_u = scale * prior_u + residual_u`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rlcompress.errors import UserError
from rlcompress.models.features import Features, RowLayout, featurise
from rlcompress.models.layers import AttentionBlock, MaskedConvolution
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer
from rlcompress.words import FloatArray, Units

_PRIOR_CENTRE, _PRIOR_SLOPE = 9.0, 0.25  # bits of a middling token; brings rarity to the scale of Gumbel noise
_EMBEDDINGS = 8192  # rows of the table: tokens of a larger vocabulary share them, so that the policy stays small
_ROWS = 128  # windows that the encoder sees at once; bounds memory on long texts
_CHARACTERS = 150_000  # of the texts scored together


class TokenEncoder(nn.Module):
    """The built-in encoder, well under 2 M parameters: embeddings, a local window, attention by distance."""

    def __init__(self, vocabulary: int, width: int, layers: int) -> None:
        super().__init__()
        self.width = width
        self.recompute = False
        self.embed = nn.Embedding(min(vocabulary, _EMBEDDINGS), width)
        self.segment = nn.Embedding(2, width)
        self.local = MaskedConvolution(width, width, 5)
        self.blocks = nn.ModuleList(AttentionBlock(width, 4) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embed.weight, std=0.5)
        nn.init.zeros_(self.segment.weight)

    def forward(self, ids_RT: Tensor, valid_RT: Tensor, segment_RT: Tensor) -> Tensor:
        hidden_RTD = self.embed(ids_RT % self.embed.num_embeddings) + self.segment(segment_RT)
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

    def forward(self, ids_RT: Tensor, valid_RT: Tensor, segment_RT: Tensor) -> Tensor:
        result: Tensor = self.model(input_ids=ids_RT, attention_mask=valid_RT.long()).last_hidden_state
        return result


class UnitScorer(nn.Module):
    """Encoder, pooling over the tokens of a unit, zero-initialised head, prior."""

    def __init__(
        self, encoder: TokenEncoder | HubEncoder, width: int, vocabulary: int, prior: str, prior_scale: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.prior = prior
        self.hidden = nn.Linear(width + 2, width)
        self.head = nn.Linear(width, 1, bias=False)  # adding a constant to all scores would change no order
        self.scale = nn.Parameter(torch.tensor(float(prior_scale)))
        self.register_buffer("bits_V", torch.full((vocabulary,), _PRIOR_CENTRE))
        nn.init.zeros_(self.head.weight)

    def fit_prior(self, counts_V: Tensor) -> None:
        """Set the rarity prior from token counts of the training text: -log2 of the add-half frequency."""
        smoothed = counts_V.double() + 0.5
        self.get_buffer("bits_V").copy_(-(smoothed / smoothed.sum()).log2())

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Scores [P, N]; places without a unit are 0."""
        ids, own, unit = features["ids_PWT"], features["own_PWT"], features["unit_PWT"]
        exists_PN = features["exists_PN"]
        P, W, T = ids.shape
        inputs = (features[name].reshape(P * W, T) for name in ("ids_PWT", "valid_PWT", "segment_PWT"))
        parts = zip(*(torch.split(rows, _ROWS) for rows in inputs), strict=True)
        # the encoder may run in half precision; sums, prior and head stay in that of the parameters
        encoded = [self.encoder(*part).to(self.scale.dtype) for part in parts]
        with torch.autocast(ids.device.type, enabled=False):
            return self._scores(torch.cat(encoded).view(P, W * T, -1), ids, own, unit, exists_PN)

    def _scores(self, hidden: Tensor, ids: Tensor, own: Tensor, unit: Tensor, exists_PN: Tensor) -> Tensor:
        P, W, T = ids.shape
        N = exists_PN.shape[1]
        weight = own.view(P, W * T, 1).to(hidden.dtype)
        target = unit.view(P, W * T, 1)
        bits = self.get_buffer("bits_V")[ids].view(P, W * T, 1).to(hidden.dtype)
        columns = torch.cat([hidden, bits, torch.ones_like(bits)], -1) * weight
        pooled = hidden.new_zeros(P, N, columns.shape[-1]).scatter_add(1, target.expand_as(columns), columns)
        count_PN1 = pooled[..., -1:]
        mean = pooled[..., :-1] / count_PN1.clamp(min=1.0)
        rarity = (mean[..., -1:] - _PRIOR_CENTRE) * _PRIOR_SLOPE
        inner = torch.cat([mean[..., :-1], rarity, count_PN1.clamp(min=1.0).log()], -1)
        residual_PN = self.head(nn.functional.gelu(self.hidden(inner)))[..., 0]
        prior_PN = self.scale * rarity[..., 0] if self.prior == "rarity" else torch.zeros_like(residual_PN)
        return torch.where(exists_PN, prior_PN + residual_PN, 0.0)


class TextScorer:
    """A `UnitScorer` with its tokenizer: texts in, one array of scores a text out."""

    def __init__(
        self, network: UnitScorer, tokenizer: TextTokenizer, window: int, layout: RowLayout, device: torch.device
    ) -> None:
        self.network = network.to(device).eval()
        self.tokenizer = tokenizer
        self.window = window
        self.layout = layout
        self.device = device

    def features(self, texts: Sequence[Units], questions: Sequence[str | None]) -> Features:
        return featurise(texts, questions, self.tokenizer, self.window, self.layout)

    @torch.no_grad()
    def scores(self, texts: Sequence[Units], questions: Sequence[str | None], batch: int = 32) -> list[FloatArray]:
        """One array [N] of float64 scores a text, texts of similar length together."""
        result: list[FloatArray] = [np.zeros(0)] * len(texts)
        left = sorted(range(len(texts)), key=lambda i: len(texts[i].text))
        while left:
            size = next((n for n in range(batch, 1, -1) if n * len(texts[left[:n][-1]].text) <= _CHARACTERS), 1)
            chosen, left = left[:size], left[size:]
            features = self.features([texts[i] for i in chosen], [questions[i] for i in chosen])
            tensors = {k: torch.from_numpy(v).to(self.device) for k, v in features.items()}
            scores_PN = self.network(tensors).cpu().numpy().astype(np.float64)
            for row, i in enumerate(chosen):
                result[i] = scores_PN[row, : len(texts[i])]
        return result


def build_scorer(
    settings: Mapping[str, Any], reader: TextTokenizer, *, pretrained: bool = True
) -> tuple[UnitScorer, TextTokenizer, RowLayout]:
    """A fresh scorer from the fields of `PolicyConfig`; the built-in one shares the reader's tokenizer.

    `pretrained=False` builds an encoder's architecture alone, for weights that are loaded afterwards.

    Raises:
        UserError: the encoder's folder or hub id cannot be loaded.
    """
    name = settings["encoder"]
    if name == "builtin:scorer":
        encoder = TokenEncoder(reader.vocabulary, settings["width"], settings["layers"])
        network = UnitScorer(encoder, settings["width"], reader.vocabulary, settings["prior"], settings["prior_scale"])
        return network, reader, RowLayout()
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    trust = bool(settings.get("trust_remote_code", False))
    try:
        model = (
            AutoModel.from_pretrained(name, trust_remote_code=trust)
            if pretrained
            else AutoModel.from_config(AutoConfig.from_pretrained(name), trust_remote_code=trust)
        )
        special = AutoTokenizer.from_pretrained(name, trust_remote_code=trust)
    except (OSError, ValueError) as error:
        raise UserError(
            f"policy.encoder {name!r} cannot be loaded ({str(error).splitlines()[0]}): give builtin:scorer, "
            "a model folder, or a hub id that is in the local cache"
        ) from error
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and settings["window"] > longest:
        raise UserError(f"policy.window ({settings['window']}) is more than {name!r} reads ({longest}): lower it")
    hub = HubEncoder(model, special)
    tokenizer = load_tokenizer(name)
    begin = tuple(i for i in [special.cls_token_id] if i is not None)
    end = tuple(i for i in [special.sep_token_id] if i is not None)
    vocabulary = int(model.config.vocab_size)
    network = UnitScorer(hub, hub.width, vocabulary, settings["prior"], settings["prior_scale"])
    return network, tokenizer, RowLayout(begin=begin, middle=end, end=end)
