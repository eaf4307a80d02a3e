"""A scorer of several passes sees what is gone; as long as nothing is, it is the scorer of one pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rlcompress.config.schema import PolicyConfig
from rlcompress.models.critic import Critic
from rlcompress.models.scorer import TextScorer, build_scorer
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.text.segment import Segmenter
from rlcompress.words import BoolArray, Units
from tests.rlcompress.small_models import TEXTS, save_bert, shaken, small_scorer


def pair(reader: TextTokenizer, **settings: object) -> tuple[TextScorer, TextScorer]:
    """Scorers of one and of several passes with the same weights; of the second, what is dropped matters too."""
    one, several = small_scorer(reader, **settings), small_scorer(reader, passes=3, **settings)
    missing, unexpected = several.network.load_state_dict(one.network.state_dict(), strict=False)
    assert missing == ["dropped"]
    assert not unexpected
    return one, several


def everything(units: list[Units]) -> list[BoolArray]:
    return [np.ones(len(one), np.bool_) for one in units]


@pytest.fixture
def units(bpe: TextTokenizer) -> list[Units]:
    return [Segmenter(bpe)(text) for text in (*TEXTS, " ".join(TEXTS * 3), "")]


def test_a_first_pass_is_single_to_the_bit(bpe: TextTokenizer, units: list[Units]) -> None:
    one, several = pair(bpe)
    assert several.network.dropped is not None
    assert several.network.dropped.detach().abs().min() > 0
    questions = ["who", *[None] * (len(units) - 1)]
    for a, b in zip(
        one.scores(units, questions), several.scores(units, questions, alive=everything(units)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_what_is_gone_is_seen_by_its_neighbours(bpe: TextTokenizer, units: list[Units]) -> None:
    _, several = pair(bpe)
    left = everything(units)
    left[0][2] = False
    before, after = (several.scores(units, [None] * len(units), alive=a) for a in (everything(units), left))
    others = np.arange(len(units[0])) != 2
    assert (np.abs(before[0] - after[0])[others] > 1e-6).any()
    np.testing.assert_allclose(before[1], after[1], atol=1e-6)


def test_a_fresh_scorer_does_not_care_what_is_gone(bpe: TextTokenizer, units: list[Units]) -> None:
    fresh = small_scorer(bpe, shake=False, passes=3)
    left = [mask & (np.arange(len(mask)) % 2 == 0) for mask in everything(units)]
    whole, half = (fresh.scores(units, [None] * len(units), alive=a) for a in (everything(units), left))
    for a, b in zip(whole, half, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_question_is_never_gone(bpe: TextTokenizer) -> None:
    _, several = pair(bpe)
    features = several.features([Segmenter(bpe)(TEXTS[0])], ["who was it"])
    tensors = {k: torch.from_numpy(v) for k, v in features.items()}
    gone = several.network._gone({**tensors, "alive_PN": torch.zeros_like(tensors["exists_PN"])})
    assert torch.equal(gone, tensors["valid_PWT"] & (tensors["segment_PWT"] == 0))
    assert (tensors["segment_PWT"] == 1).any()


def test_one_pass_has_no_parameter_for_it(bpe: TextTokenizer) -> None:
    assert "dropped" not in small_scorer(bpe).network.state_dict()
    assert "dropped" in small_scorer(bpe, passes=2).network.state_dict()


def test_a_hub_encoder_sees_it_too(bpe: TextTokenizer, units: list[Units], tmp_path: Path) -> None:
    settings = PolicyConfig(encoder=str(save_bert(tmp_path / "bert")), window=48).model_dump()
    network, features = build_scorer(settings, bpe, passes=2)
    scorer = TextScorer(shaken(network), features, torch.device("cpu"))
    left = everything(units)
    left[0][2] = False
    asked = [None] * len(units)
    plain, whole = scorer.scores(units, asked), scorer.scores(units, asked, alive=everything(units))
    for a, b in zip(plain, whole, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert np.abs(scorer.scores(units, asked, alive=left)[0] - whole[0]).max() > 1e-5


def state(P: int = 3, N: int = 5, D: int = 6) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(P, N, D, generator=generator, requires_grad=True)
    alive = torch.rand(P, N, generator=generator) < 0.6
    return known, alive, *(torch.rand(P, generator=generator) for _ in range(4))


def test_an_untrained_critic_expects_that_all_was_paid_for_nothing() -> None:
    *seen, paid = state()
    torch.testing.assert_close(Critic(6)(*seen, paid), -paid)


def test_a_critic_reads_what_is_left_and_never_moves_the_policy() -> None:
    critic = Critic(6)
    torch.nn.init.normal_(critic.head.weight)
    known, alive, *numbers = state()
    value_P = critic(known, alive, *numbers)
    value_P.sum().backward()
    assert known.grad is None
    changed = torch.where(alive[..., None], known, known + 5.0).detach()
    torch.testing.assert_close(critic(changed, alive, *numbers), value_P)
    for i, number in enumerate(numbers):
        others = [n if j != i else number + 0.5 for j, n in enumerate(numbers)]
        assert (critic(known, alive, *others) - value_P).abs().max() > 1e-4
    assert critic(known, torch.zeros_like(alive), *numbers).isfinite().all()
