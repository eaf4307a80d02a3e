"""Advantages over the steps of an episode, and the critic's loss, against slow twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.learning.advantages import beyond_others, generalised, normalised
from rlcompress.learning.losses import value_loss

SHARES = st.floats(0.0, 1.0)


def drawn(seed: int, B: int, T: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(B, T)), rng.normal(size=(B, T))


def twin(reward_T: np.ndarray, value_T: np.ndarray, gamma: float, lam: float) -> list[float]:
    """The defining double sum, for one episode."""
    T = len(reward_T)
    after = [*value_T[1:], 0.0]
    delta = [reward_T[t] + gamma * after[t] - value_T[t] for t in range(T)]
    return [sum((gamma * lam) ** k * delta[t + k] for k in range(T - t)) for t in range(T)]


@given(st.integers(0, 999), st.integers(1, 4), st.integers(1, 6), SHARES, SHARES)
def test_advantages_equal_the_slow_twin(seed: int, B: int, T: int, gamma: float, lam: float) -> None:
    reward_BT, value_BT = drawn(seed, B, T)
    found = generalised(torch.from_numpy(reward_BT), torch.from_numpy(value_BT), gamma=gamma, lam=lam)
    expected = [twin(*rows, gamma, lam) for rows in zip(reward_BT, value_BT, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


def test_without_a_critic_and_discount_an_advantage_is_the_reward_to_come() -> None:
    reward_BT, _ = drawn(1, 3, 4)
    found = generalised(torch.from_numpy(reward_BT), torch.zeros(3, 4, dtype=torch.double), gamma=1.0, lam=1.0)
    np.testing.assert_allclose(found.numpy(), reward_BT[:, ::-1].cumsum(1)[:, ::-1])


def test_a_discount_changes_advantages() -> None:
    reward_BT, value_BT = (torch.from_numpy(x) for x in drawn(2, 3, 4))
    whole, discounted = (generalised(reward_BT, value_BT, gamma=g, lam=0.95) for g in (1.0, 0.9))
    assert (whole - discounted)[:, :-1].abs().min() > 1e-4
    assert torch.equal(whole[:, -1], discounted[:, -1]), "nothing comes after the last step"


@given(st.integers(0, 999), st.integers(1, 12))
def test_normalised_over_the_masked_places_alone(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    values, mask = rng.normal(size=n), rng.random(n) < 0.6
    found = normalised(torch.from_numpy(values), torch.from_numpy(mask)).numpy()
    assert not found[~mask].any()
    if mask.any():
        chosen = values[mask]
        np.testing.assert_allclose(found[mask], (chosen - chosen.mean()) / (chosen.std() + 1e-8), atol=1e-9)


@pytest.mark.parametrize("clip", [None, 0.1])
def test_value_loss_equals_the_slow_twin(clip: float | None) -> None:
    rng = np.random.default_rng(3)
    value, old, target = rng.normal(size=(3, 20))
    expected = 0.0
    for v, v_old, t in zip(value, old, target, strict=True):
        near = v_old + float(np.clip(v - v_old, -0.1, 0.1))
        expected += 0.5 * (max((v - t) ** 2, (near - t) ** 2) if clip else (v - t) ** 2) / 7
    found = value_loss(*(torch.from_numpy(x) for x in (value, old, target)), clip=clip, count=7)
    assert float(found) == pytest.approx(expected, abs=1e-9)


def test_a_value_beyond_the_clip_has_no_gradient_where_it_would_gain() -> None:
    value = torch.tensor([0.5], requires_grad=True)
    value_loss(value, torch.tensor([0.0]), torch.tensor([1.0]), clip=0.1, count=1).backward()
    assert value.grad is not None
    assert value.grad.item() == 0.0


@given(st.integers(0, 999), st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_beyond_others_equals_the_slow_twin(seed: int, groups: list[int]) -> None:
    advantage_BT, _ = drawn(seed, len(groups), 3)
    found = beyond_others(torch.from_numpy(advantage_BT), torch.tensor(groups))
    for b, group in enumerate(groups):
        others = [advantage_BT[i] for i, other in enumerate(groups) if other == group and i != b]
        expected = advantage_BT[b] - (np.mean(others, 0) if others else 0.0)
        np.testing.assert_allclose(found[b].numpy(), expected, atol=1e-12)
