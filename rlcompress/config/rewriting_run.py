"""Every key of a run that learns to rewrite prompts, with its type, range and vetted default."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rlcompress.config.data import DataConfig
from rlcompress.config.generating import (
    EvaluatorConfig,
    FineTuningConfig,
    LanguageConfig,
    LoraConfig,
    RewritingTemplateConfig,
    ScratchConfig,
)
from rlcompress.config.learning import GROUPED, LearnerConfig
from rlcompress.config.rewriting import RewriteRewardConfig
from rlcompress.config.running import Run
from rlcompress.config.section import Fraction, NonNegative, Positive, Rate, Section

BUILTIN = "builtin:llama"
CALCULATOR = "rlcompress.problems.calculator:insertion"


class RewritingEnvConfig(Section):
    name: Literal["PromptRewriting"] = "PromptRewriting"
    rates: tuple[Rate, ...] = Field((0.5, 0.6, 0.7), min_length=1, description="tokens out / tokens in, asked for")


class RewriterConfig(LanguageConfig):
    """The language model that rewrites."""

    model: str = Field(BUILTIN, description="builtin:llama (from nothing, by `sft`), a folder, an adapter or a hub id")
    chunk: Positive = Field(32, description="rows in one forward; fixed, so that results never depend on callers")
    scratch: ScratchConfig = Field(ScratchConfig(), description="builtin:llama")
    lora: LoraConfig | None = Field(None, description="learn adapters alone; none: all weights")
    template: RewritingTemplateConfig = RewritingTemplateConfig()
    max_new_tokens: Positive = Field(128, description="a rewrite that has not ended by then is unfinished")


class SftConfig(Section):
    """Supervised fine-tuning on (prompt, shorter prompt) pairs, where reinforcement learning starts."""

    pairs: str = Field("rules", description="rules, teacher, or a .jsonl or .parquet file with prompt and compressed")
    teacher: LanguageConfig | None = Field(None, description="pairs teacher: the model that is asked to shorten")
    learning: FineTuningConfig = FineTuningConfig()
    continued: NonNegative = Field(
        0, description="more updates from there on, measured beside as continued_sft: what the same compute would bring"
    )
    workers: Positive = Field(1, description="Ray Train workers that share each batch; what is learned stays the same")
    cpus: float = Field(1.0, ge=0, description="Ray CPUs of a worker and, rounded up, its torch threads")
    gpus: float = Field(0.0, ge=0, description="Ray GPUs of a worker")


class SolverConfig(EvaluatorConfig):
    """The frozen model that must still solve a rewritten prompt, as one actor that all runners ask."""

    model: str = Field(BUILTIN, description="builtin:llama (trained here on solutions), a folder, an adapter, a hub id")
    chunk: Positive = Field(32, description="rows in one forward; fixed, so that results never depend on callers")
    scratch: ScratchConfig = Field(ScratchConfig(), description="builtin:llama")
    problems: Positive = Field(12_000, description="builtin:llama: generated problems that it learns from")
    learning: FineTuningConfig = Field(FineTuningConfig(), description="builtin:llama")
    gate: Fraction = Field(0.5, description="least share of the validation problems that it solves as they are; 0: any")
    threads: Positive = Field(1, description="torch threads of the actor")
    cpus: float = Field(0.5, ge=0, description="Ray CPUs of the actor and, rounded up, torch threads of its training")
    gpus: float = Field(0.0, ge=0, description="Ray GPUs of the actor; may be a fraction")
    timeout: float = Field(120.0, gt=0, description="seconds before a call counts as failed")


class RewritingEvaluateConfig(Section):
    rates: tuple[Rate, ...] = Field((0.7, 0.6, 0.5), min_length=1, description="tokens out / tokens in, asked for")
    methods: tuple[str, ...] = Field(
        ("identity", "random", "stopwords", "self_information", "zero_shot", "sft_only"),
        description="beside the trained policy; those that keep words do so at its achieved rate",
    )
    masking: str | None = Field(None, description="a masking run or artifact, measured as the method masking")
    texts: Positive | None = Field(None, description="held-out problems used; none takes all")
    seeds: Positive = Field(3, description="seeds of the stochastic baselines")
    bootstrap: Positive = Field(2000, ge=100, description="bootstrap draws")
    samples: Positive = Field(8, description="random rewrites shown in the report")


class RewritingRun(Run):
    """A whole run of prompt rewriting. `python -m rlcompress config show FILE` prints the merged result."""

    data: DataConfig = DataConfig(source="builtin:problems", long="drop", max_tokens=200)
    env: RewritingEnvConfig = RewritingEnvConfig()
    policy: RewriterConfig = RewriterConfig()
    sft: SftConfig = SftConfig()
    evaluator: SolverConfig = SolverConfig(calculator=CALCULATOR)
    reward: RewriteRewardConfig = RewriteRewardConfig()
    # grpo pays less for a token the longer its text is, so texts grow until they are cut off and teach nothing
    learner: LearnerConfig = LearnerConfig(algorithm="dr_grpo", lr=1e-4, lr_end=1e-5)
    evaluate: RewritingEvaluateConfig = RewritingEvaluateConfig()

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if self.learner.algorithm not in GROUPED:
            raise ValueError(
                f"learner.algorithm {self.learner.algorithm} is not for rewriting: use {', '.join(GROUPED)}"
            )
        if self.learner.average:
            raise ValueError("learner.average is of masking policies alone: set it to 0")
        if (self.sft.pairs == "teacher") != (self.sft.teacher is not None):
            raise ValueError("sft.pairs teacher and sft.teacher go together: give both or neither")
        return self
