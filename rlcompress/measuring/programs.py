"""What is measured of generated programs: pass@k without bias, the share of hidden tests, errors by class, time.

They stand apart from `metrics`, whose figures are ratios of two sums over texts: pass@k is a mean of estimates,
one a problem. A program that the sandbox failed on was not judged: it counts as an attempt and in no figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlcompress.coding.outcomes import ErrorClass, error_counts, soft_pass
from rlcompress.sandbox import CodeStatus, Verdict


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Chance that one of k programs, drawn without replacement from n = `samples` with c = `correct`, is correct.

    1 − C(n−c, k) / C(n, k), as the product 1 − Π_{i=n−c+1..n} (1 − k/i), which neither overflows nor cancels. Unbiased
    for 1 − (1 − p)^k, which putting c/n for p is not (Chen et al., *Evaluating Large Language Models Trained on Code*,
    2021, arXiv:2107.03374, eq. 1).

    Raises:
        ValueError: not 0 ≤ c ≤ n, or not 1 ≤ k ≤ n.
    """
    if not 0 <= correct <= samples:
        raise ValueError(f"pass@k: {correct} correct of {samples} samples")
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples and k of at least 1, got {samples}")
    if samples - correct < k:
        return 1.0
    return 1.0 - float(np.prod(1.0 - k / np.arange(samples - correct + 1, samples + 1)))


@dataclass(frozen=True, slots=True)
class ProblemFigures:
    """The attempts at one problem. `soft` is the mean share of tests passed, `seconds` the mean time to judge one."""

    attempts: int
    judged: int
    correct: int
    soft: float
    seconds: float
    errors: dict[ErrorClass, int]

    def pass_at(self, k: int) -> float:
        """Unbiased pass@k of this problem; NaN where fewer than k attempts were judged."""
        return pass_at_k(self.judged, self.correct, k) if self.judged >= k else float("nan")


def problem_figures(verdicts: Sequence[Verdict]) -> ProblemFigures:
    """Figures of one problem from the verdicts of its attempts, on hidden tests."""
    judged = [verdict for verdict in verdicts if verdict.status is not CodeStatus.SANDBOX_ERROR]
    return ProblemFigures(
        attempts=len(verdicts),
        judged=len(judged),
        correct=sum(verdict.passed for verdict in judged),
        soft=float(np.mean([soft_pass(verdict) for verdict in judged])) if judged else float("nan"),
        seconds=float(np.mean([verdict.seconds for verdict in judged])) if judged else float("nan"),
        errors=error_counts(verdicts),
    )


def corpus_figures(problems: Sequence[ProblemFigures], ks: Sequence[int] = (1,)) -> dict[str, float]:
    """Means over problems: `pass@k`, `soft_pass`, `seconds`; sums: `attempts`, `judged`, `error/CLASS`.

    A mean is over the problems that have the figure, NaN where none has; `problems@k` counts those of pass@k.
    """
    figures: dict[str, float] = {}
    for k in ks:
        estimates = [problem.pass_at(k) for problem in problems if problem.judged >= k]
        figures[f"pass@{k}"] = _mean(estimates)
        figures[f"problems@{k}"] = float(len(estimates))
    known = [problem for problem in problems if problem.judged]
    figures["soft_pass"] = _mean([problem.soft for problem in known])
    figures["seconds"] = _mean([problem.seconds for problem in known])
    figures["attempts"] = float(sum(problem.attempts for problem in problems))
    figures["judged"] = float(sum(problem.judged for problem in problems))
    return figures | {f"error/{kind}": float(sum(p.errors[kind] for p in problems)) for kind in ErrorClass}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
