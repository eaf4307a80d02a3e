"""The masking policy as an RLModule: it only wraps a `UnitScorer`, which runs without Ray everywhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.core.rl_module.torch import TorchRLModule
from safetensors.torch import load_file
from torch import Tensor, nn

from rlcompress.models.scorer import build_scorer, load_channels
from rlcompress.models.tokenizer import load_tokenizer

SCORES = "scores_PN"
AUTOCAST = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class MaskingModule(TorchRLModule):
    """Scores the units of P texts.

    `model_config` holds small values only, so that an actor restarts from them: `policy` (fields of `PolicyConfig`),
    `tokenizer` (folder of the reader's tokenizer) and optionally `embedder` and `told` (folders of the encoder behind
    what a question tells, and of what it has told), `weights` (safetensors to start from), `passes` (1), `precision`
    and `gradient_checkpointing` (as in `LearnerConfig`).

    Parameters are float32 in every precision. Sampling and learning run the encoder in the same one, so the ratio of
    their probabilities stays near 1; scores come back as float32.
    """

    def setup(self) -> None:
        reader = load_tokenizer(self.model_config["tokenizer"])
        passes = self.model_config.get("passes", 1)
        channels = load_channels(self.model_config.get("embedder"), self.model_config.get("told"))
        self.network, self.features = build_scorer(
            self.model_config["policy"], reader, passes=passes, channels=channels
        )
        if self.model_config.get("weights"):
            self.network.load_state_dict(load_file(self.model_config["weights"]))
        self.autocast = AUTOCAST[self.model_config.get("precision", "float32")]
        if self.model_config.get("gradient_checkpointing"):
            self.network.recompute_activations()

    def scores(self, batch: Mapping[str, Tensor], network: nn.Module | None = None) -> Tensor:
        """Scores [P, N] in float32 by this module's network, or by another one in the same precision."""
        kind = batch["ids_PWT"].device.type
        with torch.autocast(kind, self.autocast, enabled=self.autocast is not None):
            scores_PN: Tensor = (network or self.network)({name: batch[name] for name in self.features.names})
        return scores_PN.float()

    def _forward(self, batch: Mapping[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        return {SCORES: self.scores(batch)}
