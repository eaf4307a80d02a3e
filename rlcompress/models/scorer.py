"""Scorers: f(text, question) gives one score a unit; higher stays longer. The rate is never an input.

A score is a prior plus a learned residual that starts at zero, so an untrained policy *is* its prior:
`score_u = scale * prior_u + residual_u`.

What a question tells of each unit (`rlcompress.questions`) can stand beside the encoder, or in its place: then words
are known by these channels alone, and nothing can be learned by heart.

A policy that compresses in several passes also sees what the passes before have dropped, as a learned embedding on the
tokens of those units. It starts at zero and touches nothing while all units are left: a first pass is as `single`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlcompress.errors import UserError
from rlcompress.models.embedder import load_embedder
from rlcompress.models.encoders import HubEncoder, TokenEncoder
from rlcompress.models.features import Channels, Featuriser, RowLayout
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer
from rlcompress.models.word_context import WordContext
from rlcompress.questions.channels import CHANNELS, QuestionChannels
from rlcompress.questions.store import ArrayStore
from rlcompress.words import BoolArray, FloatArray, Units

_PRIOR_CENTRE, _PRIOR_SLOPE = 9.0, 0.25  # bits of a middling token; brings rarity to the scale of Gumbel noise
_ROWS = 128  # windows that the encoder sees at once; bounds memory on long texts
_CHARACTERS = 150_000  # of the texts scored together
BUILTIN_ENCODERS = ("builtin:scorer", "none")


class UnitScorer(nn.Module):
    """Encoder, pooling over the tokens of a unit, channels of the question, zero-initialised head, prior.

    The encoder, `channels` or one of them may be missing. `prior` is `rarity`, `none`, or `sentences`: that of the
    question's channels where there is a question, rarity where there is none.
    """

    def __init__(
        self,
        encoder: TokenEncoder | HubEncoder | None,
        width: int,
        vocabulary: int,
        prior: str,
        prior_scale: float,
        passes: int = 1,
        channels: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.prior = prior
        known = encoder.width if encoder is not None else 0
        self.context = WordContext(known + 2 + channels, width) if channels else None
        self.hidden = nn.Linear((width if channels else known) + 2, width)
        self.head = nn.Linear(width, 1, bias=False)  # adding a constant to all scores would change no order
        self.scale = nn.Parameter(torch.tensor(float(prior_scale)))
        self.register_buffer("bits_V", torch.full((vocabulary,), _PRIOR_CENTRE))
        nn.init.zeros_(self.head.weight)
        self.dropped = None
        if passes > 1:
            assert encoder is not None, "only an encoder sees what earlier passes have dropped"
            self.dropped = nn.Parameter(torch.zeros(encoder.input_width))

    def recompute_activations(self) -> None:
        """Compute the encoder's activations again in the backward pass: less memory, more time."""
        if self.encoder is not None:
            self.encoder.recompute_activations()

    def fit_prior(self, counts_V: Tensor) -> None:
        """Set the rarity prior from token counts of the training text: -log2 of the add-half frequency."""
        smoothed = counts_V.double() + 0.5
        self.get_buffer("bits_V").copy_(-(smoothed / smoothed.sum()).log2())

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Scores [P, N]; places without a unit are 0. `alive_PN` among the features tells what is left of the text."""
        return self.scores(self.pooled(features), features["exists_PN"])

    def pooled(self, features: Mapping[str, Tensor]) -> Tensor:
        """What is known of each unit [P, N, D + 2]: its hidden state, its prior, the logarithm of its tokens.

        Without channels the hidden state is the mean over the unit's tokens and the prior its rarity.
        """
        ids = features["ids_PWT"]
        P, W, T = ids.shape
        if self.encoder is None:
            return self._told(self._means(self.hidden.weight.new_zeros(P, W * T, 0), features), features)
        inputs = [features[name].reshape(P * W, T) for name in ("ids_PWT", "valid_PWT", "segment_PWT")]
        if self.dropped is not None and "alive_PN" in features:
            inputs.append(self._gone(features).reshape(P * W, T))
        parts = zip(*(torch.split(rows, _ROWS) for rows in inputs), strict=True)
        # the encoder may run in half precision; sums, prior and head stay in that of the parameters
        encoded = [self._encode(*part).to(self.scale.dtype) for part in parts]
        with torch.autocast(ids.device.type, enabled=False):
            return self._told(self._means(torch.cat(encoded).view(P, W * T, -1), features), features)

    def scores(self, inner: Tensor, exists_PN: Tensor) -> Tensor:
        """Scores [P, N] of units that are known as [P, N, D + 2]."""
        with torch.autocast(inner.device.type, enabled=False):
            residual_PN = self.head(nn.functional.gelu(self.hidden(inner)))[..., 0]
            prior_PN = self.scale * inner[..., -2] if self.prior != "none" else torch.zeros_like(residual_PN)
            return torch.where(exists_PN, prior_PN + residual_PN, 0.0)

    def _gone(self, features: Mapping[str, Tensor]) -> Tensor:
        """Which tokens [P, W, T] of the text belong to a unit that was dropped."""
        unit_PWT = features["unit_PWT"]
        alive_PWT = features["alive_PN"].gather(1, unit_PWT.flatten(1)).view(unit_PWT.shape)
        return ~alive_PWT & features["valid_PWT"] & (features["segment_PWT"] == 0)

    def _encode(self, ids_RT: Tensor, valid_RT: Tensor, segment_RT: Tensor, gone_RT: Tensor | None = None) -> Tensor:
        more_RTD = None if gone_RT is None or self.dropped is None else gone_RT[..., None] * self.dropped
        assert self.encoder is not None
        hidden_RTD: Tensor = self.encoder(ids_RT, valid_RT, segment_RT, more_RTD)
        return hidden_RTD

    def _told(self, means: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Units [P, N, D + 2] by their tokens alone, or with what the question tells of them."""
        if self.context is None:
            return means
        rarity_PN, told_PN = means[..., -2], features["prior_PN"].to(means.dtype)
        asked_P1 = features["asked_P"][:, None] if self.prior == "sentences" else torch.zeros_like(rarity_PN).bool()
        prior_PN = torch.where(asked_P1, told_PN, rarity_PN)
        known = torch.cat([means, features["channels_PNC"].to(means.dtype)], -1)
        hidden = self.context(known, features["exists_PN"], features["sentence_PN"])
        return torch.cat([hidden, prior_PN[..., None], means[..., -1:]], -1)

    def _means(self, hidden: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        ids, own, unit = features["ids_PWT"], features["own_PWT"], features["unit_PWT"]
        P, W, T = ids.shape
        N = features["exists_PN"].shape[1]
        weight = own.view(P, W * T, 1).to(hidden.dtype)
        target = unit.view(P, W * T, 1)
        bits = self.get_buffer("bits_V")[ids].view(P, W * T, 1).to(hidden.dtype)
        columns = torch.cat([hidden, bits, torch.ones_like(bits)], -1) * weight
        pooled = hidden.new_zeros(P, N, columns.shape[-1]).scatter_add(1, target.expand_as(columns), columns)
        count_PN1 = pooled[..., -1:]
        mean = pooled[..., :-1] / count_PN1.clamp(min=1.0)
        rarity = (mean[..., -1:] - _PRIOR_CENTRE) * _PRIOR_SLOPE
        return torch.cat([mean[..., :-1], rarity, count_PN1.clamp(min=1.0).log()], -1)


class TextScorer:
    """A `UnitScorer` with its features: texts in, one array of scores a text out."""

    def __init__(self, network: UnitScorer, features: Featuriser, device: torch.device) -> None:
        self.network = network.to(device).eval()
        self.features = features
        self.device = device

    @torch.no_grad()
    def scores(
        self,
        texts: Sequence[Units],
        questions: Sequence[str | None],
        batch: int = 32,
        alive: Sequence[BoolArray] | None = None,
    ) -> list[FloatArray]:
        """One array [N] of float64 scores a text, texts of similar length together; `alive`: what is left of each."""
        result: list[FloatArray] = [np.zeros(0)] * len(texts)
        left = sorted(range(len(texts)), key=lambda i: len(texts[i].text))
        while left:
            size = next((n for n in range(batch, 1, -1) if n * len(texts[left[:n][-1]].text) <= _CHARACTERS), 1)
            chosen, left = left[:size], left[size:]
            features = self.features([texts[i] for i in chosen], [questions[i] for i in chosen])
            if alive is not None:
                features["alive_PN"] = features["exists_PN"].copy()
                for row, i in enumerate(chosen):
                    features["alive_PN"][row, : len(texts[i])] = alive[i]
            tensors = {k: torch.from_numpy(v).to(self.device) for k, v in features.items()}
            scores_PN = self.network(tensors).cpu().numpy().astype(np.float64)
            for row, i in enumerate(chosen):
                result[i] = scores_PN[row, : len(texts[i])]
        return result


_loaded: dict[str, QuestionChannels] = {}  # by the encoder's weights: the artifacts of a run share one


def load_channels(embedder: str | Path | None, store: str | Path | None = None) -> QuestionChannels | None:
    """What a question tells of units, with the encoder that was saved in this folder; None without one.

    A process has one for all copies of an encoder; the first `store` that it is given, it keeps.
    """
    if embedder is None:
        return None
    loaded = load_embedder(embedder)
    channels = _loaded.setdefault(loaded.version, QuestionChannels(loaded))
    if store is not None and channels.store is None:
        channels.store = ArrayStore(Path(store))
    return channels


def build_scorer(
    settings: Mapping[str, Any],
    reader: TextTokenizer,
    *,
    pretrained: bool = True,
    passes: int = 1,
    channels: Channels | None = None,
) -> tuple[UnitScorer, Featuriser]:
    """A fresh scorer from the fields of `PolicyConfig`, and its features; built-in ones share the reader's tokenizer.

    `pretrained=False` builds an encoder's architecture alone, for weights that are loaded afterwards. With `passes`
    above 1 the scorer sees what is left of a text. `channels` tell what the question says of each unit.

    Raises:
        UserError: the encoder's folder or hub id cannot be loaded.
    """
    name, window, deaf = settings["encoder"], settings["window"], settings["channels"] == "text"
    prior, told = (settings["prior"], settings["prior_scale"]), len(CHANNELS) if channels is not None else 0
    if name in BUILTIN_ENCODERS:
        encoder = TokenEncoder(reader.vocabulary, settings["width"], settings["layers"]) if name != "none" else None
        network = UnitScorer(encoder, settings["width"], reader.vocabulary, *prior, passes, told)
        return network, Featuriser(reader, window, RowLayout(), channels, deaf)
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
    if longest is not None and window > longest:
        raise UserError(f"policy.window ({window}) is more than {name!r} reads ({longest}): lower it")
    hub = HubEncoder(model, special)
    tokenizer = load_tokenizer(name)
    begin = tuple(i for i in [special.cls_token_id] if i is not None)
    end = tuple(i for i in [special.sep_token_id] if i is not None)
    vocabulary = int(model.config.vocab_size)
    network = UnitScorer(hub, hub.width, vocabulary, *prior, passes, told)
    return network, Featuriser(tokenizer, window, RowLayout(begin=begin, middle=end, end=end), channels, deaf)
