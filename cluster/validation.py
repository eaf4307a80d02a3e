"""Validation: how the served policy does on held-out validation text, without ever touching a weight."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cluster.services import RemoteJudge
from cluster.stages import Prepared
from rlcompress.errors import JudgeUnavailable
from rlcompress.metrics import distortion_bits
from rlcompress.models.scorer import TextScorer
from rlcompress.runs import RunDirectory
from rlcompress.selection import select
from rlcompress.words import JudgeRequest, Status

MEAN = "validation/distortion_bits"


class Validation:
    """Mean distortion in bits a token on the validation texts at the training rates, by the reward judge.

    The held-out judge stays out of it: what chooses a checkpoint may not be what the checkpoint is measured by.
    """

    def __init__(self, run: RunDirectory, prepared: Prepared, judge: RemoteJudge, until: int = 0) -> None:
        """`until` is the iteration that a resumed run continues from: what was measured before it counts."""
        self.config = run.config
        self.judge = judge
        examples = prepared.examples("validation")[: self.config.checkpoint.validation_texts]
        self.examples, self.units = examples, prepared.units(examples)
        self.best = float("inf")
        self.improved = False
        self.without_gain = 0
        for row in logged(run.metrics, until):
            if MEAN in row:
                self._judge(row[MEAN])

    def measure(self, scorer: TextScorer) -> dict[str, float]:
        scores = scorer.scores(self.units, [example.question for example in self.examples])
        metrics = {}
        for rate in self.config.env.rates:
            requests = [
                JudgeRequest.of(select(u, s, rate), e)
                for u, s, e in zip(self.units, scores, self.examples, strict=True)
            ]
            verdicts = [v for v in self.judge.judge(requests) if v.status is Status.OK]
            if not verdicts:
                raise JudgeUnavailable(f"judge {self.judge.name!r} gave no verdict on the validation texts")
            metrics[f"{MEAN}@{rate:g}"] = float(np.mean([distortion_bits(v) for v in verdicts]))
        mean = float(np.mean(list(metrics.values())))
        self._judge(mean)
        return {**metrics, MEAN: mean}

    def _judge(self, mean: float) -> None:
        self.improved = mean < self.best
        self.without_gain = 0 if self.improved else self.without_gain + 1
        self.best = min(self.best, mean)

    def patience_is_over(self) -> bool:
        patience = self.config.checkpoint.patience
        return patience is not None and self.without_gain >= patience


def logged(metrics: Path, until: int) -> Iterator[dict[str, float]]:
    """The logged lines up to iteration `until`, oldest first."""
    for line in metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() and until else ():
        row = json.loads(line)
        if row["step"] <= until:
            yield row
