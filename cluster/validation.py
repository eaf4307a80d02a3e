"""Validation: how the served policy does on held-out validation text, without ever touching a weight."""

from __future__ import annotations

import math

import numpy as np

from cluster.services import RemoteJudge
from cluster.stages import Prepared
from cluster.watching import Watch
from rlcompress.config.running import COST, VALIDATION
from rlcompress.config.schema import RunConfig
from rlcompress.errors import JudgeUnavailable
from rlcompress.judges.silent import SilentJudge
from rlcompress.learning.schedules import scheduled
from rlcompress.measuring.metrics import distortion_bits
from rlcompress.models.scorer import TextScorer
from rlcompress.passes import served_priorities
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.resuming import REWARD, Validated
from rlcompress.rewards.importance import count_words
from rlcompress.rewards.reward import Reward
from rlcompress.rewards.terms import RewardInput
from rlcompress.selection import select, threshold
from rlcompress.words import Compression, Example, FloatArray, Judgement, JudgeRequest, Status, Units

_TOLERANCE = 0.01  # of a kept fraction around its target


class Validation:
    """Mean distortion in bits a token on the validation texts at the training rates, by the reward judge.

    Where the reward is more than distortion, or the policy chooses its length, what decides is minus the mean reward of
    the served policy instead. What the held-out judge says (`watch`) decides nothing: what chooses a checkpoint may not
    be what the checkpoint is measured by. A live judge, which is another one every few steps, decides nothing either:
    it is logged beside.
    """

    def __init__(
        self,
        run: RunDirectory,
        prepared: Prepared,
        judge: RemoteJudge | SilentJudge,
        until: int | None = None,
        live: RemoteJudge | None = None,
        reader: RemoteJudge | None = None,
    ) -> None:
        """`until` is the step that a resumed run continues from: what was measured before it counts."""
        self.config = run.config
        self.judge, self.live = judge, live
        examples = prepared.examples("validation")[: self.config.checkpoint.validation_texts]
        self.examples, self.units = examples, prepared.units(examples)
        self.watch = Watch(run, examples, until)
        self.validated = Validated(run, until)
        self.free_length, self.paid = None, None
        if self.config.env.sampler == "bernoulli":
            self.free_length = FreeLength(self.config, prepared, self.examples, self.units, judge, reader)
        elif run.config.decides == COST:
            self.paid = Paid(self.config, prepared, self.examples, judge, price=1.0, reader=reader)

    def measure(self, step: int, scorer: TextScorer) -> dict[str, float]:
        """Metrics of the policy after `step`."""
        questions = [example.question for example in self.examples]
        bits, rewards, beside, masks = {}, {}, {}, []
        for rate in self.config.env.rates:
            priorities = served_priorities(scorer, self.config.env.steps, self.units, questions, rate)
            kept = [select(u, p, rate) for u, p in zip(self.units, priorities, strict=True)]
            masks.append(kept)
            requests = [JudgeRequest.of(c, e) for c, e in zip(kept, self.examples, strict=True)]
            if not isinstance(self.judge, SilentJudge):
                bits[f"{VALIDATION}@{rate:g}"] = _mean_bits(self.judge, requests)
            if self.paid is not None:
                rewards[f"{REWARD}@{rate:g}"] = float(np.mean(self.paid.rewards(kept)[0]))
            if self.live is not None:
                beside[f"cotrain/validation_bits@{rate:g}"] = _mean_bits(self.live, requests)
        metrics = {**bits, **rewards, **beside, **self.watch.measure(masks)}
        if bits:
            metrics[VALIDATION] = float(np.mean(list(bits.values())))
        if rewards:
            metrics[COST] = -float(np.mean(list(rewards.values())))
        if self.free_length is not None:
            metrics.update(self.free_length.measure(scorer.scores(self.units, questions)))
        self.validated.note(step, metrics)
        return metrics


class Paid:
    """What the run's own reward pays on the validation texts, at one price of their tokens."""

    def __init__(
        self,
        config: RunConfig,
        prepared: Prepared,
        examples: list[Example],
        judge: RemoteJudge | SilentJudge,
        price: float,
        reader: RemoteJudge | None = None,
    ) -> None:
        self.examples, self.judge, self.price, self.reader = examples, judge, price, reader
        rare = config.reward.importance == "rarity"
        self.reward = Reward(config.reward, count_words(e.text for e in prepared.examples("train")) if rare else None)

    def rewards(self, kept: list[Compression]) -> tuple[list[float], list[Judgement]]:
        """Rewards of those compressions, one a text, that have one; and the verdict on each.

        Raises:
            JudgeUnavailable: there is not one reward.
        """
        requests = [JudgeRequest.of(c, e) for c, e in zip(kept, self.examples, strict=True)]
        verdicts = self.judge.judge([*requests, *(request.emptied() for request in requests)])
        read = self._read(requests)
        items = [
            RewardInput(e, c, verdict, empty, self.reward.importance(c.units), None, self.price, *pair)
            for e, c, verdict, empty, pair in zip(
                self.examples, kept, verdicts[: len(kept)], verdicts[len(kept) :], read, strict=True
            )
        ]
        paid = [found.total for found in map(self.reward.score, items) if found.status is Status.OK]
        if not paid:
            raise JudgeUnavailable(f"judge {self.judge.name!r} gave no verdict on the validation texts")
        return paid, verdicts[: len(kept)]

    def _read(self, requests: list[JudgeRequest]) -> list[tuple[Judgement | None, Judgement | None]]:
        """The reader's verdicts on the compressions and on their originals, where a term asks for them."""
        if self.reader is None:
            return [(None, None)] * len(requests)
        read = self.reader.judge([*requests, *(request.whole() for request in requests)])
        return list(zip(read[: len(requests)], read[len(requests) :], strict=True))


class FreeLength:
    """A policy that chooses its own length, as it is served without a rate: p >= 1/2 stays.

    What makes its checkpoint the best is the least cost. Without a target that is minus the mean reward, at the price
    where the schedule ends. With one it is minus what is kept of the information (the reward at price 0), plus 1 for
    each `_TOLERANCE` of kept fraction by which the target is missed by more than that: first the length, then the rest.
    """

    def __init__(
        self,
        config: RunConfig,
        prepared: Prepared,
        examples: list[Example],
        units: list[Units],
        judge: RemoteJudge | SilentJudge,
        reader: RemoteJudge | None = None,
    ) -> None:
        self.target, self.units = config.reward.target_rate, units
        price = scheduled(config.reward.beta, 1.0) if self.target is None else 0.0
        self.paid = Paid(config, prepared, examples, judge, price, reader)

    def measure(self, scores: list[FloatArray]) -> dict[str, float]:
        kept = [threshold(u, s) for u, s in zip(self.units, scores, strict=True)]
        paid, verdicts = self.paid.rewards(kept)
        rate = sum(c.kept_tokens for c in kept) / max(1, sum(u.total_cost for u in self.units))
        missed = 0.0 if self.target is None else max(0.0, abs(rate - self.target) - _TOLERANCE) / _TOLERANCE
        metrics = {COST: missed - float(np.mean(paid)), "validation/rate_served": rate}
        bits = [distortion_bits(v) for v in verdicts if v.status is Status.OK and math.isfinite(v.score)]
        return {**metrics, "validation/distortion_bits_served": float(np.mean(bits))} if bits else metrics


def _mean_bits(judge: RemoteJudge, requests: list[JudgeRequest]) -> float:
    verdicts = [v for v in judge.judge(requests) if v.status is Status.OK]
    if not verdicts:
        raise JudgeUnavailable(f"judge {judge.name!r} gave no verdict on the validation texts")
    return float(np.mean([distortion_bits(v) for v in verdicts]))
