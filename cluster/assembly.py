"""Where an environment and a policy are named together: the algorithm of a run, put together from its configuration."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.registry import register_env

from cluster.encoders import told_folder
from cluster.services import RemoteJudge
from envs.masking_vector import TokenMaskingVector
from envs.rewriting_vector import PromptRewritingVector
from policies.algorithm import CompressorAlgorithm
from policies.grpo import GRPOConfig
from policies.ppo import PPOConfig
from policies.reinforce import ReinforceConfig
from policies.row_view import RowView
from policies.text_grpo import TextGRPOConfig
from policies.texts import TextTable
from rlcompress.artifact import EMBEDDER, WEIGHTS
from rlcompress.config.generating import LanguageConfig
from rlcompress.config.rewriting_run import RewritingRun
from rlcompress.config.schema import GROUPED, RewardConfig, RunConfig
from rlcompress.data.dataset import load_split
from rlcompress.judges.silent import NONE, SilentJudge
from rlcompress.models.tokenizer import load_tokenizer
from rlcompress.rewards.importance import count_words
from rlcompress.rewards.reward import Reward
from rlcompress.text.segment import Segmenter

ENV, REWRITING = "rlcompress/TokenMasking-v0", "rlcompress/PromptRewriting-v0"


def make_env(context: Mapping[str, Any]) -> TokenMaskingVector:
    """The environment of one runner, built where it runs from paths and names only."""
    table = load_texts(context["data"], context["granularity"], context["protect"])
    examples = table.examples
    reward = RewardConfig.model_validate(context["reward"])
    counts = count_words(example.text for example in examples) if reward.importance == "rarity" else None
    return TokenMaskingVector(
        context["num_envs"],
        examples=examples,
        segmenter=table.segmenter,
        judge=SilentJudge() if context["judge"] == NONE else RemoteJudge(context["judge"], context["judge_timeout"]),
        reward=Reward(reward, counts),
        reader=RemoteJudge(context["reader"], context["reader_timeout"]) if context["reader"] else "overlap",
        rates=context["rates"],
        sampler=context["sampler"],
        form=context["form"],
        passes=context["passes"],
    )


def make_row_env(context: Mapping[str, Any]) -> RowView:
    """The same for RLlib's own runner, which sees rows instead of texts."""
    return RowView(make_env(context))


@functools.cache
def load_texts(data: str, granularity: str, protect: tuple[str, ...]) -> TextTable:
    """The training texts of prepared data; one table a process."""
    folder = Path(data)
    segmenter = Segmenter(load_tokenizer(str(folder / "tokenizer")), granularity, protect)
    return TextTable(load_split(folder, "train"), segmenter)


FORMS = {"single": make_env, "progressive": make_row_env}  # how many steps an episode has
ALGORITHMS = {**dict.fromkeys(GROUPED, GRPOConfig), "reinforce": ReinforceConfig, "ppo": PPOConfig}


def build_algorithm(
    config: RunConfig,
    data: Path,
    prompts: int,
    judge: RemoteJudge | SilentJudge,
    start: Path,
    reader: RemoteJudge | None = None,
) -> CompressorAlgorithm[Any]:
    """The learner, its runners and their environments; the policy starts as the artifact in the folder `start`."""
    register_env(ENV, FORMS[config.env.form])
    env_config = {
        "data": str(data.resolve()),
        "granularity": config.env.granularity,
        "protect": config.env.protect,
        "rates": config.env.rates,
        "reward": config.reward.model_dump(),
        "judge": judge.name,
        "judge_timeout": judge.timeout,
        "reader": reader.name if reader else None,
        "reader_timeout": reader.timeout if reader else None,
        "form": config.env.form,
        "passes": config.env.passes,
    }
    module_config = {
        "policy": {**config.policy.model_dump(), "trust_remote_code": config.trust_remote_code},
        "tokenizer": str((data / "tokenizer").resolve()),
        "weights": str((start / WEIGHTS).resolve()),
        "embedder": str((start / EMBEDDER).resolve()) if config.policy.channels != "none" else None,
        "told": str(told_folder(config).resolve()),
        "passes": config.env.steps,
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
        texts=functools.partial(load_texts, env_config["data"], config.env.granularity, config.env.protect),
    )
    built: CompressorAlgorithm[Any] = algorithm.build_algo()
    return built


def make_rewriting_env(context: Mapping[str, Any]) -> PromptRewritingVector:
    """The environment of one runner that rewrites, built where it runs from paths and names only."""
    return PromptRewritingVector(
        context["num_envs"],
        samples=context["samples_per_prompt"],
        examples=load_split(Path(context["data"]), "train"),
        evaluator=RemoteJudge(context["evaluator"], context["timeout"], key="evaluator.timeout"),
        tokenizer=load_tokenizer(context["reader"]),
        reward=context["reward"],
        rates=context["rates"],
    )


def build_rewriting_algorithm(
    config: RewritingRun, data: Path, prompts: int, evaluator: RemoteJudge, reader: Path, start: LanguageConfig
) -> CompressorAlgorithm[Any]:
    """The learner, its runners and their environments; the policy is `start`, a whole model or adapters."""
    register_env(REWRITING, make_rewriting_env)
    env_config = {
        "data": str(data.resolve()),
        "evaluator": evaluator.name,
        "timeout": evaluator.timeout,
        "reader": str(reader.resolve()),
        "reward": config.reward.model_dump(),
        "rates": config.env.rates,
    }
    module_config = {
        "language": start.model_dump(),
        "template": config.policy.template.model_dump(),
        "decoding": {"max_new_tokens": config.policy.max_new_tokens},
    }
    algorithm = TextGRPOConfig().run(
        learner=config.learner,
        resources=config.resources,
        rates=config.env.rates,
        prompts=prompts,
        seed=config.seed,
        env=REWRITING,
        env_config=env_config,
        module_config=module_config,
    )
    built: CompressorAlgorithm[Any] = algorithm.build_algo()
    return built
