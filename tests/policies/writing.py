"""A task for policies that write: short word problems, a tiny model that writes words at random, rewards by rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.tune.registry import register_env

from envs.rewriting_vector import PromptRewritingVector
from envs.text_space import UnicodeText
from policies.rollouts import Task
from policies.text_groups import TextGroup
from policies.text_grpo import TextGRPOConfig, batch_of
from policies.text_learner import TextGRPOLearner
from policies.text_module import TextModule
from policies.text_runner import TextRunner
from rlcompress.config.generating import FineTuningConfig, LanguageConfig, LoraConfig, RewritingTemplateConfig
from rlcompress.config.schema import LearnerConfig, ResourcesConfig
from rlcompress.errors import JudgeUnavailable
from rlcompress.generation.finetuning import encoded, fine_tune
from rlcompress.generation.language import load_base
from rlcompress.generation.lora import add_adapter, save_adapter
from rlcompress.generation.prompting import RewritingTemplate
from rlcompress.generation.writing import Ending
from rlcompress.judges.clauses import ClauseEvaluator
from rlcompress.models.tokenizer import load_tokenizer
from rlcompress.problems.problem import WordProblem
from rlcompress.words import Judgement, PromptJudge, Solve, Status
from tests.rlcompress.language_models import save_language

NAMES = ("Tom", "Mia", "He", "She")
WORDS = ("Tom", "has", "buys", "more", "apples", "many", "How", "80")
TEMPLATE = {"text": "{percent} % of {text}\n"}
MAX_NEW = 24
SPACES = {DEFAULT_MODULE_ID: (UnicodeText(), UnicodeText())}
LENGTH = {"terms": {"length": 1.0}, "gates": [], "length": {"tolerance": 0.05, "slope": 0.5}}


def problems(count: int = 16) -> list[WordProblem]:
    rows = [(NAMES[n % len(NAMES)], 3 + n, 40 + 7 * n) for n in range(count)]
    return [
        WordProblem(f"p{n}", f"{who} has {a}. {who} buys {b} more. How many?", f"#### {a + b}", "made")
        for n, (who, a, b) in enumerate(rows)
    ]


class AwayEvaluator(ClauseEvaluator):
    def judge(self, requests: Sequence[Solve]) -> list[Judgement]:
        raise JudgeUnavailable("the evaluator is away")


class RaisingEvaluator(ClauseEvaluator):
    def judge(self, requests: Sequence[Solve]) -> list[Judgement]:
        raise ZeroDivisionError("a bug in the user's own evaluator")


class PickyEvaluator(ClauseEvaluator):
    """No verdict on a rewrite that begins with a capital."""

    def _verdict(self, request: Solve) -> Judgement:
        if request.text[:1].isupper() and "?" not in request.text:
            return Judgement.failed("it begins with a capital")
        return super()._verdict(request)


EVALUATORS: dict[str, Callable[[], PromptJudge]] = {
    "clauses": ClauseEvaluator,
    "away": AwayEvaluator,
    "raising": RaisingEvaluator,
    "picky": PickyEvaluator,
}


def make_env(context: Mapping[str, Any]) -> PromptRewritingVector:
    return PromptRewritingVector(
        context["num_envs"],
        samples=context["samples_per_prompt"],
        examples=problems(),
        evaluator=EVALUATORS[context["evaluator"]](),
        tokenizer=load_tokenizer(context["tokenizer"]),
        reward=context["reward"],
        rates=(0.5,),
        form=context["form"],
    )


def write_start(folder: Path, architecture: str = "llama", lora: bool = False) -> Path:
    """A tiny model on disk, fine-tuned until it writes one to ten random words and ends; with adapters if asked for.

    The adapters are not zero, so that what they do shows.
    """
    whole = save_language(folder / "whole", architecture)
    language = load_base(LanguageConfig(model=str(whole)))
    rng = np.random.default_rng(0)
    template = RewritingTemplate(RewritingTemplateConfig.model_validate(TEMPLATE))
    rows = [problems()[i % 16].text for i in range(160)]
    said = [" ".join(rng.choice(WORDS, rng.integers(1, 8))) for _ in rows]
    pairs = [(template.prompt(text, 0.5, language.tokenizer), words) for text, words in zip(rows, said, strict=True)]
    config = FineTuningConfig(steps=40, batch=16, learning_rate=1e-2, warmup=5)
    fine_tune(language, encoded(language, pairs), (), config)
    language.save(whole)
    if not lora:
        return whole
    adapted = add_adapter(language, LoraConfig(rank=2, alpha=8.0))
    fine_tune(adapted, encoded(adapted, pairs[:32]), (), FineTuningConfig(steps=5, batch=16, learning_rate=1e-3))
    save_adapter(adapted, folder / "adapter")
    return folder / "adapter"


def configured(
    start: Path,
    *,
    runners: int = 0,
    seed: int = 0,
    evaluator: str = "clauses",
    reward: Mapping[str, Any] | None = None,
    form: str = "single",
    language: Mapping[str, Any] | None = None,
    decoding: Mapping[str, Any] | None = None,
    resources: Mapping[str, Any] | None = None,
    prompts_per_call: int | None = None,
    **learner: Any,
) -> TextGRPOConfig:
    """The real configuration on this task; `learner` overrides keys of the section of that name."""
    register_env("writing", make_env)
    settings = {"iterations": 10, "prompts_per_step": 4, "samples_per_prompt": 4, "warmup_steps": 0, **learner}
    whole = start if (start / "tokenizer.json").exists() else start.parent / "whole"
    config = TextGRPOConfig().run(
        learner=LearnerConfig.model_validate(settings),
        resources=ResourcesConfig.model_validate(
            {"env_runners": runners, "cpus_per_env_runner": 0.5, **(resources or {})}
        ),
        rates=(0.5,),
        prompts=16,
        seed=seed,
        env="writing",
        env_config={"evaluator": evaluator, "tokenizer": str(whole), "reward": dict(reward or LENGTH), "form": form},
        module_config={
            "language": {"model": str(start), "chunk": 16, **(language or {})},
            "template": TEMPLATE,
            "decoding": {"max_new_tokens": MAX_NEW, **(decoding or {})},
        },
    )
    if prompts_per_call:
        config.env_config["prompts_per_call"] = prompts_per_call
    return config


def module(start: Path, *, inference_only: bool = False, **settings: Any) -> TextModule:
    spec = configured(start, **settings).get_rl_module_spec(spaces=SPACES, inference_only=inference_only)
    built: TextModule = spec.build()
    return built


def learner(start: Path, **settings: Any) -> TextGRPOLearner:
    """In this process, without Ray."""
    built: TextGRPOLearner = configured(start, **settings).build_learner(spaces=SPACES)
    return built


def tasks(count: int, tau: float = 1.0) -> list[Task]:
    return [Task(serial, serial % 16, 0.5, tau, 0) for serial in range(count)]


def written(policy: TextModule, count: int = 3, G: int = 4, tau: float = 0.8) -> list[TextGroup]:
    """What the policy writes, taken as whole and judged at random; of prompt 1, sample 2 has no verdict."""
    rng = np.random.default_rng(0)
    groups = []
    for task in tasks(count, tau):
        original = problems()[task.example].text + " He has a dog." * (task.serial % 2)
        (prompt,) = policy.prompt_ids([original], [task.rate])
        outputs = policy.write([prompt] * G, tau, [[task.serial, g] for g in range(G)])
        status_G = tuple(Status.JUDGE_FAILED if (task.serial, g) == (1, 2) else Status.OK for g in range(G))
        reward_G = np.where([status is Status.OK for status in status_G], rng.random(G), np.nan)
        groups.append(
            TextGroup(
                task=task,
                original=original,
                prompt=prompt,
                outputs=tuple(output.ids for output in outputs),
                logp=tuple(output.sampling_logp_T for output in outputs),
                ending_G=(Ending.ENDED,) * G,
                text_G=tuple(output.text for output in outputs),
                reward_G=reward_G,
                status_G=status_G,
                terms={"length": reward_G},
                gates={"leak": np.arange(G) != 1, "question": np.ones(G, np.bool_)},
                achieved_rate_G=np.full(G, 0.5),
                judge_version_G=("clauses-1",) * G,
            )
        )
    return groups


def cut_off(group: TextGroup) -> TextGroup:
    G = len(group.outputs)
    unfinished = (Status.UNFINISHED,) * G
    return replace(group, ending_G=(Ending.TRUNCATED,) * G, status_G=unfinished, reward_G=np.full(G, np.nan))


def as_batch(groups: list[TextGroup], longest: int = MAX_NEW, **learner: Any) -> dict[str, torch.Tensor]:
    """The learner's batch, by the code that a run makes it with."""
    columns, _ = batch_of(groups, LearnerConfig.model_validate(learner), longest)
    return {name: torch.from_numpy(column) for name, column in columns.items()}


def runner(start: Path, **settings: Any) -> TextRunner:
    """In this process, without Ray."""
    return TextRunner(config=configured(start, **settings), worker_index=0)
