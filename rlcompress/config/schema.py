"""Every key a run can have, with its type, range and vetted default. An unknown key is an error.

Wall-clock time never decides how much is trained: counts of steps do, so that a seed means something.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from rlcompress.config.baselines import BaselinesConfig as BaselinesConfig
from rlcompress.config.data import DataConfig as DataConfig
from rlcompress.config.data import ReaderConfig as ReaderConfig
from rlcompress.config.data import SplitConfig as SplitConfig
from rlcompress.config.embedding import EmbedderConfig as EmbedderConfig
from rlcompress.config.evaluating import EvaluateConfig as EvaluateConfig
from rlcompress.config.judging import CotrainConfig as CotrainConfig
from rlcompress.config.judging import JudgeConfig as JudgeConfig
from rlcompress.config.judging import JudgesConfig as JudgesConfig
from rlcompress.config.judging import ReaderJudgeConfig as ReaderJudgeConfig
from rlcompress.config.learning import GROUPED as GROUPED
from rlcompress.config.learning import CheckpointConfig as CheckpointConfig
from rlcompress.config.learning import LearnerConfig as LearnerConfig
from rlcompress.config.learning import ResourcesConfig as ResourcesConfig
from rlcompress.config.learning import TrackingConfig as TrackingConfig
from rlcompress.config.policy import PolicyConfig as PolicyConfig
from rlcompress.config.rewarding import PRICE_LIMIT as PRICE_LIMIT
from rlcompress.config.rewarding import SIZED, UNPRICED
from rlcompress.config.rewarding import GatesConfig as GatesConfig
from rlcompress.config.rewarding import LagrangianConfig as LagrangianConfig
from rlcompress.config.rewarding import RewardConfig as RewardConfig
from rlcompress.config.rewarding import ScheduleConfig as ScheduleConfig
from rlcompress.config.rewarding import SimilarityConfig as SimilarityConfig
from rlcompress.config.running import COST, VALIDATION, Run
from rlcompress.config.running import SubmitConfig as SubmitConfig
from rlcompress.config.section import NonNegative, Positive, Rate, Section
from rlcompress.config.speed import SpeedConfig as SpeedConfig

JUDGED = ("distortion", "simple", "rate_distortion")  # terms that count a reconstructor's bits


class EnvConfig(Section):
    name: Literal["TokenMasking"] = "TokenMasking"
    form: Literal["single", "progressive"] = Field(
        "single", description="single decides once; progressive in several passes, each seeing what is left"
    )
    passes: int = Field(4, ge=1, le=20, description="steps of a progressive episode, and passes when it is served")
    sampler: Literal["exact", "bernoulli"] = Field(
        "exact", description="exact meets the drawn rate; bernoulli decides each unit by itself and so the rate too"
    )
    granularity: Literal["word", "phrase", "sentence"] = "word"
    rates: tuple[Rate, ...] = Field((0.33, 0.5), min_length=1, description="kept fractions drawn in training")
    protect: tuple[str, ...] = Field((), description="regular expressions or names (numbers, urls, code, tags, json)")

    @property
    def steps(self) -> int:
        """Steps of an episode, and passes in which a text is compressed."""
        return self.passes if self.form == "progressive" else 1


class ImitationConfig(Section):
    """Supervised learning from a teacher's choice of units, starting from the prior."""

    teacher: Literal["adaptive_add", "answers"] = Field(
        "adaptive_add", description="adaptive_add of the reward judge, or the words of each row's answer"
    )
    steps: NonNegative = Field(60, description="0 skips it")
    batch: Positive = 16
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    texts: Positive = Field(512, description="texts that the teacher masks")
    passes: Positive = Field(6, description="judge passes of adaptive_add a text")


class TuneConfig(Section):
    """One ASHA search; `space` maps dotted keys to `{uniform|loguniform: [low, high]}` or `{choice: [...]}`."""

    space: dict[str, dict[str, list[Any]]] = Field(default_factory=dict)
    trials: Positive = 4
    concurrent: Positive = 1
    grace: Positive = Field(1, description="validations before ASHA may stop a trial")
    reduction: Annotated[int, Field(ge=2)] = 2


class ServeConfig(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    replicas: Positive = 1
    batch: Positive = Field(16, description="requests compressed together")
    batch_wait: float = Field(0.002, ge=0, description="seconds a request waits for company")
    queue: Positive = Field(256, description="requests in flight before 503")
    max_characters: Positive = Field(1_000_000, description="largest text accepted")


class RunConfig(Run):
    """A whole run of masking. `python -m rlcompress config show FILE` prints the merged result."""

    trust_remote_code: bool = False
    env: EnvConfig = EnvConfig()
    reward: RewardConfig = RewardConfig()
    judges: JudgesConfig = JudgesConfig()
    cotrain: CotrainConfig = CotrainConfig()
    policy: PolicyConfig = PolicyConfig()
    embedder: EmbedderConfig = EmbedderConfig()
    warm_start: ImitationConfig = Field(ImitationConfig(), description="where reinforcement learning starts")
    supervised: ImitationConfig = Field(
        ImitationConfig(steps=0, texts=4096), description="the same policy by imitation alone, measured beside it"
    )
    evaluate: EvaluateConfig = EvaluateConfig()
    baselines: BaselinesConfig = BaselinesConfig()
    speed: SpeedConfig = SpeedConfig()
    tune: TuneConfig = TuneConfig()
    serve: ServeConfig = ServeConfig()

    @property
    def decides(self) -> str:
        """Bits, where the reward is nothing else; else minus the mean reward."""
        plain = {name for name, weight in self.reward.terms.items() if weight} == {"distortion"}
        return VALIDATION if plain and self.env.sampler == "exact" else COST

    @model_validator(mode="after")
    def _episodes(self) -> Self:
        algorithm, form = self.learner.algorithm, self.env.form
        if algorithm == "ppo" and form != "progressive":
            raise ValueError(f"learner.algorithm ppo learns from several steps: set env.form progressive, not {form}")
        if form == "progressive" and self.policy.encoder == "none":
            raise ValueError("env.form progressive needs an encoder that sees what is left: set policy.encoder")
        if algorithm != "ppo" and form != "single":
            raise ValueError(f"learner.algorithm {algorithm} learns from one step: set env.form single, or use ppo")
        return self

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        """What chooses its own length needs a price on it, and one that does not needs no controller."""
        if self.env.sampler == "bernoulli":
            if self.env.form != "single":
                raise ValueError(f"env.sampler bernoulli decides once: set env.form to single, not {self.env.form}")
            if not any(weight != 0 for name, weight in self.reward.terms.items() if name not in UNPRICED):
                raise ValueError(
                    "env.sampler bernoulli chooses its length, and no term of reward.terms prices it, so all would be "
                    "kept: add rate_distortion, simple or rate"
                )
            sized = [name for name in SIZED if self.reward.terms.get(name, 0) and self.reward.length.target is None]
            if sized:
                raise ValueError(
                    f"reward.terms.{sized[0]} compares the length with a target, and env.sampler bernoulli is asked "
                    "for none: set reward.length.target"
                )
        elif self.reward.target_rate is not None:
            raise ValueError("reward.target_rate needs env.sampler bernoulli: exact meets env.rates as it is")
        return self

    @model_validator(mode="after")
    def _judged(self) -> Self:
        """Who asks for a judge must have one."""
        if self.judges.reward.silent:
            asked = {f"reward.terms.{name}": self.reward.terms.get(name, 0.0) for name in JUDGED}
            taught = {"warm_start": self.warm_start, "supervised": self.supervised}
            asked |= {f"{name}.steps": one.steps for name, one in taught.items() if one.teacher == "adaptive_add"}
            asked["cotrain.steps"] = self.cotrain.steps
            for key, value in asked.items():
                if value:
                    mend = f"set {key} to 0, or name a judge"
                    raise ValueError(f"{key} is {value:g} and judges.reward.model is none: {mend}")
        return self
