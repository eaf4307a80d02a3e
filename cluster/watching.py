"""What a run measures only to be warned: the served policy by what is in no reward, and the alarm over both trends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlcompress.config.schema import JUDGED, RunConfig
from rlcompress.judges.build import load_judge
from rlcompress.learning.alarms import HELDOUT, RETENTION, REWARD, trends
from rlcompress.measuring.metrics import answer_retention, distortion_bits
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.lines import step_rows
from rlcompress.words import Compression, Example, Judge, JudgeRequest, Status


class Watch:
    """Held-out figures of the masks that a validation made, and the alarm; it chooses no checkpoint.

    Where the reward pays for bits, these are bits by the held-out judge; where it pays for answers alone, the share of
    the answers that survive. A policy that learns to keep answers may well lose bits, and nobody has cheated.
    """

    def __init__(self, run: RunDirectory, examples: list[Example], until: int | None) -> None:
        """`until` is the step that a resumed run continues from: the rows before it count."""
        self.examples = examples
        self.judge: Judge | None = load_judge(run.heldout_judge) if _pays_for_bits(run.config) else None
        self.rows: list[dict[str, Any]] = [] if until is None else step_rows(run.metrics, until)
        self.raised = False

    def measure(self, kept: Sequence[list[Compression]]) -> dict[str, float]:
        """Held-out figures of the masks at each rate, as a mean over rates."""
        found: dict[str, list[float]] = {HELDOUT: [], RETENTION: []}
        for compressions in kept:
            pairs = list(zip(compressions, self.examples, strict=True))
            if self.judge is not None:
                verdicts = self.judge.judge([JudgeRequest.of(c, e) for c, e in pairs])
                found[HELDOUT] += [distortion_bits(v) for v in verdicts if v.status is Status.OK and v.tokens]
            found[RETENTION] += [float(answer_retention(e.answer, c.text)) for c, e in pairs if e.answer]
        return {name: float(np.mean(values)) for name, values in found.items() if values}

    def record(self, step: int, metrics: dict[str, float], validated: bool) -> dict[str, float]:
        """Remember an iteration; after a validation the trends so far, and one line where the alarm is new."""
        names = (REWARD, HELDOUT, RETENTION)
        self.rows.append({"step": step, **{name: metrics[name] for name in names if name in metrics}})
        found = trends(self.rows) if validated else None
        if found is None:
            return {}
        if found.raised and not self.raised:
            print(f"alarm      {found}", flush=True)
        self.raised = found.raised
        return found.metrics()


def _pays_for_bits(config: RunConfig) -> bool:
    """Whether the reward should show in the held-out judge's bits."""
    paid = any(config.reward.terms.get(name, 0.0) for name in JUDGED)
    return paid and not config.judges.heldout.silent
