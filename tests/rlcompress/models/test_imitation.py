"""The warm start: the teacher's order becomes likelier, on other texts too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlcompress.config.schema import ImitationConfig
from rlcompress.learning.sampling import draw_logp, pack_rankings
from rlcompress.models.imitation import imitate
from rlcompress.models.reconstructor import weights_hash
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.selection import Ranking, budget_tokens, rank
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, FloatArray, Units
from tests.rlcompress.small_models import TEXTS, WORDS, small_scorer

CONFIG = ImitationConfig(steps=40, batch=8, learning_rate=5e-3)


def shuffled(bpe: TextTokenizer, n: int, seed: int) -> list[Units]:
    rng = np.random.default_rng(seed)
    return [Segmenter(bpe)(" ".join(rng.permutation(WORDS.split()).tolist())) for _ in range(n)]


def teacher(units: Units) -> FloatArray:
    """Words by their length, the longest first."""
    return np.array([float(len(word.strip())) for word in units.words()])


def likelihood(scorer: object, units: list[Units], rate: float) -> float:
    """Mean log-probability of a draw of the teacher's, computed apart from the code under test."""
    total, draws = 0.0, 0
    for one, scores in zip(units, scorer.scores(units, [None] * len(units)), strict=True):  # type: ignore[attr-defined]
        ranking = rank(one, teacher(one), budget_tokens(one, rate))
        left = list(ranking.order_M)
        for unit in ranking.order_M[: ranking.draws]:
            z = scores[left]
            total += float(scores[unit] - z.max() - np.log(np.exp(z - z.max()).sum()))
            left.remove(unit)
            draws += 1
    return total / draws


def drawn(units: list[Units], rate: float) -> list[Ranking]:
    return [rank(one, teacher(one), budget_tokens(one, rate)) for one in units]


def examples(units: list[Units]) -> list[Example]:
    return [Example(str(i), one.text) for i, one in enumerate(units)]


def test_the_teachers_order_becomes_likelier(bpe: TextTokenizer) -> None:
    scorer = small_scorer(bpe, shake=False)
    train, held_out = shuffled(bpe, 24, 0), shuffled(bpe, 8, 1)
    before = likelihood(scorer, held_out, 0.5)
    seen: list[tuple[int, float]] = []
    losses = imitate(
        scorer,
        train,
        examples(train),
        drawn(train, 0.5),
        config=CONFIG,
        seed=0,
        on_step=lambda step, loss: seen.append((step, loss)),
    )
    assert seen == list(enumerate(losses))
    assert len(losses) == 40
    assert np.mean(losses[-5:]) < losses[0] - 0.3
    assert likelihood(scorer, held_out, 0.5) > before + 0.3
    assert not scorer.network.training


def test_the_loss_is_the_mean_over_draws(bpe: TextTokenizer) -> None:
    scorer = small_scorer(bpe)
    units = shuffled(bpe, 1, 3)
    expected = -likelihood(scorer, units, 0.4)
    config = CONFIG.model_copy(update={"steps": 1, "batch": 3})
    losses = imitate(scorer, units, examples(units), drawn(units, 0.4), config=config, seed=0)
    assert losses == pytest.approx([expected], abs=1e-5)


def test_equal_seeds_give_equal_weights(bpe: TextTokenizer) -> None:
    units = shuffled(bpe, 6, 0)
    hashes = []
    for seed in (0, 0, 1):
        scorer = small_scorer(bpe, shake=False)
        config = CONFIG.model_copy(update={"steps": 3})
        imitate(scorer, units, examples(units), drawn(units, 0.5), config=config, seed=seed)
        hashes.append(weights_hash(scorer.network))
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_texts_without_decisions_teach_nothing(bpe: TextTokenizer, rate: float) -> None:
    """Everything fits, or nothing may stay."""
    scorer = small_scorer(bpe)
    before = weights_hash(scorer.network)
    units = [Segmenter(bpe)(text) for text in [TEXTS[3], ""]]
    rankings = [rank(one, np.zeros(len(one)), budget_tokens(one, rate)) for one in units]
    assert imitate(scorer, units, examples(units), rankings, config=CONFIG, seed=0) == []
    assert weights_hash(scorer.network) == before


def test_protected_units_are_not_imitated(bpe: TextTokenizer) -> None:
    """The likelihood of `imitate` is that of `draw_logp` over free units alone."""
    scorer = small_scorer(bpe)
    units = Segmenter(bpe, protect=("numbers",))("pay 12 or 345 to the old man again and again")
    assert units.protected_N.sum() == 2
    order = np.arange(len(units), dtype=float)
    ranking = rank(units, order, budget_tokens(units, 0.6))
    order_PGN, draws, free = (torch.from_numpy(x) for x in pack_rankings([[ranking]], len(units)))
    scores = torch.from_numpy(scorer.scores([units], [None])[0])[None]
    expected = -float(draw_logp(scores, order_PGN, draws, free, torch.ones(1)).sum()) / ranking.draws
    config = CONFIG.model_copy(update={"steps": 1, "batch": 1})
    losses = imitate(scorer, [units], examples([units]), [ranking], config=config, seed=0)
    assert losses == pytest.approx([expected], abs=1e-5)
