"""GRPO for texts: a language model that rewrites prompts, groups of its outputs, one gradient for each token."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch

from policies.algorithm import CompressorConfig, Metrics
from policies.group_algorithm import GroupAlgorithm, advantages
from policies.learner import DECISIONS
from policies.text_groups import TextGroup, learner_columns
from policies.text_learner import SHARES, TextGRPOLearner
from policies.text_module import TextModule
from policies.text_runner import TextRunner, check_env
from policies.text_serving import rewritten_by_runners
from rlcompress.config.generating import DecodingConfig
from rlcompress.config.schema import LearnerConfig
from rlcompress.errors import UserError
from rlcompress.generation.writing import Ending
from rlcompress.learning.token_weights import TOKEN_WEIGHTS

log = logging.getLogger(__name__)

_SHOWN = 2  # groups of an iteration of which a text is logged


class TextGRPOConfig(CompressorConfig):
    """`run` as `CompressorConfig.run`, with the `module_config` of `TextModule` and an environment of prompts."""

    learned_module: ClassVar[type] = TextModule

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or TextGRPO)
        self.env_runners(env_runner_cls=TextRunner)
        self.max_new_tokens = 1

    def run(self, *, learner: LearnerConfig, module_config: dict[str, Any], **others: Any) -> Self:
        """A whole run; `env`'s vector form takes `samples` = `samples_per_prompt` of what it is handed.

        Raises:
            UserError: an algorithm that does not learn from texts, or a nucleus, whose texts have no log-probability
                that a learner could compute.
        """
        decoding = DecodingConfig.model_validate(module_config.get("decoding", {}))
        if learner.algorithm not in TOKEN_WEIGHTS:
            raise UserError(
                f"learner.algorithm {learner.algorithm!r} does not learn from texts: use {', '.join(TOKEN_WEIGHTS)}"
            )
        if decoding.top_p != 1:
            raise UserError(
                f"decoding.top_p is {decoding.top_p:g}, and texts of a nucleus cannot be learned from: set it to 1"
            )
        self.max_new_tokens = decoding.max_new_tokens
        module_config = {**module_config, "entropy": learner.entropy_coeff > 0}
        return super().run(learner=learner, module_config=module_config, **others)

    def get_default_learner_class(self) -> type:
        return TextGRPOLearner


class TextGRPO(GroupAlgorithm[TextGroup]):
    """Group-relative policy optimisation of texts (Shao et al. 2024), and its variants by `learner.algorithm`."""

    SHARES = SHARES

    @classmethod
    def get_default_config(cls) -> TextGRPOConfig:
        return TextGRPOConfig()

    def try_env(self) -> None:
        check_env(self.config)

    def collect(self, settings: LearnerConfig) -> tuple[list[TextGroup], Metrics]:
        usable, metrics = super().collect(settings)
        for group in usable[:_SHOWN]:
            best = int(np.nanargmax(np.where(group.ok_G, group.reward_G, np.nan)))
            log.debug("rate %g, reward %.3f: %r", group.task.rate, group.reward_G[best], group.text_G[best])
        return usable, metrics

    def complaint(self, counts: Counter[str], samples: int) -> str | None:
        if counts["samples/unfinished"] == samples:
            return (
                "no text of an iteration came to its end: raise decoding.max_new_tokens or the window, or fine-tune "
                "the policy before it learns from rewards"
            )
        return super().complaint(counts, samples)

    def rewrite(self, texts: Sequence[str], rates: Sequence[float]) -> list[str]:
        """Each text as the policy rewrites it when it is served, by the runners with the weights that they have.

        Raises:
            SamplingFailed: not all were rewritten within `resources.sample_timeout`.
        """
        return rewritten_by_runners(self, texts, rates, self.config.resource_settings.sample_timeout)

    def measured(self, groups: list[TextGroup]) -> Metrics:
        return {**super().measured(groups), **text_metrics(groups)}

    def learn(self, samples: list[TextGroup], settings: LearnerConfig) -> Metrics:
        columns, measured = batch_of(samples, settings, self.config.max_new_tokens)
        metrics = self.update(columns, columns["advantage_PG"].size, settings)
        self.entropy = metrics.pop("learner/chaos", 0.0)
        return {**metrics, **measured}


def batch_of(groups: list[TextGroup], settings: LearnerConfig, longest: int) -> tuple[dict[str, Any], Metrics]:
    """All columns of the learner's batch; advantages and weights are of the whole batch, so that it can be cut up.

    `longest` is the most tokens of an output.
    """
    columns: dict[str, Any] = learner_columns(groups)
    advantage_PG, spread = advantages(groups, settings)
    output_PGO = torch.from_numpy(columns["output_PGO"])
    tokens = int(output_PGO.sum())
    columns["advantage_PG"] = advantage_PG.float().numpy()
    columns["weight_PGO"] = TOKEN_WEIGHTS[settings.algorithm](output_PGO, longest).numpy()
    columns[DECISIONS] = np.full(len(groups), tokens, np.float32)
    return columns, {"learner/decisions": float(tokens), **spread}


def text_metrics(groups: list[TextGroup]) -> Metrics:
    """How outputs ended, and of the whole ones their length in the policy's tokens, leaks and shut gates, by name.

    Shares of the shut gates are of all gates, whether or not the reward heeds them; so is the rate of leaks.
    """
    endings = [ending for group in groups for ending in group.ending_G]
    if not endings:
        return {}
    counts = Counter(endings)
    metrics = {f"output/{ending.value}": counts[ending] / len(endings) for ending in Ending}
    whole = np.concatenate([group.ended_G for group in groups])
    if whole.any():
        tokens = np.array([len(ids) for group in groups for ids in group.outputs])
        metrics["output/tokens"] = float(tokens[whole].mean())
        for name in groups[0].gates:
            shut = ~np.concatenate([group.gates[name] for group in groups])[whole]
            metrics[f"gates/{name}"] = float(shut.mean())
        metrics["leak/rate"] = metrics["gates/leak"]
    return metrics
