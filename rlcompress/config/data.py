"""Keys of the data: where texts come from, how they are split, and whose tokens count them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rlcompress.config.section import Fraction, NonNegative, Positive, Section


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
