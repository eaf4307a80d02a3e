"""A judge that says nothing: for rewards and measurements that look at the text alone, such as answers that stay."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlcompress.words import Judgement, JudgeRequest

NONE = "none"  # its name in a configuration


class SilentJudge:
    """Every verdict is OK and has no score; a term that reads one gets NaN, which is a failure by its own name."""

    name = version = NONE
    timeout = math.inf

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        return [Judgement(math.nan, version=NONE) for _ in requests]

    def stats(self) -> dict[str, float]:
        """As of a judge that was never asked."""
        return dict.fromkeys(("calls", "asked", "computed", "seconds", "pid", "restarts"), 0.0)
