"""The masking policy as an RLModule: it only wraps a `UnitScorer`, which runs without Ray everywhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.core.rl_module.torch import TorchRLModule
from safetensors.torch import load_file
from torch import Tensor

from rlcompress.models.scorer import build_scorer
from rlcompress.models.tokenizer import load_tokenizer

SCORES = "scores_PN"
FEATURES = ("ids_PWT", "valid_PWT", "own_PWT", "unit_PWT", "segment_PWT", "exists_PN")


class MaskingModule(TorchRLModule):
    """Scores the units of P texts.

    `model_config` holds small values only, so that an actor restarts from them: `policy` (fields of `PolicyConfig`),
    `tokenizer` (folder of the reader's tokenizer) and optionally `weights` (safetensors to start from).
    """

    def setup(self) -> None:
        reader = load_tokenizer(self.model_config["tokenizer"])
        self.network, self.tokenizer, self.layout = build_scorer(self.model_config["policy"], reader)
        self.window = int(self.model_config["policy"]["window"])
        if self.model_config.get("weights"):
            self.network.load_state_dict(load_file(self.model_config["weights"]))

    def _forward(self, batch: Mapping[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        return {SCORES: self.network({name: batch[name] for name in FEATURES})}
