"""Tempering, the nucleus and the draw against plain Python."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.config.generating import DecodingConfig
from rlcompress.generation.decoding import draw, next_token, sampling_logp

LOGITS = st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=9)


def slow_probabilities(logits: list[float], temperature: float, top_p: float) -> list[float]:
    """One token after the other into the nucleus, until it holds enough."""
    if temperature == 0:
        return [float(v == int(np.argmax(logits))) for v in range(len(logits))]
    raised = [np.exp((x - max(logits)) / temperature) for x in logits]
    p = [x / sum(raised) for x in raised]
    nucleus: list[int] = []
    for v in sorted(range(len(p)), key=lambda v: -p[v]):
        if sum(p[n] for n in nucleus) < top_p - 1e-6:
            nucleus.append(v)
    inside = sum(p[v] for v in nucleus)
    return [p[v] / inside if v in nucleus else 0.0 for v in range(len(p))]


@given(LOGITS, st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.sampled_from([0.31, 0.73, 0.97, 1.0]))
def test_the_distribution_equals_the_slow_twin(logits: list[float], temperature: float, top_p: float) -> None:
    if len(set(logits)) < len(logits):
        logits = [x + 1e-2 * v for v, x in enumerate(logits)]
    found = sampling_logp(torch.tensor([logits]), temperature, top_p).exp()[0]
    expected = slow_probabilities(torch.tensor(logits).tolist(), temperature, top_p)
    cut = [abs(sum(sorted(slow_probabilities(logits, temperature or 1, 1.0))[::-1][:n]) - top_p) for n in range(9)]
    if min(cut) > 1e-4:  # else float noise decides who is in
        assert found.tolist() == pytest.approx(expected, abs=1e-5)
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8).filter(any), st.floats(0, 1, exclude_max=True))
def test_a_draw_is_where_the_cumulative_probability_passes(weights: list[int], uniform: float) -> None:
    p = np.array(weights) / sum(weights)
    token = int(draw(torch.tensor(p).log()[None], torch.tensor([uniform], dtype=torch.float64))[0])
    assert p[token] > 0
    assert p[:token].sum() - 1e-12 <= uniform <= p[: token + 1].sum() + 1e-12


def test_draws_have_the_right_frequencies() -> None:
    uniform = torch.from_numpy(np.random.default_rng(0).random(20_000))
    p = torch.tensor([0.1, 0.0, 0.6, 0.3])
    counts = np.bincount(draw(p.log().expand(20_000, 4), uniform).numpy(), minlength=4) / 20_000
    assert counts == pytest.approx(p.numpy(), abs=0.015)


def test_both_log_probabilities_of_a_token() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    ids, plain, sampling = next_token(logits, DecodingConfig(temperature=0.5, top_p=0.9), torch.tensor([0.95]))
    p = slow_probabilities([2.0, 1.0, 0.0, -1.0], 1.0, 1.0)
    inside = slow_probabilities([2.0, 1.0, 0.0, -1.0], 0.5, 0.9)
    assert (int(ids), float(plain.exp()), float(sampling.exp())) == (1, pytest.approx(p[1]), pytest.approx(inside[1]))
    assert float(next_token(logits, DecodingConfig(temperature=0), torch.tensor([0.95]))[2]) == 0


@pytest.mark.parametrize("row", [[float("nan"), 0.0], [float("inf"), 0.0], [-float("inf"), -float("inf")]])
def test_what_is_no_distribution_gives_no_probability(row: list[float]) -> None:
    logits = torch.tensor([row, [0.0, -float("inf")]])
    ids, plain, sampling = next_token(logits, DecodingConfig(), torch.tensor([0.5, 0.999]))
    assert torch.isnan(plain).tolist() == torch.isnan(sampling).tolist() == [True, False]
    assert int(ids[1]) == 0
