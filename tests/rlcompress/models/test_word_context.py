"""Words in their context, and scorers that know words by what a question tells of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.artifact import Manifest, load_scorer, save_artifact
from rlcompress.config.embedding import EmbedderConfig
from rlcompress.config.schema import PolicyConfig
from rlcompress.models.embedder import TextEmbedder, build_embedder
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.models.word_context import WordContext, sentence_means
from rlcompress.questions.channels import QuestionChannels
from rlcompress.text.segment import Segmenter
from tests.rlcompress.small_models import small_scorer

TEXTS = [
    "Anna met the old miller in May 1910. He paid her seven crowns, which was a lot. The river had flooded twice.",
    "One sentence only about the old miller.",
]
QUESTIONS = ["How much did the miller pay?", "Who met whom?"]


@pytest.fixture(scope="module")
def embedder() -> TextEmbedder:
    return build_embedder(EmbedderConfig(dimension=4), [*TEXTS, "The miller mills grain.", "Crowns were paid."])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 3))
def test_sentence_means_equal_their_slow_twin(sizes: list[int], padding: int) -> None:
    N = sum(sizes)
    sentence_N = [s for s, size in enumerate(sizes) for _ in range(size)]
    hidden = torch.randn(1, N + padding, 3, generator=torch.Generator().manual_seed(N))
    exists = torch.arange(N + padding)[None] < N
    found = sentence_means(hidden, exists, torch.tensor([sentence_N + [0] * padding]))
    for n in range(N):
        same = [hidden[0, i] for i in range(N) if sentence_N[i] == sentence_N[n]]
        torch.testing.assert_close(found[0, n], torch.stack(same).mean(0))
    assert not found[0, N:].any()


def test_padding_changes_nothing() -> None:
    context = WordContext(5, 8)
    known = torch.randn(1, 9, 5, generator=torch.Generator().manual_seed(0))
    sentence = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2]])
    alone = context(known, torch.ones(1, 9, dtype=torch.bool), sentence)
    padded = context(
        torch.cat([known, 3.0 + torch.zeros(1, 4, 5)], 1),
        torch.arange(13)[None] < 9,
        torch.nn.functional.pad(sentence, (0, 4)),
    )
    torch.testing.assert_close(padded[:, :9], alone)


@pytest.mark.parametrize("encoder", ["none", "builtin:scorer"])
def test_an_untrained_policy_is_its_prior(bpe: TextTokenizer, embedder: TextEmbedder, encoder: str) -> None:
    """The match of the sentence where there is a question, the rarity of the word where there is none."""
    channels = QuestionChannels(embedder)
    scorer = small_scorer(bpe, shake=False, told=channels, encoder=encoder, prior="sentences")
    units = [Segmenter(bpe)(text) for text in TEXTS]
    for unit, question, scores in zip(units, QUESTIONS, scorer.scores(units, [*QUESTIONS]), strict=True):
        np.testing.assert_allclose(scores, channels(unit, question).prior_N, atol=1e-5)
    rarity = small_scorer(bpe, shake=False).scores(units, [None, None])
    for scores, wanted in zip(scorer.scores(units, [None, None]), rarity, strict=True):
        np.testing.assert_allclose(scores, wanted, atol=1e-6)


@pytest.mark.parametrize("encoder", ["none", "builtin:scorer"])
def test_company_changes_nothing_and_the_question_does(
    bpe: TextTokenizer, embedder: TextEmbedder, encoder: str
) -> None:
    scorer = small_scorer(bpe, told=QuestionChannels(embedder), encoder=encoder, prior="sentences")
    units = [Segmenter(bpe)(text) for text in ["", *TEXTS, "the"]]
    asked = [None, QUESTIONS[0], None, "who"]
    together = scorer.scores(units, asked)
    for unit, question, scores in zip(units, asked, together, strict=True):
        np.testing.assert_allclose(scorer.scores([unit], [question])[0], scores, atol=1e-5)
    assert np.abs(scorer.scores(units[1:2], ["Who met whom?"])[0] - together[1]).max() > 1e-3


def test_an_artifact_brings_the_encoder_of_its_channels(
    bpe: TextTokenizer, embedder: TextEmbedder, tmp_path: Path
) -> None:
    scorer = small_scorer(bpe, told=QuestionChannels(embedder), encoder="none", prior="sentences")
    embedder.save(tmp_path / "embedder")
    policy = PolicyConfig(encoder="none", channels="question", prior="sentences", width=16, layers=1, window=24)
    manifest = Manifest(
        name="told",
        created_by="0",
        policy=policy,
        granularity="word",
        rates=(0.5,),
        seed=0,
        iteration=0,
        stage="rl",
        data={},
    )
    save_artifact(tmp_path / "made", manifest, scorer.network, bpe, tmp_path / "embedder")
    (tmp_path / "embedder").rename(tmp_path / "gone")
    _, loaded, _ = load_scorer(tmp_path / "made", torch.device("cpu"))
    units = [Segmenter(bpe)(text) for text in TEXTS]
    for again, scores in zip(loaded.scores(units, [*QUESTIONS]), scorer.scores(units, [*QUESTIONS]), strict=True):
        np.testing.assert_array_equal(again, scores)


@pytest.mark.parametrize("encoder", ["none", "builtin:scorer"])
def test_a_deaf_policy_hears_no_question(bpe: TextTokenizer, embedder: TextEmbedder, encoder: str) -> None:
    told = QuestionChannels(embedder)
    scorer = small_scorer(bpe, told=told, encoder=encoder, prior="sentences", channels="text")
    units = [Segmenter(bpe)(text) for text in TEXTS]
    for asked, unasked in zip(scorer.scores(units, [*QUESTIONS]), scorer.scores(units, [None, None]), strict=True):
        np.testing.assert_array_equal(asked, unasked)
