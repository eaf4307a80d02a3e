"""Keys of causal language models that write: how they are loaded, decode, are adapted and fine-tuned."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from rlcompress.config.section import NonNegative, Positive, Section


class LanguageConfig(Section):
    """Which causal language model, and how it lies in memory."""

    model: str = Field(description="a model folder, an adapter's folder or a hub id")
    revision: str | None = Field(None, description="branch, tag or commit of a hub id")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the weights; auto: as they were saved"
    )
    quantise: Literal["none", "8bit", "4bit"] = Field("none", description="frozen weights in fewer bits; CUDA only")
    window: Positive | None = Field(None, description="most tokens of prompt and output; none: what the model reads")
    chunk: Positive = Field(8, description="rows in one forward; fixed, so that results never depend on callers")


class DecodingConfig(Section):
    """How the next token is chosen."""

    max_new_tokens: Positive = Field(128, description="an output that has not ended by then is `truncated`")
    temperature: float = Field(1.0, ge=0, description="0: always the likeliest token")
    top_p: float = Field(1.0, gt=0, le=1, description="sample among the likeliest tokens of this much probability")


class LoraConfig(Section):
    """Low-rank adapters (Hu et al. 2021): W + alpha/rank · B A, with B zero at first."""

    rank: Positive = 16
    alpha: float = Field(32.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] = Field((), description="names of linear layers; empty: all of attention and MLP")
    seed: int = 0


class FineTuningConfig(Section):
    """Supervised learning of completions."""

    steps: Positive = Field(500, description="most updates; validation may end it sooner")
    batch: Positive = Field(16, description="pairs in an update")
    micro_batch: Positive | None = Field(
        None, description="pairs in one forward and backward; memory only; halved when memory runs out"
    )
    learning_rate: float = Field(2e-4, gt=0)
    schedule: Literal["power", "linear", "cosine", "constant"] = Field("cosine", description="fall of the rate")
    warmup: NonNegative = Field(20, description="updates in which the learning rate rises")
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    validate_every: Positive = Field(50, description="updates between validations")
    patience: Positive = Field(3, description="validations in a row without a new best that end it")
    seed: int = 0


class ScratchConfig(Section):
    """A small Llama that begins with random weights, and its tokenizer."""

    width: Positive = Field(128, multiple_of=32)
    layers: Positive = 3
    vocabulary: Positive = Field(768, ge=300, description="most tokens; digits are always tokens of their own")
    window: Positive = Field(512, description="most tokens of prompt and output")
    seed: int = Field(0, description="of the weights")


class RewritingTemplateConfig(Section):
    """What a rewriting policy reads; one text for fine-tuning, reinforcement and serving."""

    text: str = Field(
        "Rewrite in {percent} % of the length. Keep every number and the question.\n{text}\nRewritten:\n",
        description="{text} is the original, {percent} the target rate in percent",
    )
    chat: bool = Field(True, description="through the tokenizer's chat template, where it has one")

    @field_validator("text")
    @classmethod
    def _holds(cls, value: str) -> str:
        return holds("text", value)


class EvaluatorConfig(LanguageConfig):
    """The frozen model that must still solve a rewritten prompt."""

    backend: Literal["transformers", "vllm"] = "transformers"
    decoding: DecodingConfig = DecodingConfig(temperature=0.0, max_new_tokens=256)
    template: str = Field("{text}\n", description="what it reads; {text} is the prompt under evaluation")
    answer: str = Field("{answer}", description="how the gold answer follows; {answer} is the answer")
    chat: bool = Field(True, description="through the tokenizer's chat template, where it has one")
    calculator: str | None = Field(
        None,
        description="package.module:function that says what to insert, e.g. rlcompress.problems.calculator:insertion",
    )
    calculator_after: str = Field("=", min_length=1, description="it is asked where an output ends in this")
    measures: tuple[Literal["said", "logp"], ...] = Field(("said", "logp"), description="what is found out")
    cache: Positive = Field(100_000, description="verdicts at hand; those of originals are never given up")
    seed: int = Field(0, description="of the sampling, where the temperature is not 0")

    @field_validator("template")
    @classmethod
    def _reads(cls, value: str) -> str:
        return holds("text", value)

    @field_validator("answer")
    @classmethod
    def _answers(cls, value: str) -> str:
        return holds("answer", value)


def holds(name: str, template: str) -> str:
    """The template, which must hold {name} once."""
    if template.count(f"{{{name}}}") != 1:
        raise ValueError(f"the template must hold {{{name}}} once")
    return template
