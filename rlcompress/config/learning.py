"""Keys of the learning itself: the learner, the processes that it takes, its checkpoints and records."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rlcompress.config.rewarding import ScheduleConfig
from rlcompress.config.section import Fraction, NonNegative, Positive, Section

GROUPED = ("grpo", "dr_grpo", "dapo", "rloo")  # algorithms that compare the samples of one prompt


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
