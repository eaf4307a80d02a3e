"""What one call asks for: the arguments of `compress_prompt`, with the original's names, order and defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Self

from rlcompress.errors import UserError
from rlcompress.llmlingua.arguments import ARGUMENTS, RANK_METHODS, Kind

_CHOICES = {
    "condition_in_question": ("none", "before", "after", "none_condition", "before_condition", "after_condition"),
    "reorder_context": ("original", "sort", "two_stage"),
    "token_to_word": ("mean", "first"),
}
_AT_LEAST_ZERO = (
    "keep_first_sentence",
    "keep_last_sentence",
    "keep_sentence_number",
    "high_priority_bonus",
    "token_budget_ratio",
    "dynamic_context_compression_ratio",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call. `context` is a list by now; -1 stands for "no target", as in the original."""

    context: list[str]
    instruction: str = ""
    question: str = ""
    rate: float = 0.5
    target_token: float = -1
    iterative_size: int = 200
    force_context_ids: Sequence[int] | None = None
    force_context_number: int | None = None
    use_sentence_level_filter: bool = False
    use_context_level_filter: bool = True
    use_token_level_filter: bool = True
    keep_split: bool = False
    keep_first_sentence: int = 0
    keep_last_sentence: int = 0
    keep_sentence_number: int = 0
    high_priority_bonus: int = 100
    context_budget: str = "+100"
    token_budget_ratio: float = 1.4
    condition_in_question: str = "none"
    reorder_context: str = "original"
    dynamic_context_compression_ratio: float = 0.0
    condition_compare: bool = False
    add_instruction: bool = False
    rank_method: str = "llmlingua"
    concate_question: bool = True
    context_segs: Sequence[Sequence[str]] | None = None
    context_segs_rate: Sequence[Sequence[float | None]] | None = None
    context_segs_compress: Sequence[Sequence[bool]] | None = None
    target_context: int = -1
    context_level_rate: float = 1.0
    context_level_target_token: int = -1
    return_word_label: bool = False
    word_sep: str = "\t\t|\t\t"
    label_sep: str = " "
    token_to_word: str = "mean"
    force_tokens: Sequence[str] = ()
    force_reserve_digit: bool = False
    drop_consecutive: bool = False
    chunk_end_tokens: Sequence[str] = (".", "\n")
    strict_preserve_uncompressed: bool = True

    @classmethod
    def of(cls, arguments: Mapping[str, Any], kind: Kind) -> Self:
        """A checked request; a string is one context, and no context is an empty one.

        Raises:
            UserError: an argument that `kind` refuses, or a value that makes no sense.
        """
        context = arguments["context"]
        context = [context] if isinstance(context, str) else list(context) or [""]
        request = cls(**{**arguments, "context": context})
        for field in fields(cls):
            value, treatment = getattr(request, field.name), ARGUMENTS[field.name]
            changed = field.default is not MISSING and _plain(value) != _plain(field.default)
            if kind not in treatment.honoured_by and changed:
                raise UserError(f"{field.name} is not honoured with {kind.value}: {treatment.mend}")
        request._check()
        return request

    @property
    def targeted(self) -> bool:
        """Whether `target_token` decides, not `rate`."""
        return self.target_token >= 0

    @property
    def heard(self) -> str | None:
        """The question as a model reads it."""
        parts = [self.question, self.instruction if self.add_instruction else ""]
        return "\n\n".join(part for part in parts if part) or None

    def _check(self) -> None:
        for i, text in enumerate(self.context):
            if not isinstance(text, str):
                raise UserError(f"context[{i}] is {type(text).__name__}: give a string or a list of strings")
        if not (0.0 < self.rate <= 1.0 or self.targeted):
            raise UserError(f"rate must be above 0 and at most 1, got {self.rate:g}")
        if not 0.0 <= self.context_level_rate <= 1.0:
            raise UserError(f"context_level_rate must lie between 0 and 1, got {self.context_level_rate:g}")
        for name, values in _CHOICES.items():
            if getattr(self, name) not in values:
                raise UserError(f"{name} is {getattr(self, name)!r}: use one of {', '.join(values)}")
        for name in _AT_LEAST_ZERO:
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.rank_method not in RANK_METHODS:
            raise UserError(f"rank_method is {self.rank_method!r}: use one of {', '.join(RANK_METHODS)}")
        if mend := RANK_METHODS[self.rank_method]:
            raise UserError(f"rank_method {self.rank_method!r} is refused: {mend}")
        if self.rank_method in ("longllmlingua", "bm25", "gzip") and not self.question:
            raise UserError(f"rank_method {self.rank_method!r} compares contexts with a question: give question")


def _plain(value: Any) -> Any:
    """Lists and tuples alike; None and an empty list ask for the same."""
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else value
