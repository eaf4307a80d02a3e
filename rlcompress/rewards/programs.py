"""What a program earns by its tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rlcompress.coding.outcomes import soft_pass
from rlcompress.errors import UserError
from rlcompress.sandbox import CodeStatus, Verdict
from rlcompress.words import BoolArray, FloatArray

FORMS: dict[str, Callable[[Verdict], float]] = {
    "all": lambda verdict: float(verdict.passed),  # 1 where every test passed
    "share": soft_pass,  # of the tests
}


def program_rewards(verdicts: Sequence[Verdict], form: str = "all") -> tuple[FloatArray, BoolArray]:
    """(reward_B in [0, 1], judged_B) of verdicts on hidden tests.

    Where the sandbox failed, judged is False and the reward NaN: the sample leaves the loss and is counted. A program
    that fails, raises or takes too long earns what its tests say.

    Raises:
        UserError: an unknown form.
    """
    if form not in FORMS:
        raise UserError(f"reward form {form!r}: use one of {', '.join(FORMS)}")
    judged_B = np.array([verdict.status is not CodeStatus.SANDBOX_ERROR for verdict in verdicts], dtype=np.bool_)
    earned = [FORMS[form](v) if known else np.nan for v, known in zip(verdicts, judged_B.tolist(), strict=True)]
    return np.array(earned, dtype=np.float64), judged_B
