"""Keys of the judges: how each is trained and served, and whether one goes on learning during a run."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rlcompress.config.section import Fraction, NonNegative, Positive, Section


class JudgeConfig(Section):
    model: str = Field(
        "builtin:attention",
        description="builtin:attention, builtin:convolution, a folder or a hub id; none: nobody is asked",
    )
    kind: Literal["masked", "causal"] = "masked"
    seed: int = 0
    finetune: bool = Field(False, description="train a folder or hub model too; built-in models always are")
    steps: Positive = Field(1500, description="training steps of a built-in or fine-tuned model")
    batch: Positive = Field(16, description="texts in a training step")
    micro_batch: Positive | None = Field(
        None, description="texts in one forward and backward of training; memory only; halved when memory runs out"
    )
    learning_rate: float = Field(3.5e-3, gt=0, description="for built-in models; hub models want about 5e-5")
    schedule: Literal["power", "linear", "cosine", "constant"] = Field("power", description="fall of the learning rate")
    warmup: NonNegative = Field(60, description="steps in which the learning rate rises")
    mask_ratio: tuple[Fraction, Fraction] | None = Field(
        None, description="least and greatest dropped share of the units; none: small gaps first, then 0.2 to 0.8"
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="of the forward in training; weights stay float32; float16 needs gpus"
    )
    save_every: Positive = Field(250, description="steps between states that a killed training goes on from")
    width: Positive = 128
    layers: Positive = 2
    window: Positive = Field(128, description="tokens judged together; longer texts are cut into windows")
    chunk: Positive = Field(32, description="rows in one forward pass; fixed, so that results never depend on callers")
    threads: Positive = Field(1, description="torch threads of the actor that serves it")
    cpus: float = Field(1.0, ge=0, description="Ray CPUs of the actor and, rounded up, torch threads of its training")
    gpus: float = Field(0.0, ge=0, description="Ray GPUs of the actor and of its training; may be a fraction")
    timeout: float = Field(120.0, gt=0, description="seconds before a call counts as failed")

    @model_validator(mode="after")
    def _trains(self) -> Self:
        if self.mask_ratio is not None and not 0 < self.mask_ratio[1] >= self.mask_ratio[0]:
            raise ValueError(
                f"judges: mask_ratio is {list(self.mask_ratio)}: give the least dropped share first, and drop something"
            )
        if self.precision == "float16" and not self.gpus:
            raise ValueError(
                "judges: precision float16 needs a CUDA device: set gpus above 0, or precision to bfloat16"
            )
        return self

    @property
    def silent(self) -> bool:
        """Whether there is no such judge: what is rewarded or measured is seen in the text alone."""
        return self.model == "none"


class ReaderJudgeConfig(Section):
    """Answers questions from compressed texts; started only where a term of the reward needs it."""

    model: str = Field("builtin:overlap", description="builtin:overlap, builtin:causal, a folder or a hub id")
    seed: int = Field(0, description="builtin:causal: of its weights and its training")
    steps: Positive = Field(1500, description="builtin:causal: training steps on the questions of the training split")
    batch: Positive = Field(8, description="builtin:causal: rows in a training step")
    learning_rate: float = Field(2e-3, gt=0, description="builtin:causal")
    width: Positive = Field(128, multiple_of=32, description="builtin:causal")
    layers: Positive = Field(2, description="builtin:causal")
    window: Positive = Field(512, description="tokens of text, question and answer; a longer prompt gets no verdict")
    answer_tokens: Positive = Field(16, description="most tokens that the reader answers with")
    chunk: Positive = Field(16, description="rows in one forward pass; fixed, so that results never depend on callers")
    gate: Fraction = Field(
        0.05, description="least share of an answer's bits that the right text saves against another's; 0: no gate"
    )
    threads: Positive = Field(1, description="torch threads of the actor that serves it")
    cpus: float = Field(0.5, ge=0, description="Ray CPUs of the actor and, rounded up, torch threads of its training")
    gpus: float = Field(0.0, ge=0, description="Ray GPUs of the actor and of its training; may be a fraction")
    timeout: float = Field(120.0, gt=0, description="seconds before a call counts as failed")


class JudgesConfig(Section):
    """`reward` gives the training signal; `heldout` is never in a reward and differs in seed and architecture."""

    reward: JudgeConfig = JudgeConfig()
    reader: ReaderJudgeConfig = ReaderJudgeConfig()
    heldout: JudgeConfig = JudgeConfig(model="builtin:convolution", seed=1)
    gate: Fraction = Field(
        0.10, description="least share of bits that the right kept text saves against another document's; 0: no gate"
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        same = (self.reward.model, self.reward.seed) == (self.heldout.model, self.heldout.seed)
        if same and not self.reward.silent:
            raise ValueError("judges.heldout must differ from judges.reward: change its model or its seed")
        return self


class CotrainConfig(Section):
    """The reward judge goes on learning at the end of an iteration, on the masks that the policy has just drawn."""

    steps: NonNegative = Field(0, description="updates of the live judge at one barrier; 0 leaves it frozen")
    every: Positive = Field(1, description="iterations between barriers")
    batch: int = Field(16, ge=2, description="texts in an update")
    learning_rate: float = Field(3e-4, gt=0)
    random_share: float = Field(
        0.5, ge=0.5, le=1.0, description="least share of random masks in an update: policy and judge make up no code"
    )
    timeout: float = Field(300.0, gt=0, description="seconds for the updates of one barrier; asked again once")
