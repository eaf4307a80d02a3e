"""Every key a run can have, with its type, range and vetted default. An unknown key is an error.

Wall-clock time never decides how much is trained: counts of steps do, so that a seed means something.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from rlcompress.config.baselines import BaselinesConfig as BaselinesConfig
from rlcompress.config.embedding import EmbedderConfig as EmbedderConfig
from rlcompress.config.evaluating import EvaluateConfig as EvaluateConfig
from rlcompress.config.judging import CotrainConfig as CotrainConfig
from rlcompress.config.judging import JudgeConfig as JudgeConfig
from rlcompress.config.judging import JudgesConfig as JudgesConfig
from rlcompress.config.judging import ReaderJudgeConfig as ReaderJudgeConfig
from rlcompress.config.policy import PolicyConfig as PolicyConfig
from rlcompress.config.rewarding import PRICE_LIMIT as PRICE_LIMIT
from rlcompress.config.rewarding import SIZED, UNPRICED
from rlcompress.config.rewarding import GatesConfig as GatesConfig
from rlcompress.config.rewarding import LagrangianConfig as LagrangianConfig
from rlcompress.config.rewarding import RewardConfig as RewardConfig
from rlcompress.config.rewarding import ScheduleConfig as ScheduleConfig
from rlcompress.config.rewarding import SimilarityConfig as SimilarityConfig
from rlcompress.config.section import Fraction, NonNegative, Positive, Rate, Section
from rlcompress.config.speed import SpeedConfig as SpeedConfig

JUDGED = ("distortion", "simple", "rate_distortion")  # terms that count a reconstructor's bits
GROUPED = ("grpo", "dr_grpo", "dapo", "rloo")  # algorithms that compare the samples of one prompt


class SplitConfig(Section):
    """Shares of the documents (not of the rows) that go to each split."""

    train: Fraction = 0.8
    validation: Fraction = 0.1
    test: Fraction = 0.1

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"data.splits must sum to 1, they sum to {total:g}: change train, validation or test")
        return self


class DataConfig(Section):
    source: str = Field(
        "builtin:docs",
        description="builtin:docs, builtin:problems, a .txt/.jsonl/.parquet file, a folder with train.jsonl and "
        "perhaps test.jsonl, or a datasets hub id",
    )
    hub_config: str | None = Field(None, description="configuration name of a hub data set")
    hub_split: str = Field("train", description="split of a hub data set to read")
    text_field: str | None = Field(None, description="field with the text; default: text, then context")
    question_field: str = "question"
    answer_field: str = "answer"
    group_field: str | None = Field(None, description="field naming the document; default: the text itself")
    seed: int = Field(0, description="decides the splits; not the run's seed, so that seeds share a held-out set")
    fold: NonNegative = Field(0, description="which part of a cross-validation is tested: 0, 1, ... 1 / splits.test")
    splits: SplitConfig = SplitConfig()
    min_tokens: NonNegative = Field(16, description="shorter rows are dropped and counted (reader tokens)")
    max_tokens: Positive = Field(64, description="longer rows are handled by `long` (reader tokens)")
    long: Literal["split", "drop"] = "split"
    max_sequences: Positive | None = Field(None, description="at most so many rows in all, taken in shuffled order")
    near_duplicates: bool = Field(True, description="also drop rows that share most of their word 5-grams")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_tokens > self.max_tokens:
            raise ValueError("data.min_tokens must not exceed data.max_tokens")
        return self


class ReaderConfig(Section):
    """The model that will read the compressed prompt; its tokenizer counts every budget."""

    tokenizer: str = Field("builtin:bpe", description="builtin:bpe (trained here), a local folder or a hub id")
    vocabulary: Positive = Field(2048, ge=300, description="size of the built-in tokenizer")


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


class LearnerConfig(Section):
    algorithm: Literal["grpo", "dr_grpo", "dapo", "rloo", "reinforce", "ppo"] = "grpo"
    iterations: Positive = 200
    prompts_per_step: Positive = 16
    samples_per_prompt: Positive = Field(8, description="at least 2 where samples are compared inside their group")
    epochs: Positive = Field(1, description="updates on each batch of samples")
    micro_batch: Positive | None = Field(None, description="prompts in one forward and backward; memory only")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="of the policy's forward and backward; parameters stay float32; float16 needs CUDA"
    )
    gradient_checkpointing: bool = Field(False, description="compute the encoder's activations again: less memory")
    lr: float = Field(1e-3, gt=0)
    lr_end: float = Field(1e-4, ge=0, description="learning rate reached linearly at the last iteration")
    warmup_steps: NonNegative = 10
    weight_decay: float = Field(0.0, ge=0)
    grad_clip: float = Field(1.0, gt=0)
    clip_low: float = Field(0.2, gt=0, lt=1)
    clip_high: float = Field(0.28, gt=0, description="0.2 in plain GRPO, 0.28 with DAPO's clip-higher")
    kl_coeff: float = Field(0.0, ge=0, description="weight of the KL to the policy before RL")
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    entropy_coeff: float = Field(0.0, ge=0)
    temperature: ScheduleConfig = ScheduleConfig()
    gamma: float = Field(1.0, gt=0, le=1, description="ppo: discount; at 1 the return is the reward of the final text")
    gae_lambda: Fraction = Field(0.95, description="ppo: 1 trusts the sampled return alone, 0 the critic")
    against_others: bool = Field(
        True, description="ppo: an advantage counts beyond that of the prompt's other samples at the same step"
    )
    value_coeff: float = Field(0.5, ge=0, description="ppo: weight of the critic's loss, which moves the critic alone")
    value_clip: float | None = Field(None, gt=0, description="ppo: how far a value may move in one iteration")
    minibatch: Positive = Field(64, description="ppo: steps of episodes in one update")
    target_kl: float | None = Field(0.03, gt=0, description="ppo: KL a decision that ends the updates on a batch")
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="memory of the mean of the weights, which is what is served; 0: the last weights",
    )
    advantage_epsilon: float = Field(1e-8, gt=0, description="grpo, dapo: added to a group's spread before dividing")
    spread_floor: float = Field(1e-6, ge=0, description="groups whose rewards spread less are dropped")
    refills: NonNegative = Field(2, description="rounds of new prompts to replace dropped groups")
    nan_limit: NonNegative = Field(5, description="skipped non-finite updates before the run fails")
    learners: NonNegative = Field(0, description="remote learner actors; 0 learns in the driver")
    gpus_per_learner: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if self.algorithm in GROUPED and self.samples_per_prompt < 2:
            raise ValueError(
                f"learner.samples_per_prompt is 1, and {self.algorithm} compares the samples of one prompt: "
                "give at least 2, or learner.algorithm reinforce"
            )
        if self.algorithm == "reinforce" and self.epochs > 1:
            raise ValueError(
                f"learner.epochs is {self.epochs}, and reinforce may use its samples once: give 1, or grpo"
            )
        if self.algorithm == "ppo" and self.kl_coeff > 0:
            raise ValueError("learner.kl_coeff: ppo bounds its steps by learner.target_kl: set kl_coeff to 0")
        return self


class ResourcesConfig(Section):
    address: str | None = Field(None, description="Ray address; none starts Ray here, auto joins a running cluster")
    env_runners: NonNegative = Field(1, description="rollout actors; 0 samples in the driver")
    cpus_per_env_runner: float = Field(0.5, ge=0)
    cpus_for_driver: float = Field(0.5, ge=0)
    gpus_per_env_runner: float = Field(0.0, ge=0)
    restarts: NonNegative = Field(10, description="restarts of a lost env runner or judge")
    failures: Positive = Field(3, description="identical exceptions in a row before the run stops")
    sample_timeout: float = Field(300.0, gt=0, description="seconds for one round of sampling")


class CheckpointConfig(Section):
    every: Positive = Field(50, description="iterations between checkpoints")
    resume: str | None = Field(
        None, description="latest or a checkpoint's name: goes on with the run of this name where there is one"
    )
    keep: Positive = Field(2, description="periodic checkpoints kept; best and last are always kept")
    validate_every: Positive = Field(50, description="iterations between validations")
    validation_texts: Positive = 64
    patience: Positive | None = Field(None, description="validations without improvement before stopping early")


class TrackingConfig(Section):
    jsonl: Literal[True] = True
    csv: bool = True
    tensorboard: bool = True
    wandb: str | None = Field(None, description="project name; none never imports wandb")
    mlflow: str | None = Field(None, description="experiment name; none never imports mlflow")


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


class SubmitConfig(Section):
    exclude: tuple[str, ...] = (".venv", ".git", "runs", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")
    max_megabytes: float = Field(100.0, gt=0, description="largest working directory that is uploaded")


class RunConfig(Section):
    """A whole run. `python -m rlcompress config show FILE` prints the merged result."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9._-]+$")
    runs: str = Field("runs", description="folder that holds run directories")
    seed: int = 0
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    trust_remote_code: bool = False
    data: DataConfig = DataConfig()
    reader: ReaderConfig = ReaderConfig()
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
    learner: LearnerConfig = LearnerConfig()
    resources: ResourcesConfig = ResourcesConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    baselines: BaselinesConfig = BaselinesConfig()
    speed: SpeedConfig = SpeedConfig()
    tracking: TrackingConfig = TrackingConfig()
    tune: TuneConfig = TuneConfig()
    serve: ServeConfig = ServeConfig()
    submit: SubmitConfig = SubmitConfig()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        limit, groups = self.learner.micro_batch, self.learner.prompts_per_step
        if limit is not None and limit > groups:
            raise ValueError(f"learner.micro_batch ({limit}) must not exceed learner.prompts_per_step ({groups})")
        if self.learner.precision == "float16" and not (self.learner.gpus_per_learner and self._cuda()):
            raise ValueError(
                "learner.precision float16 needs CUDA (device auto or cuda, and learner.gpus_per_learner above 0): "
                "use bfloat16 or float32"
            )
        return self

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

    def _cuda(self) -> bool:
        return self.device == "auto" or self.device.startswith("cuda")
