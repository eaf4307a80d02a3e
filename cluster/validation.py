"""Validation: how the served policy does on held-out validation text, without ever touching a weight."""

from __future__ import annotations

import numpy as np

from cluster.services import RemoteJudge
from cluster.stages import Prepared
from rlcompress.metrics import distortion_bits
from rlcompress.models.scorer import TextScorer
from rlcompress.runs import RunDirectory
from rlcompress.selection import select
from rlcompress.words import JudgeRequest, Status


class Validation:
    """Mean distortion in bits a token on the validation texts at the training rates, by the reward judge.

    The held-out judge stays out of it: what chooses a checkpoint may not be what the checkpoint is measured by.
    """

    def __init__(self, run: RunDirectory, prepared: Prepared, judge: RemoteJudge) -> None:
        self.config = run.config
        self.judge = judge
        examples = prepared.examples("validation")[: self.config.checkpoint.validation_texts]
        self.examples, self.units = examples, prepared.units(examples)
        self.best = float("inf")
        self.improved = False
        self.without_gain = 0

    def measure(self, scorer: TextScorer) -> dict[str, float]:
        scores = scorer.scores(self.units, [example.question for example in self.examples])
        metrics = {}
        for rate in self.config.env.rates:
            requests = [
                JudgeRequest.of(select(u, s, rate), e) for u, s, e in zip(self.units, scores, self.examples, strict=True)
            ]
            verdicts = [v for v in self.judge.judge(requests) if v.status is Status.OK]
            metrics[f"validation/distortion_bits@{rate:g}"] = float(np.mean([distortion_bits(v) for v in verdicts]))
        mean = float(np.mean(list(metrics.values())))
        self.improved = mean < self.best
        self.without_gain = 0 if self.improved else self.without_gain + 1
        self.best = min(self.best, mean)
        return {**metrics, "validation/distortion_bits": mean}

    def patience_is_over(self) -> bool:
        patience = self.config.checkpoint.patience
        return patience is not None and self.without_gain >= patience
