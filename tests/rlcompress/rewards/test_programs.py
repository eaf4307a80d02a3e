"""A failing sandbox is masked, never a reward of zero."""

from __future__ import annotations

import numpy as np
import pytest

from rlcompress.errors import UserError
from rlcompress.rewards.programs import FORMS, program_rewards
from tests.rlcompress.coding.verdicts import verdict

VERDICTS = [verdict("passed", "passed"), verdict("passed", "failed"), verdict("sandbox_error"), verdict("error")]


@pytest.mark.parametrize(("form", "expected"), [("all", [1, 0, np.nan, 0]), ("share", [1, 0.5, np.nan, 0])])
def test_rewards_and_mask(form: str, expected: list[float]) -> None:
    reward_B, judged_B = program_rewards(VERDICTS, form)
    np.testing.assert_array_equal(reward_B, expected)
    np.testing.assert_array_equal(judged_B, [True, True, False, True])
    assert (reward_B.dtype, judged_B.dtype) == (np.float64, np.bool_)


def test_any_arithmetic_that_forgets_the_mask_shows() -> None:
    assert all(np.isnan(program_rewards(VERDICTS, form)[0].mean()) for form in FORMS)


def test_none_at_all_and_an_unknown_form() -> None:
    reward_B, judged_B = program_rewards([])
    assert (reward_B.shape, judged_B.shape) == ((0,), (0,))
    with pytest.raises(UserError, match="'half': use one of all, share"):
        program_rewards([], "half")
