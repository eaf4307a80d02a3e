"""Where an environment and a policy are named together: the algorithm of a run, put together from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.registry import register_env

from cluster.services import RemoteJudge
from envs.masking_vector import TokenMaskingVector
from policies.grpo import GRPO, GRPOConfig
from policies.reinforce import ReinforceConfig
from rlcompress.config.schema import GROUPED, RewardConfig, RunConfig
from rlcompress.data.dataset import load_split
from rlcompress.models.tokenizer import load_tokenizer
from rlcompress.rewards.importance import count_words
from rlcompress.rewards.reward import Reward
from rlcompress.text.segment import Segmenter

ENV = "rlcompress/TokenMasking-v0"


def make_env(context: Mapping[str, Any]) -> TokenMaskingVector:
    """The environment of one runner, built where it runs from paths and names only."""
    data = Path(context["data"])
    examples = load_split(data, "train")
    segmenter = Segmenter(load_tokenizer(str(data / "tokenizer")), context["granularity"], context["protect"])
    reward = RewardConfig.model_validate(context["reward"])
    counts = count_words(example.text for example in examples) if reward.importance == "rarity" else None
    return TokenMaskingVector(
        context["num_envs"],
        examples=examples,
        segmenter=segmenter,
        judge=RemoteJudge(context["judge"], context["judge_timeout"]),
        reward=Reward(reward, counts),
        rates=context["rates"],
        sampler=context["sampler"],
    )


FORMS = {"single": make_env}  # how many steps an episode has
ALGORITHMS = {**dict.fromkeys(GROUPED, GRPOConfig), "reinforce": ReinforceConfig}


def build_algorithm(config: RunConfig, data: Path, prompts: int, judge: RemoteJudge, weights: Path) -> GRPO:
    """The learner, its runners and their environments; `weights` are where the policy starts."""
    register_env(ENV, FORMS[config.env.form])
    env_config = {
        "data": str(data.resolve()),
        "granularity": config.env.granularity,
        "protect": config.env.protect,
        "rates": config.env.rates,
        "reward": config.reward.model_dump(),
        "judge": judge.name,
        "judge_timeout": judge.timeout,
    }
    module_config = {
        "policy": {**config.policy.model_dump(), "trust_remote_code": config.trust_remote_code},
        "tokenizer": str((data / "tokenizer").resolve()),
        "weights": str(weights.resolve()),
    }
    algorithm = ALGORITHMS[config.learner.algorithm]().run(
        learner=config.learner,
        resources=config.resources,
        rates=config.env.rates,
        prompts=prompts,
        seed=config.seed,
        env=ENV,
        env_config=env_config,
        module_config=module_config,
        sampler=config.env.sampler,
        reward=config.reward,
    )
    built: GRPO = algorithm.build_algo()
    return built
