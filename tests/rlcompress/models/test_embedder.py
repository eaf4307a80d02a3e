"""Sentence encoders: the one that is fitted here, pretrained ones, and the class that remembers what they say."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from rlcompress.config.embedding import EmbedderConfig
from rlcompress.errors import UserError
from rlcompress.models import embedder as module
from rlcompress.models.embedder import TextEmbedder, build_embedder, embedder_key, load_embedder
from rlcompress.models.latent import LatentSemantics, own_direction
from rlcompress.questions.sentences import cosines
from rlcompress.text.bare import bare_words
from rlcompress.text.units import word_starts
from rlcompress.words import FloatArray, IntArray
from tests.rlcompress.small_models import TEXTS, save_bert

SMALL = EmbedderConfig(dimension=4)
ODD = ["", "?!", "日本語 👍🏽 naïve", "quokka", " ".join(["the old man paid"] * 20)]


SEA = [
    "ship",
    "vessel",
    "harbour",
    "captain",
    "sailed",
    "storm",
    "anchor",
    "deck",
    "sail",
    "wave",
    "port",
    "mast",
    "crew",
    "tide",
]
BANK = [
    "loan",
    "interest",
    "clerk",
    "owed",
    "debt",
    "credit",
    "coin",
    "teller",
    "vault",
    "paid",
    "fee",
    "rate",
    "sum",
    "cheque",
]


def planted() -> list[str]:
    """Words of the sea and of the bank never share a sentence."""
    rng = np.random.default_rng(0)
    return [f"The {' and the '.join(rng.permutation((SEA, BANK)[i % 2])[:4])}." for i in range(200)]


def spans(text: str) -> IntArray:
    starts_N = word_starts(text)
    return np.stack([starts_N, np.append(starts_N[1:], len(text)).astype(np.int64)[: len(starts_N)]], 1)


@pytest.fixture(scope="module")
def latent() -> TextEmbedder:
    return build_embedder(SMALL, planted())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return save_bert(tmp_path_factory.mktemp("encoder"), masked=False, positions=48)


@pytest.fixture(scope="module")
def hub(folder: Path) -> TextEmbedder:
    return load_embedder(folder)


def copy_with(folder: Path, target: Path, files: dict[str, object]) -> Path:
    shutil.copytree(folder, target)
    for name, content in files.items():
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text(json.dumps(content))
    return target


# ------------------------------------------------------------------------------------------ the built-in encoder


def test_a_paraphrase_is_found_without_a_common_word() -> None:
    latent = build_embedder(EmbedderConfig(dimension=16), planted())
    sentences = ["Interest, loan, clerk.", "Ship, storm, captain.", "Fee, cheque, sum."]
    question = "Vessel, anchor, mast?"
    assert not set(bare_words(question)) & set(bare_words(" ".join(sentences)))
    close_S = cosines(latent.sentences(sentences), latent.sentences([question])[0])
    assert close_S.argmax() == 1
    assert close_S[1] > max(close_S[0], close_S[2]) + 0.3


def test_a_name_that_training_never_saw_is_found_by_itself() -> None:
    embedder = build_embedder(EmbedderConfig(dimension=32), planted())
    sentences = ["The ship of Zorblatt.", "The ship of Quenneville.", "The ship of nobody."]
    close_S = cosines(embedder.sentences(sentences), embedder.sentences(["Quenneville?"])[0])
    assert close_S.argmax() == 1
    assert close_S[1] > 0.4 > 0.3 > max(close_S[0], close_S[2])


def test_own_directions_are_nearly_orthogonal() -> None:
    words = [f"word{i}" for i in range(50)]
    own = np.stack([own_direction(word, 128) for word in words])
    assert np.linalg.norm(own, axis=1) == pytest.approx(np.ones(50))
    apart = own @ own.T - np.eye(50)
    assert abs(apart.mean()) < 0.01
    assert np.sqrt((apart**2).mean()) == pytest.approx(128**-0.5, rel=0.15)
    assert len({tuple(own_direction(word, 12)) for word in words}) > 45


def test_vectors_equal_those_of_a_dense_decomposition() -> None:
    texts = list(dict.fromkeys(planted()))
    rows = [bare_words(text) for text in texts]
    words = sorted({word for row in rows for word in row})
    df = np.array([sum(word in row for row in rows) for word in words])
    idf = np.log((1 + len(rows)) / (1 + df)) + 1
    dense = np.array(
        [[(1 + np.log(row.count(w))) * idf[v] if w in row else 0 for v, w in enumerate(words)] for row in rows]
    )
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    right = np.linalg.svd(dense)[2][:2]
    right *= np.sign(right[np.arange(2), np.abs(right).argmax(1)])[:, None]
    # the first two singular values stand apart: the words of all sentences, and which of the two topics
    found = LatentSemantics.fit(texts, EmbedderConfig(dimension=2))
    assert found.words == words
    expected = idf[:, None] * right.T
    lost = np.sqrt(idf**2 - (expected**2).sum(1))
    expected += 0.5 * lost[:, None] * np.stack([own_direction(word, 2) for word in words])
    assert found.vectors_VD == pytest.approx(expected, abs=1e-4)
    assert found.unknown == pytest.approx(np.log(1 + len(rows)) + 1)


def test_fitting_is_repeated_to_the_bit_and_few_words_are_enough() -> None:
    assert LatentSemantics.fit(planted(), SMALL).version == LatentSemantics.fit(planted(), SMALL).version
    assert LatentSemantics.fit(planted()[:20], SMALL).version != LatentSemantics.fit(planted(), SMALL).version
    tiny = build_embedder(EmbedderConfig(dimension=50), ["one two. one two.", "two three one. three."])
    assert np.linalg.norm(tiny.sentences(["one", "three"]), axis=1) == pytest.approx([1, 1])
    again = planted()
    assert LatentSemantics.fit(again + again, SMALL).version == LatentSemantics.fit(again, SMALL).version, "once each"
    few = LatentSemantics.fit(planted(), EmbedderConfig(vocabulary=3, dimension=2))
    assert len(few.words) == 3
    assert {"and", "the"} < set(few.words), "words of most sentences are known first"


@pytest.mark.parametrize("texts", [[], [""], ["one two three"], ["!? ..."]])
def test_nothing_to_fit_on_is_said(texts: list[str]) -> None:
    with pytest.raises(UserError, match=r"fitted on training texts and they share no words"):
        build_embedder(SMALL, texts)


def test_words_are_the_vectors_of_sentences_of_one_word(latent: TextEmbedder) -> None:
    text = "The ship, a quokka"
    vectors = latent.words(text, spans(text))
    words = [text[a:b] for a, b in spans(text)]
    assert words == ["The ", "ship", ", ", "a ", "quokka"]
    assert vectors == pytest.approx(latent.sentences(words))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 0, 1, 1]), "a mark is no word"


# ------------------------------------------------------------------------------------------ pretrained encoders


@torch.no_grad()
def slow_sentence(folder: Path, text: str, longest: int = 48) -> FloatArray:
    """One text alone through transformers itself, specials included, as sentence-transformers pools."""
    from transformers import AutoModel, AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt", truncation=True, max_length=longest)
    state_TD = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state[0].double().numpy()
    return state_TD


def test_sentences_are_the_mean_over_the_attention_mask(hub: TextEmbedder, folder: Path) -> None:
    for text, vector in zip(TEXTS + ODD, hub.sentences(TEXTS + ODD), strict=True):
        if text:
            mean = slow_sentence(folder, text).mean(0)
            assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
        else:
            assert not vector.any(), "this tokenizer has no special tokens"


def test_words_are_means_of_the_states_of_their_tokens(hub: TextEmbedder, folder: Path) -> None:
    from transformers import AutoTokenizer

    text = TEXTS[0]
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_offsets_mapping=True)["offset_mapping"]
    states = slow_sentence(folder, text)
    vectors = hub.words(text, spans(text))
    for (a, b), vector in zip(spans(text), vectors, strict=True):
        own = [states[t] for t, (start, end) in enumerate(tokens) if a <= start < b and end > start]
        mean = np.mean(own, 0)
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    some = hub.words(text, spans(text)[[1, 4]])
    assert some == pytest.approx(vectors[[1, 4]]), "words may be left out"


def test_long_texts_are_read_to_their_end(hub: TextEmbedder) -> None:
    text = " ".join(TEXTS)
    vectors = hub.words(text, spans(text))
    assert len(hub.encoder.states(text)[0]) > 2 * 48
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(vectors)), abs=1e-6)
    assert len(np.unique(vectors.round(4), axis=0)) > len(vectors) // 2


def test_pooling_and_length_are_read_from_the_folder(folder: Path, tmp_path: Path) -> None:
    first = copy_with(folder, tmp_path / "cls", {"1_Pooling/config.json": {"pooling_mode_cls_token": True}})
    state = slow_sentence(folder, TEXTS[0])[0]
    assert load_embedder(first).sentences(TEXTS[:1])[0] == pytest.approx(state / np.linalg.norm(state), abs=1e-5)
    named = copy_with(folder, tmp_path / "named", {"1_Pooling/config.json": {"pooling_mode": "cls"}})
    assert (load_embedder(named).sentences(TEXTS) == load_embedder(first).sentences(TEXTS)).all()
    short = copy_with(folder, tmp_path / "short", {"sentence_bert_config.json": {"max_seq_length": 16}})
    mean = slow_sentence(folder, ODD[-1], 16).mean(0)
    assert load_embedder(short).sentences(ODD[-1:])[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    assert len({load_embedder(path).version for path in (folder, first, short)}) == 3


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pools by max"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls and mean"),
        ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, "pools by lasttoken"),
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], "module 'Dense'"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    folder: Path, tmp_path: Path, name: str, content: object, says: str
) -> None:
    with pytest.raises(UserError, match=f"embedder.model .*{says}"):
        load_embedder(copy_with(folder, tmp_path / "copy", {name: content}))


def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"embedder.model .* cannot be loaded"):
        build_embedder(EmbedderConfig(model=str(tmp_path / "nowhere")), planted())


# ------------------------------------------------------------------------------------------ both


@pytest.mark.parametrize("which", ["latent", "hub"])
def test_company_repetition_and_transport_change_no_bit(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    embedder: TextEmbedder = request.getfixturevalue(which)
    texts = [*TEXTS, *ODD, *planted()[:30], TEXTS[0]]
    together = TextEmbedder(embedder.encoder).sentences(texts)
    norms = np.linalg.norm(together, axis=1)
    assert ((np.abs(norms - 1) < 1e-6) | (norms == 0)).all()
    embedder.save(tmp_path / "saved")
    loaded, sent = load_embedder(tmp_path / "saved"), pickle.loads(pickle.dumps(embedder))
    assert loaded.version == embedder.version == sent.version
    for one in (embedder, loaded, sent):
        for text, vector in zip(texts, together, strict=True):
            assert (one.sentences([text])[0] == vector).all()
            assert (one.words(text, spans(text)) == embedder.words(text, spans(text))).all()
    assert embedder.sentences([]).shape == (0, together.shape[1])
    assert embedder.words("", np.zeros((0, 2), np.int64)).shape == (0, together.shape[1])
    assert embedder.words("one two", np.zeros((0, 2), np.int64)).shape == (0, together.shape[1])
    assert not any(path.suffix in (".bin", ".pkl", ".pt") for path in (tmp_path / "saved").rglob("*"))


def test_a_damaged_folder_is_said(latent: TextEmbedder, tmp_path: Path) -> None:
    for file in ("embedder.json", "words.safetensors"):
        latent.save(tmp_path / file)
        (tmp_path / file / file).write_text("not")
        with pytest.raises(UserError, match=r"is damaged .*: fit it again"):
            load_embedder(tmp_path / file)


def test_a_folder_of_an_earlier_version_knows_no_unknown_words(latent: TextEmbedder, tmp_path: Path) -> None:
    latent.save(tmp_path)
    assert isinstance(latent.encoder, LatentSemantics)
    save_file({"vectors_VD": latent.encoder.vectors_VD}, str(tmp_path / "words.safetensors"))
    earlier = load_embedder(tmp_path)
    assert (earlier.sentences(["ship"]) == latent.sentences(["ship"])).all()
    assert not earlier.sentences(["quokka"]).any()
    assert latent.sentences(["quokka"]).any()


class Counting:
    """An encoder of two channels, text length and 1, that counts what it is asked."""

    version, dimension = "counting", 2

    def __init__(self) -> None:
        self.asked: list[str] = []

    def sentences(self, texts: Sequence[str]) -> FloatArray:
        self.asked += texts
        return np.array([[len(text), 1.0] for text in texts])

    def states(self, text: str) -> tuple[FloatArray, IntArray]:
        self.asked.append(text)
        at_T = np.arange(len(text), dtype=np.int64)
        return np.stack([at_T, np.ones(len(text))], 1).astype(np.float64), np.stack([at_T, at_T + 1], 1)

    def save(self, folder: Path) -> None:
        raise NotImplementedError


def test_each_text_is_read_once_and_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Counting()
    embedder = TextEmbedder(encoder)
    assert embedder.sentences(["aaa", "b", "aaa"]) == pytest.approx(
        np.array([[3, 1], [1, 1], [3, 1]]) / [[10**0.5], [2**0.5], [10**0.5]]
    )
    embedder.sentences(["b", "aaa"])
    assert encoder.asked == ["aaa", "b"]
    monkeypatch.setattr(module, "_REMEMBERED", 4)
    embedder.sentences(["cc"])  # pushes out the one that was asked for longest ago, "b"
    embedder.sentences(["aaa", "cc"])
    assert encoder.asked == ["aaa", "b", "cc"]
    embedder.sentences(["b"])
    assert encoder.asked[3:] == ["b"]
    assert len(embedder._recent) == 2


def test_a_token_may_hold_several_words(hub: TextEmbedder) -> None:
    text = "日本語 paid"
    assert len(hub.encoder.states(text)[0]) == 2
    vectors = hub.words(text, spans(text))
    assert len(vectors) == 4
    assert (vectors[0] == vectors[1:3]).all()
    assert vectors[0] != pytest.approx(vectors[3], abs=0.01)


@given(st.lists(st.integers(0, 12), min_size=2, max_size=8, unique=True).map(sorted))
def test_words_own_the_tokens_that_start_in_them(bounds: list[int]) -> None:
    text = "abcdefghijkl"
    pairs = list(zip(bounds[::2], bounds[1::2], strict=False))
    found = TextEmbedder(Counting()).words(text, np.array(pairs, np.int64))
    for (a, b), vector in zip(pairs, found, strict=True):
        mean = np.array([np.mean(range(a, b)), 1.0])
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_the_key_names_what_decides_the_weights(folder: Path) -> None:
    keys = [
        embedder_key(EmbedderConfig(), "a"),
        embedder_key(EmbedderConfig(), "b"),
        embedder_key(EmbedderConfig(dimension=3), "a"),
        embedder_key(EmbedderConfig(model=str(folder)), "a"),
    ]
    assert len(set(keys)) == 4
    assert embedder_key(EmbedderConfig(model=str(folder)), "b") == keys[3], "a pretrained one knows no data"
