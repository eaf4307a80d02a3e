"""Validation of a rewriting policy: as it is served, on held-out problems, by the run's own reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cluster.problems import Problems
from cluster.solving import evaluator_folder, reader_of
from rlcompress.config.rewriting_run import RewritingRun
from rlcompress.config.running import COST
from rlcompress.errors import JudgeUnavailable
from rlcompress.measuring.rewrites import QUANTITIES, columns, measured
from rlcompress.problems.calculator import plain
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.resuming import REWARD, Validated
from rlcompress.rewards.rewriting import Rewrite
from rlcompress.rewards.rewritten import JudgedRewrite, RewriteReward
from rlcompress.words import PromptJudge, Solve, Status, Unfinished

Rewriter = Callable[[Sequence[str], Sequence[float]], list[str]]


class RewritingValidation:
    """Minus the mean reward of greedy rewrites at the training rates, and what else is measured of them.

    A rewrite that did not end is what serving makes of it: the original, which is paid as such.
    """

    def __init__(
        self,
        run: RunDirectory[RewritingRun],
        problems: Problems,
        evaluator: PromptJudge,
        rewrite: Rewriter,
        until: int | None = None,
    ) -> None:
        """`until` is the step that a resumed run continues from: what was measured before it counts."""
        self.config = run.config
        self.problems = problems.split("validation")[: self.config.checkpoint.validation_texts]
        self.evaluator, self.rewrite = evaluator, rewrite
        self.reader = reader_of(evaluator_folder(run))
        self.reward = RewriteReward.of(self.config.reward)
        self.validated = Validated(run, until)

    def measure(self, step: int) -> dict[str, float]:
        """Metrics of the policy after `step`.

        Raises:
            JudgeUnavailable: the evaluator gave not one verdict.
        """
        found: dict[str, list[float]] = {}
        for rate in self.config.env.rates:
            asked = [rate] * len(self.problems)
            rewrites = self.rewrite([problem.text for problem in self.problems], asked)
            paid = self._rewards(rewrites, asked)
            if not paid:
                raise JudgeUnavailable("the evaluator gave no verdict on the validation problems")
            found.setdefault(f"{REWARD}@{rate:g}", []).append(float(np.mean(paid)))
            rows = measured(self.problems, rewrites, asked, self.evaluator, self.count)
            for name in QUANTITIES:
                numerator_I, denominator_I = columns(rows, name)
                if denominator_I.sum():
                    found.setdefault(f"validation/{name}", []).append(float(numerator_I.sum() / denominator_I.sum()))
        metrics = {name: float(np.mean(values)) for name, values in found.items()}
        metrics[COST] = -float(np.mean([metrics[f"{REWARD}@{rate:g}"] for rate in self.config.env.rates]))
        self.validated.note(step, metrics)
        return metrics

    def count(self, text: str) -> int:
        return len(self.reader.encode(text)[0])

    def _rewards(self, rewrites: Sequence[str], rates: Sequence[float]) -> list[float]:
        """What the run's reward pays for the rewrites that it has a verdict on."""
        texts = [p.text if isinstance(r, Unfinished) else r for p, r in zip(self.problems, rewrites, strict=True)]
        golds = [problem.answer for problem in self.problems]
        asked = [*zip(texts, golds, strict=True), *((p.text, p.answer) for p in self.problems)]
        verdicts = self.evaluator.judge([Solve(text, plain(gold) or str(gold)) for text, gold in asked])
        paid = []
        for i, (problem, text) in enumerate(zip(self.problems, texts, strict=True)):
            item = JudgedRewrite(
                Rewrite.of(problem, text),
                golds[i],
                after=verdicts[i],
                before=verdicts[len(texts) + i],
                tokens_in=self.count(problem.text),
                tokens_out=self.count(text),
                target=rates[i],
                length=self.config.reward.length,
            )
            paid.append(self.reward.score(item))
        return [score.total for score in paid if score.status is Status.OK]
