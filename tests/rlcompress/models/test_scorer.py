"""The built-in scorer: size, invariances, its prior, its question, and texts longer than a window."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
from torch import nn

from rlcompress.config.schema import PolicyConfig
from rlcompress.models.encoders import TokenEncoder
from rlcompress.models.features import Featuriser, RowLayout, window_bounds
from rlcompress.models.scorer import TextScorer, UnitScorer, build_scorer
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.text.segment import Segmenter
from rlcompress.text.units import token_units
from rlcompress.words import FloatArray, Units
from tests.rlcompress.small_models import TEXTS, small_scorer

QUESTION = "Who paid?"


@pytest.fixture(scope="module")
def scorer(bpe: TextTokenizer) -> TextScorer:
    return small_scorer(bpe)


def cut(bpe: TextTokenizer, *texts: str) -> list[Units]:
    return [Segmenter(bpe)(text) for text in texts]


def alone(scorer: TextScorer, units: list[Units], question: str | None = None) -> list[FloatArray]:
    return [scorer.scores([one], [question])[0] for one in units]


@pytest.mark.parametrize("vocabulary", [2048, 50_257, 250_000])
def test_at_most_two_million_parameters(vocabulary: int) -> None:
    policy = PolicyConfig()
    network = UnitScorer(TokenEncoder(vocabulary, policy.width, policy.layers), policy.width, vocabulary, "rarity", 1.0)
    assert sum(p.numel() for p in network.parameters()) <= 2_000_000


def test_a_vocabulary_larger_than_the_table(bpe: TextTokenizer) -> None:
    encoder = TokenEncoder(20_000, 8, 1)
    hidden = encoder(
        torch.tensor([[0, 8191, 8192, 19_999]]), torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 4).long()
    )
    assert hidden.isfinite().all()


def test_company_and_padding_change_nothing(bpe: TextTokenizer, scorer: TextScorer) -> None:
    units = cut(bpe, *TEXTS, "", " \n", " ".join(TEXTS * 3))
    single = alone(scorer, units)
    for batch in (1, 3, 32):
        together = scorer.scores(units, [None] * len(units), batch=batch)
        for a, b in zip(single, together, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    back = scorer.scores(units[::-1], [None] * len(units))
    for a, b in zip(single, back[::-1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert [len(s) for s in single] == [len(u) for u in units]
    assert all(s.std() > 0.1 for s, u in zip(single, units, strict=True) if len(u) > 3)


def test_long_texts_are_scored_to_their_end(bpe: TextTokenizer, scorer: TextScorer) -> None:
    """Far past the first window, scores depend on the words there and around, and on nothing far away."""
    words = " ".join(TEXTS[:2] * 20).split()
    changed = [*words[:-3], "extraordinary", *words[-2:]]
    before, after = (alone(scorer, cut(bpe, " ".join(w) + " "))[0] for w in (words, changed))
    assert len(before) > 10 * scorer.features.window / 2
    difference = np.abs(before[: len(before) - 40] - after[: len(before) - 40])
    assert difference.max() < 1e-5
    assert np.abs(before[-4:] - after[-4:]).max() > 0.05


def test_one_text_in_many_windows_equals_its_windows_alone(bpe: TextTokenizer, scorer: TextScorer) -> None:
    """A twin of windows: each token's unit gets the mean over its own tokens, read in the window that owns them."""
    text = " ".join(TEXTS[:2] * 4)
    units = cut(bpe, text)[0]
    ids_T, spans_T2 = bpe.encode(text)
    owner_T, T, window = token_units(text, units.starts_N, spans_T2), len(ids_T), scorer.features.window
    network = scorer.network
    starts = [start for start, *_ in window_bounds(T, window, window // 8)]
    window = -(-(T + (len(starts) - 1) * (window // 8)) // len(starts))
    hidden_T: list[torch.Tensor] = []
    for i, start in enumerate(starts):
        ids = torch.from_numpy(ids_T[start : start + window])[None]
        with torch.no_grad():
            hidden = network.encoder(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids))[0]
        until = T if i + 1 == len(starts) else (starts[i + 1] + start + window) // 2
        hidden_T.extend(hidden[len(hidden_T) - start : until - start])
    bits_T = network.get_buffer("bits_V")[torch.from_numpy(ids_T)]
    scores = alone(scorer, [units])[0]
    for u in range(len(units)):
        mine = [t for t in range(T) if owner_T[t] == u]
        rarity = (bits_T[mine].mean() - 9) / 4
        inner = torch.cat(
            [torch.stack([hidden_T[t] for t in mine]).mean(0), rarity[None], torch.tensor([math.log(len(mine))])]
        )
        with torch.no_grad():
            expected = network.scale * rarity + network.head(nn.functional.gelu(network.hidden(inner)))[0]
        assert scores[u] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize(("prior", "scale"), [("rarity", 1.0), ("rarity", -0.5), ("none", 1.0)])
def test_an_untrained_scorer_is_its_prior(bpe: TextTokenizer, prior: str, scale: float) -> None:
    scorer = small_scorer(bpe, shake=False, prior=prior, prior_scale=scale)
    counts = torch.zeros(bpe.vocabulary)
    for text in TEXTS:
        counts += torch.bincount(torch.from_numpy(bpe.encode(text)[0]), minlength=bpe.vocabulary)
    scorer.network.fit_prior(counts)
    bits_V = [-math.log2((c + 0.5) / (float(counts.sum()) + 0.5 * bpe.vocabulary)) for c in counts.tolist()]
    units = cut(bpe, " ".join(TEXTS))[0]
    ids_T, spans_T2 = bpe.encode(units.text)
    owner_T = token_units(units.text, units.starts_N, spans_T2)
    scores = alone(scorer, [units])[0]
    for u in range(len(units)):
        mine = [bits_V[i] for i in ids_T[owner_T == u]]
        mean = sum(mine) / max(1, len(mine))  # a unit inside another's token costs nothing and says nothing
        assert scores[u] == pytest.approx((mean - 9) / 4 * scale if prior == "rarity" else 0.0, abs=1e-5)


def test_the_rate_is_no_input() -> None:
    for function in (UnitScorer.forward, TextScorer.scores, Featuriser.__call__):
        assert not {"rate", "budget", "tau"} & set(inspect.signature(function).parameters)


def test_there_is_no_dropout(bpe: TextTokenizer, scorer: TextScorer) -> None:
    units = cut(bpe, *TEXTS)
    before = scorer.scores(units, [None] * len(units))
    scorer.network.train()
    during = scorer.scores(units, [None] * len(units))
    scorer.network.eval()
    assert all((a == b).all() for a, b in zip(before, during, strict=True))


def test_a_question_changes_nothing_at_first(bpe: TextTokenizer) -> None:
    scorer = small_scorer(bpe, shake=False, window=64)
    units = cut(bpe, *TEXTS)
    for a, b in zip(alone(scorer, units), alone(scorer, units, QUESTION), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_question_can_be_learned(bpe: TextTokenizer) -> None:
    """The same text, two questions, opposite orders."""
    scorer = small_scorer(bpe, shake=False, window=64, prior="none")
    units = cut(bpe, TEXTS[0], TEXTS[0])
    features = {k: torch.from_numpy(v) for k, v in scorer.features(units, ["man", "token"]).items()}
    wanted = torch.linspace(-1, 1, len(units[0])) * torch.tensor([[1.0], [-1.0]])
    optimizer = torch.optim.Adam(scorer.network.parameters(), lr=5e-3)
    for _ in range(120):
        loss = (scorer.network(features) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1  # without the question 0.37 is the best


def test_question_and_text_are_told_apart(scorer: TextScorer) -> None:
    """The same tokens as question or as text are not the same to the encoder."""
    ids, there = torch.tensor([[20, 30, 40]]), torch.ones(1, 3, dtype=torch.bool)
    with torch.no_grad():
        as_text = scorer.network.encoder(ids, there, torch.tensor([[0, 0, 0]]))
        as_question = scorer.network.encoder(ids, there, torch.tensor([[1, 1, 0]]))
    assert (as_text - as_question).abs().max() > 0.01


def test_memory_stays_bounded_on_many_long_texts(bpe: TextTokenizer, scorer: TextScorer) -> None:
    """The encoder sees a bounded number of windows, and long texts a bounded company."""
    seen: list[int] = []
    handle = scorer.network.encoder.register_forward_hook(lambda m, inputs, out: seen.append(len(inputs[0])))
    calls: list[int] = []
    outer = scorer.network.register_forward_hook(lambda m, inputs, out: calls.append(len(out)))
    units = cut(bpe, *[" ".join(TEXTS[:2] * 150 + [str(i)]) for i in range(12)])
    scorer.scores(units, [None] * 12)
    handle.remove()
    outer.remove()
    assert max(seen) <= 128
    assert max(calls) * len(units[0].text) <= 150_000
    assert sum(calls) == 12


def test_build_scorer_shares_the_readers_tokenizer(bpe: TextTokenizer) -> None:
    network, features = build_scorer(PolicyConfig().model_dump(), bpe)
    assert features.tokenizer is bpe
    assert features.layout == RowLayout()
    assert len(network.get_buffer("bits_V")) == bpe.vocabulary
