"""Keys of an evaluation: what is measured, of which methods, on which rows."""

from __future__ import annotations

import difflib
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from rlcompress.config.section import NonNegative, Positive, Rate, Section
from rlcompress.measuring.metrics import METRICS


def _known(name: str) -> str:
    if name not in METRICS:
        near = difflib.get_close_matches(name, METRICS, n=1)
        mend = f"did you mean {near[0]}?" if near else f"choose from {', '.join(METRICS)}"
        raise PydanticCustomError("unknown_metric", "There is no such metric: {mend}", {"mend": mend})
    return name


MetricName = Annotated[str, AfterValidator(_known)]
SliceName = Annotated[str, StringConstraints(pattern=r"^(length|question_kind|group_prefix|field:.+|contains:.+)$")]


class EvaluateConfig(Section):
    rates: tuple[Rate, ...] = Field(
        (0.65, 0.5, 0.33), min_length=1, description="kept fractions; three or more make a curve"
    )
    methods: tuple[str, ...] = (
        "identity",
        "random",
        "frequent",
        "rare",
        "short",
        "long",
        "head",
        "tail",
        "head_tail",
        "stride",
        "self_information",
        "adaptive_add",
        "prior",
        "warm_start",
    )
    metrics: tuple[MetricName, ...] | None = Field(
        None,
        min_length=1,
        description="each is computed, or the configuration is refused; none: bits, guesses, rates and answers, where "
        "there are any",
    )
    reader: str | None = Field(
        None,
        description="who answers for reader_exact and reader_f1: a reader's or model's folder, a hub id or "
        "builtin:overlap; none: that of the reward",
    )
    texts: Positive | None = Field(200, description="held-out texts used; none takes all")
    seeds: Positive = Field(5, description="seeds of the stochastic baselines")
    bootstrap: Positive = Field(2000, ge=100, description="bootstrap draws")
    adapt_steps: NonNegative = Field(
        0, description="steps of judges.heldout, adapted to each method's own masks; 0: none"
    )
    samples: Positive = Field(8, description="random texts shown in the report")
    slices: tuple[SliceName, ...] = Field(
        ("length", "question_kind"),
        description="parts measured apart: length, question_kind, group_prefix, field:NAME, contains:STRING",
    )
