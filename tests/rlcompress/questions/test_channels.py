"""Channels of a question against slow twins, and what they may not depend on."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.config.embedding import EmbedderConfig
from rlcompress.models.embedder import TextEmbedder, build_embedder
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.questions import channels as module
from rlcompress.questions.bm25 import asked_words, bm25
from rlcompress.questions.channels import CHANNELS, QuestionChannels, stem
from rlcompress.questions.sentences import cosines, mix, sentence_texts
from rlcompress.questions.store import ArrayStore
from rlcompress.text.bare import bare_words
from rlcompress.text.segment import Segmenter
from rlcompress.words import FloatArray

TEXT = (
    "Anna met the old miller in May 1910. He paid her seven crowns, which was a lot. "
    "The river had flooded the mills twice. Nobody knew who would mill the grain."
)
QUESTION = "How much did the miller pay?"


@pytest.fixture(scope="module")
def embedder() -> TextEmbedder:
    texts = [TEXT, "The miller mills grain by the river.", "Crowns were paid for the flooded mill.", "Anna paid."]
    return build_embedder(EmbedderConfig(dimension=4), texts)


@pytest.fixture(scope="module")
def told(embedder: TextEmbedder) -> QuestionChannels:
    return QuestionChannels(embedder)


def column(told: QuestionChannels, bpe: TextTokenizer, name: str, question: str | None = QUESTION) -> FloatArray:
    values: FloatArray = told(Segmenter(bpe)(TEXT), question).channels_NC[:, CHANNELS.index(name)].astype(np.float64)
    return values


def test_names_are_unique_and_as_many_as_columns(told: QuestionChannels, bpe: TextTokenizer) -> None:
    assert len(set(CHANNELS)) == len(CHANNELS)
    units = Segmenter(bpe)(TEXT)
    found = told(units, QUESTION)
    assert found.channels_NC.shape == (len(units), len(CHANNELS))
    assert found.channels_NC.dtype == np.float32
    assert np.isfinite(found.channels_NC).all()


def test_words_of_the_question_are_found_as_they_stand_and_by_their_stem(
    told: QuestionChannels, bpe: TextTokenizer
) -> None:
    words = [word.strip() for word in Segmenter(bpe)(TEXT).words()]
    exact, stems, content = (column(told, bpe, f"{name} question") for name in ("in", "stem in", "content in"))
    assert {w for w, hit in zip(words, exact, strict=True) if hit} == {"the", "miller", "The", "much"} & set(words)
    assert {w for w, hit in zip(words, stems, strict=True) if hit} == {"the", "The", "miller", "paid"} - {"paid"}
    assert {w for w, hit in zip(words, content, strict=True) if hit} == {"miller"}
    assert stem("mills") == stem("milling") == "mill"


def test_the_prior_is_the_mix_below_its_best_sentence(
    told: QuestionChannels, embedder: TextEmbedder, bpe: TextTokenizer
) -> None:
    units = Segmenter(bpe)(TEXT)
    texts = sentence_texts(TEXT)
    lexical_S = bm25([bare_words(text) for text in texts], asked_words(QUESTION))
    mixed_S = mix(cosines(embedder.sentences(texts), embedder.sentences([QUESTION])[0]), lexical_S)
    found = told(units, QUESTION)
    assert found.prior_N is not None
    for start, prior in zip(units.starts_N.tolist(), found.prior_N.tolist(), strict=True):
        sentence = next(s for s in range(len(texts)) if start < len("".join(texts[: s + 1])))
        assert prior == pytest.approx(12.0 * (mixed_S[sentence] - max(mixed_S)))
    assert max(found.prior_N) == 0.0


def test_without_a_question_only_the_text_speaks(told: QuestionChannels, bpe: TextTokenizer) -> None:
    units = Segmenter(bpe)(TEXT)
    asked = CHANNELS.index("in question")
    for question in (None, "", "?!"):
        found = told(units, question)
        assert found.prior_N is None
        assert not found.channels_NC[:, 0].any()
        assert not found.channels_NC[:, asked:].any()
        np.testing.assert_array_equal(found.channels_NC[:, 1:asked], told(units, QUESTION).channels_NC[:, 1:asked])
    assert told(units, QUESTION).channels_NC[:, 0].all()


@pytest.mark.parametrize("text", ["", " ", "one", "...", "日本語のテキスト。二つ目。", "A\n\nB\n\nC", "the of and"])
@pytest.mark.parametrize("question", [None, "who", "the of", "日本語", "Who paid in 1910?"])
def test_any_text_and_any_question(told: QuestionChannels, bpe: TextTokenizer, text: str, question: str | None) -> None:
    units = Segmenter(bpe)(text)
    found = told(units, question)
    assert found.channels_NC.shape == (len(units), len(CHANNELS))
    assert np.isfinite(found.channels_NC).all()
    assert found.prior_N is None or np.isfinite(found.prior_N).all()
    assert len(found.sentence_N) == len(units)


def test_no_channel_can_know_an_answer() -> None:
    """Neither the call nor anything behind it is handed one."""
    parameters = {
        name for f in (QuestionChannels.__call__, QuestionChannels._asked) for name in inspect.signature(f).parameters
    }
    assert parameters == {"self", "units", "question", "words", "sentence_N", "shapes_NF"}


def test_a_pickled_one_gives_the_same_and_takes_no_cache(told: QuestionChannels, bpe: TextTokenizer) -> None:
    units = Segmenter(bpe)(TEXT)
    before = told(units, QUESTION)
    again = pickle.loads(pickle.dumps(told))
    assert not again._recent
    np.testing.assert_array_equal(again(units, QUESTION).channels_NC, before.channels_NC)
    assert told(units, QUESTION) is before, "remembered"


hits = st.lists(st.booleans(), max_size=20)


@given(hits)
def test_distances_equal_their_slow_twin(flags: list[bool]) -> None:
    found = module._distances(np.array(flags, np.bool_))
    for i in range(len(flags)):
        assert found[i] == min((abs(i - j) for j, flag in enumerate(flags) if flag), default=np.inf)


@given(st.lists(st.sampled_from("abcd"), max_size=20), st.sets(st.sampled_from("abcx"), min_size=1), st.integers(0, 6))
def test_distinct_words_nearby_equal_their_slow_twin(stems: list[str], content: set[str], reach: int) -> None:
    found = module._distinct(stems, content, reach)
    for i in range(len(stems)):
        around = set(stems[max(0, i - reach) : i + reach + 1])
        assert found[i] == pytest.approx(len(around & content) / len(content))


@given(st.lists(st.floats(-2, 2), max_size=20), st.sampled_from([1, 3, 9]))
def test_blurred_equals_its_slow_twin(values: list[float], width: int) -> None:
    found = module._blurred(np.array(values), width)
    for i in range(len(values)):
        window = values[max(0, i - width // 2) : i + width // 2 + 1]
        assert found[i] == pytest.approx(sum(window) / len(window), abs=1e-9)


@given(st.lists(st.floats(0, 2), max_size=12))
def test_reciprocal_ranks_equal_their_slow_twin(scores: list[float]) -> None:
    found = module._reciprocal_ranks(np.array(scores))
    for i, score in enumerate(scores):
        before = sum(other > score or (other == score and j < i) for j, other in enumerate(scores))
        assert found[i] == (1.0 / (1 + before) if any(scores) else 0.0)


@given(st.lists(st.integers(1, 5), max_size=6))
def test_places_equal_their_slow_twin(sizes: list[int]) -> None:
    sentence_N = np.repeat(np.arange(len(sizes)), sizes).astype(np.int64)
    found = module._places(sentence_N)
    n = 0
    for size in sizes:
        for i in range(size):
            wanted = [np.log2(size) / 5.0, i / max(1, size - 1), n / max(1, len(sentence_N) - 1)]
            np.testing.assert_allclose(found[n], wanted)
            n += 1


def test_a_store_gives_back_what_was_told_to_the_bit(
    embedder: TextEmbedder, bpe: TextTokenizer, tmp_path: Path
) -> None:
    first = QuestionChannels(embedder, ArrayStore(tmp_path))
    second = QuestionChannels(embedder, ArrayStore(tmp_path))
    second._tell = lambda *_: pytest.fail("it was stored")  # type: ignore[assignment]
    cut = [Segmenter(bpe, granularity)(text) for text in (TEXT, "", "one") for granularity in ("word", "sentence")]
    for units in cut:
        for question in (QUESTION, None, "", "Who?"):
            told, again = first(units, question), second(units, question)
            np.testing.assert_array_equal(again.channels_NC, told.channels_NC)
            np.testing.assert_array_equal(again.sentence_N, told.sentence_N)
            assert (again.prior_N is None) == (told.prior_N is None or not len(units))
            if told.prior_N is not None and again.prior_N is not None:
                np.testing.assert_array_equal(again.prior_N, told.prior_N)
    assert not [file for file in tmp_path.iterdir() if file.suffix != ".safetensors"], "nothing half written"
