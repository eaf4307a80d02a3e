"""Validation: how the served policy does on held-out validation text, without ever touching a weight."""

from __future__ import annotations

import numpy as np

from cluster.services import RemoteJudge
from cluster.stages import Prepared
from rlcompress.errors import JudgeUnavailable
from rlcompress.metrics import distortion_bits
from rlcompress.models.scorer import TextScorer
from rlcompress.resuming import VALIDATION, best_first, validations
from rlcompress.runs import RunDirectory
from rlcompress.selection import select
from rlcompress.words import JudgeRequest, Status


class Validation:
    """Mean distortion in bits a token on the validation texts at the training rates, by the reward judge.

    The held-out judge stays out of it: what chooses a checkpoint may not be what the checkpoint is measured by.
    What was measured, by step, says which step is the best and how long ago that was. A live judge, which is another
    one every few steps, decides nothing here: what it measures is logged beside it.
    """

    def __init__(
        self,
        run: RunDirectory,
        prepared: Prepared,
        judge: RemoteJudge,
        until: int | None = None,
        live: RemoteJudge | None = None,
    ) -> None:
        """`until` is the step that a resumed run continues from: what was measured before it counts."""
        self.config = run.config
        self.judge, self.live = judge, live
        examples = prepared.examples("validation")[: self.config.checkpoint.validation_texts]
        self.examples, self.units = examples, prepared.units(examples)
        self.measured = {} if until is None else validations(run.metrics, until)

    def measure(self, step: int, scorer: TextScorer) -> dict[str, float]:
        """Metrics of the policy after `step`."""
        scores = scorer.scores(self.units, [example.question for example in self.examples])
        metrics, beside = {}, {}
        for rate in self.config.env.rates:
            requests = [
                JudgeRequest.of(select(u, s, rate), e)
                for u, s, e in zip(self.units, scores, self.examples, strict=True)
            ]
            metrics[f"{VALIDATION}@{rate:g}"] = _mean_bits(self.judge, requests)
            if self.live is not None:
                beside[f"cotrain/validation_bits@{rate:g}"] = _mean_bits(self.live, requests)
        self.measured[step] = float(np.mean(list(metrics.values())))
        return {**metrics, VALIDATION: self.measured[step], **beside}

    @property
    def best(self) -> int | None:
        """The step that was measured best, None before the first."""
        return next(iter(best_first(self.measured)), None)

    def patience_is_over(self) -> bool:
        patience, best = self.config.checkpoint.patience, self.best
        return patience is not None and best is not None and sum(step > best for step in self.measured) >= patience


def _mean_bits(judge: RemoteJudge, requests: list[JudgeRequest]) -> float:
    verdicts = [v for v in judge.judge(requests) if v.status is Status.OK]
    if not verdicts:
        raise JudgeUnavailable(f"judge {judge.name!r} gave no verdict on the validation texts")
    return float(np.mean([distortion_bits(v) for v in verdicts]))
