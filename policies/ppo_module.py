"""The policy of several passes as an RLModule: it sees what is left of a text, and a critic learns beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, ValueFunctionAPI
from torch import Tensor

from policies.module import SCORES, MaskingModule
from rlcompress.models.critic import Critic

STATE = ("alive_PN", "progress_P", "left_P", "rate_P", "paid_P")


class PassesModule(MaskingModule, ValueFunctionAPI, InferenceOnlyAPI):
    """Takes `passes` beside what a `MaskingModule` takes. Scores never see the rate; the critic does."""

    def setup(self) -> None:
        super().setup()
        width = self.network.hidden.in_features
        seed = int(self.model_config.get("critic_seed", 0))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the same critic in every process that builds one
            self.critic = Critic(width)

    def get_non_inference_attributes(self) -> list[str]:
        return ["critic"]

    def known(self, batch: Mapping[str, Tensor]) -> Tensor:
        """What the network knows of each unit [P, N, D + 2] of what is left of the texts."""
        kind = batch["ids_PWT"].device.type
        with torch.autocast(kind, self.autocast, enabled=self.autocast is not None):
            return self.network.pooled({name: batch[name] for name in (*self.features.names, "alive_PN")})

    def _forward(self, batch: Mapping[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        return {SCORES: self.network.scores(self.known(batch), batch["exists_PN"]).float()}

    def _forward_train(self, batch: Mapping[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        known = self.known(batch)
        scores_PN = self.network.scores(known, batch["exists_PN"]).float()
        return {SCORES: scores_PN, Columns.EMBEDDINGS: known}

    def compute_values(self, batch: Mapping[str, Any], embeddings: Tensor | None = None) -> Tensor:
        known = self.known(batch) if embeddings is None else embeddings
        value_P: Tensor = self.critic(known.float(), *(batch[name] for name in STATE))
        return value_P
