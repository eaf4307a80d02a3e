"""A task whose best mask is known: each word costs bits by a hidden rule, and a plain judge adds up what was dropped.

Judges here can also misbehave on demand: the marker file in their context makes a fault happen once, in whatever
process comes first.
"""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.tune.registry import register_env
from safetensors.torch import save_file

from cluster.assembly import ALGORITHMS
from cluster.services import RemoteJudge
from envs.masking_vector import TokenMaskingVector
from policies.row_view import RowView
from policies.texts import TextTable
from rlcompress.config.schema import JudgeConfig, LearnerConfig, PolicyConfig, ResourcesConfig, RewardConfig
from rlcompress.errors import JudgeUnavailable
from rlcompress.models.reconstructor import MaskedReconstructor
from rlcompress.models.scorer import TextScorer, build_scorer
from rlcompress.models.tokenizer import load_tokenizer, train_tokenizer
from rlcompress.passes import served_priorities
from rlcompress.rewards.reward import Reward
from rlcompress.rewards.terms import RewardInput
from rlcompress.selection import select
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, FloatArray, Judge, Judgement, JudgeRequest

COSTLY, CHEAP = 8.0, 1.0
RATES = (0.34,)
WORDS = [a + b + c for a in ("ba", "ko", "mi") for b in ("lu", "ta", "re", "so") for c in ("n", "sh")]


def bits_of(word: str) -> float:
    """The hidden rule: every third word of the vocabulary is costly."""
    return COSTLY if WORDS.index(word) % 3 == 1 else CHEAP


def examples(count: int, words: int = 24, seed: int = 0) -> list[Example]:
    """Texts of random words; equal for equal arguments in every process."""
    rng = np.random.default_rng([seed, words])
    texts = [" ".join(WORDS[i] for i in rng.integers(len(WORDS), size=words)) for _ in range(count)]
    return [Example(f"{seed}-{n}", text) for n, text in enumerate(texts)]


def graded_bits(word: str) -> float:
    """Another rule: each word costs a little more than the one before it, so every kept fraction has a price."""
    return 1.0 + WORDS.index(word)


def word_bits(request: JudgeRequest, rule: Callable[[str], float] = bits_of) -> FloatArray:
    ends = [*request.unit_starts_N[1:].tolist(), len(request.source)]
    words = [request.source[a:b].strip() for a, b in zip(request.unit_starts_N.tolist(), ends, strict=True)]
    return np.array([rule(word) for word in words])


class PlantedJudge:
    """D(S) is the sum of the hidden bits of the dropped words."""

    version = "planted"
    rule = staticmethod(bits_of)

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        return [self.one(request) for request in requests]

    def one(self, request: JudgeRequest) -> Judgement:
        per_unit_N = np.where(request.kept_N, 0.0, word_bits(request, self.rule))
        return Judgement(float(per_unit_N.sum()), version=self.version, per_unit_N=per_unit_N)


class GradedJudge(PlantedJudge):
    rule = staticmethod(graded_bits)


class ConstantJudge(PlantedJudge):
    """The same bits whatever was kept: there is nothing to learn."""

    def one(self, request: JudgeRequest) -> Judgement:
        return Judgement(100.0, version=self.version)


class HalfConstantJudge(PlantedJudge):
    """Nothing to learn from the texts of the first half of the vocabulary's first words."""

    def one(self, request: JudgeRequest) -> Judgement:
        first = request.source.split(" ", 1)[0]
        constant = WORDS.index(first) < len(WORDS) // 2
        return Judgement(100.0, version=self.version) if constant else super().one(request)


class FailingJudge(PlantedJudge):
    """No verdict on a mask that keeps the first word."""

    def one(self, request: JudgeRequest) -> Judgement:
        return Judgement.failed("it kept the first word") if request.kept_N[0] else super().one(request)


class AwayJudge(PlantedJudge):
    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        raise JudgeUnavailable("judge 'planted' is away")


class RaisingJudge(PlantedJudge):
    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        raise ZeroDivisionError("a bug in the user's own judge")


class OnceJudge(PlantedJudge):
    """Sound, but for one call in the life of the `marker` file, on which `fault` happens."""

    def __init__(self, marker: str, fault: Callable[[], None], after: int) -> None:
        self.marker, self.fault, self.after = Path(marker), fault, after
        self.calls = 0

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        self.calls += 1
        if self.calls > self.after and not self.marker.exists():
            self.marker.write_text(str(os.getpid()))
            self.fault()
        return super().judge(requests)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def raise_once() -> None:
    raise ZeroDivisionError("a bug that shows once")


JUDGES: dict[str, Callable[[Mapping[str, Any]], Judge]] = {
    "planted": lambda context: PlantedJudge(),
    "graded": lambda context: GradedJudge(),
    "constant": lambda context: ConstantJudge(),
    "half constant": lambda context: HalfConstantJudge(),
    "failing": lambda context: FailingJudge(),
    "away": lambda context: AwayJudge(),
    "raising": lambda context: RaisingJudge(),
    "dies once": lambda context: OnceJudge(context["marker"], die, after=3),
    "remote": lambda context: RemoteJudge(context["judge_name"], timeout=60.0),
    "raises once": lambda context: OnceJudge(context["marker"], raise_once, after=3),
}


def load_texts(count: int, words: int, tokenizer: str) -> TextTable:
    return TextTable(examples(count, words), Segmenter(load_tokenizer(tokenizer)))


def make_env(context: Mapping[str, Any]) -> TokenMaskingVector:
    table = load_texts(context["texts"], context["words"], context["tokenizer"])
    return TokenMaskingVector(
        context["num_envs"],
        examples=table.examples,
        segmenter=table.segmenter,
        judge=JUDGES[context["judge"]](context),
        reward=Reward(RewardConfig.model_validate(context["reward"])),
        rates=RATES,
        sampler=context["sampler"],
        form=context["form"],
        passes=context["passes"],
    )


def make_row_env(context: Mapping[str, Any]) -> RowView:
    return RowView(make_env(context))


FORMS = {"single": make_env, "progressive": make_row_env}
POLICY = PolicyConfig(prior="none", width=32, layers=1)
WEIGHTS, PASSES_WEIGHTS = "weights.safetensors", "passes.safetensors"


def write_start(folder: Path, seed: int = 0) -> Path:
    """Where a policy starts: a tokenizer in which every word is one token, and weights that know nothing."""
    tokenizer = train_tokenizer([example.text for example in examples(200)], vocabulary=600)
    tokenizer.save(folder)
    for name, passes in ((WEIGHTS, 1), (PASSES_WEIGHTS, 2)):  # of several passes, whatever their number
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network, _ = build_scorer(POLICY.model_dump(), tokenizer, passes=passes)
        save_file(network.state_dict(), folder / name)
    return folder


def configured(
    start: Path,
    *,
    judge: str = "planted",
    judge_name: str = "",
    runners: int = 1,
    seed: int = 0,
    texts: int = 64,
    words: int = 24,
    terms: Mapping[str, float] | None = None,
    sampler: str = "exact",
    reward: Mapping[str, Any] | None = None,
    passes: int = 3,
    marker: Path | None = None,
    resources: Mapping[str, Any] | None = None,
    **learner: Any,
) -> Any:
    """The real configuration on the planted task; `learner` overrides keys of the section of that name.

    `passes` is for ppo, whose episodes are progressive.
    """
    priced = RewardConfig.model_validate({"terms": dict(terms or {"distortion": 1.0}), **(reward or {})})
    settings = {"iterations": 10, "prompts_per_step": 8, "samples_per_prompt": 4, "warmup_steps": 0, **learner}
    learner_settings = LearnerConfig.model_validate(settings)
    form = "progressive" if learner_settings.algorithm == "ppo" else "single"
    register_env("planted", FORMS[form])
    steps = passes if form == "progressive" else 1
    config = ALGORITHMS[learner_settings.algorithm]().run(
        learner=learner_settings,
        resources=ResourcesConfig.model_validate(
            {"env_runners": runners, "cpus_per_env_runner": 0.5, **(resources or {})}
        ),
        rates=RATES,
        prompts=texts,
        seed=seed,
        env="planted",
        env_config={
            "texts": texts,
            "words": words,
            "tokenizer": str(start),
            "judge": judge,
            "judge_name": judge_name,
            "reward": priced.model_dump(),
            "marker": str(marker),
            "form": form,
            "passes": passes,
        },
        module_config={
            "policy": POLICY.model_dump(),
            "tokenizer": str(start),
            "weights": str(start / (WEIGHTS if steps == 1 else PASSES_WEIGHTS)),
            "passes": steps,
        },
        sampler=sampler,
        reward=priced,
        texts=functools.partial(load_texts, texts, words, str(start)),
    )
    return config


def build(start: Path, **settings: Any) -> Any:
    """The real algorithm, with the keyword arguments of `configured`."""
    return configured(start, **settings).build_algo()


def served(algorithm: Any, start: Path) -> TextScorer:
    """The policy as it is served: deterministic scores from the learner's weights."""
    found = {k: torch.as_tensor(v) for k, v in algorithm.weights().items()}
    weights = {k.removeprefix("network."): v for k, v in found.items() if k.startswith("network.")}
    passes = 2 if "dropped" in weights else 1  # of several passes, whatever their number
    network, features = build_scorer(POLICY.model_dump(), load_tokenizer(str(start)), passes=passes)
    network.load_state_dict(weights)
    return TextScorer(network, features, torch.device("cpu"))


def share_of_best(scorer: TextScorer, held_out: Sequence[Example], rate: float = RATES[0], passes: int = 1) -> float:
    """Reward of the served policy over the best there is: the costliest words within the budget."""
    units = [Segmenter(scorer.features.tokenizer)(example.text) for example in held_out]
    scores = served_priorities(scorer, passes, units, [None] * len(units), rate)
    reached = best = 0.0
    for example, unit, score in zip(held_out, units, scores, strict=True):
        assert unit.costs_N.tolist() == [1] * len(unit), "every word is one token, so the costliest words are the best"
        bits_N = np.array([bits_of(word) for word in example.text.split()])
        reached += bits_N[select(unit, score, rate).kept_N].sum() / bits_N.sum()
        best += bits_N[select(unit, bits_N, rate).kept_N].sum() / bits_N.sum()
    return reached / best


def broken_term(item: RewardInput) -> float:
    raise KeyError("no such word")


def sometimes_infinite(item: RewardInput) -> float:
    return float("inf") if item.compression.kept_N[0] else 0.5


def write_judge(folder: Path, start: Path, config: JudgeConfig) -> Path:
    """The folder of a real reconstruction judge with random weights, for the tokenizer in `start`."""
    tokenizer = load_tokenizer(str(start))
    assert tokenizer.mask_id is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MaskedReconstructor("attention", tokenizer.vocabulary, tokenizer.mask_id, config.width, config.layers)
    model.save(folder)
    tokenizer.save(folder / "tokenizer")
    (folder / "judge.json").write_text(json.dumps({"settings": config.model_dump()}))
    return folder
