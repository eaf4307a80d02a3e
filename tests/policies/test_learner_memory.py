"""Out of memory in the middle of an update: all is done again in smaller parts, and nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from policies.grpo import GRPO
from policies.learner import DECISIONS
from rlcompress.errors import OutOfMemory
from tests.policies.conftest import Build, same_weights
from tests.policies.test_grpo_updates import gradients

pytestmark = pytest.mark.ray

SUMS = ("loss", "surrogate", "entropy", "ratio_deviation", "kl_old", "clip_fraction", "gradient_norm")
Fault = Callable[[int, int], bool]  # (call, prompts) -> does memory run out?


def exhausted() -> None:
    """The real error of this machine's allocator."""
    torch.empty(2**58, dtype=torch.uint8)


def inject(learner: Any, fault: Fault, fail: Callable[[], None] = exhausted) -> list[int]:
    """Let `fail` happen in the learner's loss where `fault` says so; the sizes of all micro-batches that were tried."""
    sizes: list[int] = []
    sound = learner.compute_loss_for_module

    def faulty(**arguments: Any) -> Any:
        sizes.append(len(arguments["batch"][DECISIONS]))
        loss = sound(**arguments)  # its metrics are counted before memory runs out
        if fault(len(sizes), sizes[-1]):
            fail()
        return loss

    learner.compute_loss_for_module = faulty
    return sizes


def metrics(algorithm: GRPO, *names: str) -> list[float]:
    return [algorithm.last_metrics[f"learner/{name}"] for name in names]


@pytest.mark.parametrize(
    ("micro_batch", "fault", "tried", "retries"),
    [
        (None, lambda call, prompts: call == 1, [8, 4, 4], 1),
        (None, lambda call, prompts: prompts > 2, [8, 4, 2, 2, 2, 2], 2),
        (3, lambda call, prompts: call == 3, [3, 3, 2, *[1] * 8], 1),  # in the last, uneven part, after two backwards
        (5, lambda call, prompts: call == 2, [5, 3, 2, 2, 2, 2], 1),
    ],
)
def test_an_update_that_runs_out_of_memory_is_the_update_that_does_not(
    build: Build, micro_batch: int | None, fault: Fault, tried: list[int], retries: int
) -> None:
    sound, short = build(runners=0), build(runners=0, micro_batch=micro_batch)
    sizes = inject(short.learner_group._learner, fault)
    sound.train(), short.train()
    assert sizes == tried
    assert same_weights(gradients(sound), gradients(short), within=1e-6)
    assert same_weights(sound.weights(), short.weights(), within=1e-6)
    assert metrics(short, *SUMS) == pytest.approx(metrics(sound, *SUMS), rel=1e-5, abs=1e-6)
    assert metrics(sound, "micro_batch", "oom_retries") == [8, 0]
    assert metrics(short, "micro_batch", "oom_retries") == [max(tried[-2:]), retries]


def test_steps_of_several_passes_are_lost_as_little(build: Build) -> None:
    """PPO: the same learner, a row a step, values beside scores."""
    settings = {"runners": 0, "algorithm": "ppo", "minibatch": 1000, "epochs": 1, "prompts_per_step": 4}
    sound, short = build(**settings), build(**settings)
    sizes = inject(short.learner_group._learner, lambda call, rows: call == 1)
    sound.train(), short.train()
    whole = sizes[0]
    assert sizes == [whole, whole // 2, whole // 2]
    assert same_weights(gradients(sound), gradients(short), within=1e-6)
    assert same_weights(sound.weights(), short.weights(), within=1e-6)
    shares = ("loss", "surrogate", "value_loss", "entropy", "gradient_norm")
    assert metrics(short, *shares) == pytest.approx(metrics(sound, *shares), rel=1e-5, abs=1e-6)


def test_the_smaller_micro_batch_is_remembered_and_survives_a_checkpoint(build: Build, tmp_path: Any) -> None:
    short, other = build(runners=0), build(runners=0)
    sizes = inject(short.learner_group._learner, lambda call, prompts: prompts > 4)
    short.train()
    sizes.clear()
    short.train()
    assert sizes == [4, 4]
    assert metrics(short, "micro_batch", "oom_retries") == [4, 1]
    short.save_to_path(str(tmp_path / "saved"))
    other.restore_from_path(str(tmp_path / "saved"))
    sizes = inject(other.learner_group._learner, lambda call, prompts: False)
    other.train()
    assert sizes == [4, 4]
    assert metrics(other, "micro_batch", "oom_retries") == [4, 1]


def test_one_prompt_that_does_not_fit_ends_the_run_with_the_mends(build: Build) -> None:
    algorithm = build(runners=0)
    before = algorithm.weights()
    sizes = inject(algorithm.learner_group._learner, lambda call, prompts: True)
    with pytest.raises(OutOfMemory) as caught:
        algorithm.train()
    for key in ("policy.window", "learner.precision", "learner.gradient_checkpointing", "learner.micro_batch"):
        assert key in str(caught.value)
    assert sizes == [8, 4, 2, 1]
    assert same_weights(before, algorithm.weights())


def test_another_error_is_no_lack_of_memory(build: Build) -> None:
    algorithm = build(runners=0)

    def mistake() -> None:
        torch.ones(2, 3) @ torch.ones(2, 3)

    sizes = inject(algorithm.learner_group._learner, lambda call, prompts: True, mistake)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        algorithm.train()
    assert sizes == [8]


def short_of_memory_on_rank_0(learner: Any) -> None:
    if torch.distributed.get_rank() == 0:
        inject(learner, lambda call, prompts: call == 1)


def broken_on_rank_0(learner: Any) -> None:
    if torch.distributed.get_rank() == 0:
        inject(learner, lambda call, prompts: True, lambda: torch.ones(2, 3) @ torch.ones(2, 3))


@pytest.mark.slow
def test_learners_retry_together(build: Build) -> None:
    """Memory runs out in one of two learners: both start again, and the step is that of one learner."""
    one, two = build(runners=0), build(runners=0, learners=2)
    two.learner_group.foreach_learner(short_of_memory_on_rank_0)
    one.train(), two.train()
    assert metrics(two, *SUMS) == pytest.approx(metrics(one, *SUMS), rel=1e-4, abs=1e-5)
    assert same_weights(one.weights(), two.weights(), within=1e-5)
    assert metrics(two, "micro_batch", "oom_retries") == [2, 1]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_learner_that_fails_does_not_leave_the_other_waiting(build: Build) -> None:
    two = build(runners=0, learners=2)
    two.learner_group.foreach_learner(broken_on_rank_0)
    with pytest.raises(RuntimeError, match=r"cannot be multiplied|another learner failed"):
        two.train()
