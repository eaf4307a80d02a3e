"""The causal model against a twin that asks for one token at a time, and the small one that is trained here."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.config.baselines import LanguageModelConfig
from rlcompress.errors import UserError
from rlcompress.models.causal import CausalModel, language_model_key, load_causal, pieces, train_causal
from rlcompress.models.tokenizer import TextTokenizer
from tests.rlcompress.small_models import TEXTS, save_gpt2

LESSONS = ["the cat sat on the mat and the dog sat on the rug", "the bird saw the cat and the dog on the mat"]
SMALL = LanguageModelConfig(steps=200, batch=8, width=32, layers=1, window=32, warmup=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bpe: TextTokenizer) -> Path:
    folder = tmp_path_factory.mktemp("gpt2")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return save_gpt2(folder, bpe)


@pytest.fixture(scope="module")
def model(folder: Path) -> CausalModel:
    return load_causal(str(folder), window=32, chunk=4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, bpe: TextTokenizer) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    loss = train_causal(SMALL, LESSONS * 4, bpe, folder)
    assert loss < 0.5 * math.log2(bpe.vocabulary)
    return folder


@torch.no_grad()
def slow_bits(model: CausalModel, prefix: list[int], continuation: list[int]) -> list[float]:
    """One forward a token, on exactly what stands before it."""
    bits = []
    for t, token in enumerate(continuation):
        before = torch.tensor([[model.start_id, *prefix, *continuation[:t]]])
        bits.append(-float(torch.log_softmax(model.model(before).logits[0, -1], -1)[token]) / math.log(2))
    return bits


@given(st.lists(st.integers(0, 300), max_size=12), st.lists(st.integers(0, 300), max_size=12))
def test_bits_equal_the_slow_twin(model: CausalModel, prefix: list[int], continuation: list[int]) -> None:
    row = (np.array(prefix, np.int64), np.array(continuation, np.int64))
    assert model.continuation_bits([row])[0].tolist() == pytest.approx(slow_bits(model, prefix, continuation), abs=1e-4)


def test_company_changes_no_bit(model: CausalModel) -> None:
    texts = [*TEXTS, "", " ".join(TEXTS)]
    together = model.bits(texts)
    for text, bits in zip(texts, together, strict=True):
        assert len(bits) == len(model.tokenizer.encode(text)[0])
        assert (model.bits([text])[0] == bits).all()
    assert pickle.loads(pickle.dumps(model)).bits(texts[:2])[1].tolist() == together[1].tolist()


def test_long_texts_are_scored_to_their_end_with_half_a_window_before_each_token(model: CausalModel) -> None:
    ids = model.tokenizer.encode(" ".join(TEXTS))[0]
    room = model.window - 1
    assert len(ids) > 2 * room
    bits = model.bits([" ".join(TEXTS)])[0]
    assert np.isfinite(bits).all()
    rows = pieces(0, len(ids), room)
    for start, first, end in rows:
        again = model.continuation_bits([(ids[start:first], ids[first:end])])[0]
        assert again == pytest.approx(bits[first:end], abs=1e-5)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(2, 30))
def test_pieces_score_each_token_once_with_enough_before_it(before: int, more: int, room: int) -> None:
    total = before + more
    found = pieces(before, total, room)
    assert [t for _, first, end in found for t in range(first, end)] == list(range(before, total))
    for start, first, end in found:
        assert 0 <= start <= first < end <= start + room
        assert first - start >= min(first, room // 2)


def test_training_learns_and_is_repeated_to_the_bit(trained: Path, bpe: TextTokenizer, tmp_path: Path) -> None:
    model = load_causal(str(trained), window=32, chunk=4)
    usual, odd = model.bits([LESSONS[0], "mat the the on rug sat dog the and mat"])
    assert usual.mean() < odd.mean() - 2
    train_causal(SMALL, LESSONS * 4, bpe, tmp_path)
    assert load_causal(str(tmp_path), window=32, chunk=4).version == model.version
    assert model.tokenizer.version == bpe.version


def test_the_key_names_what_decides_the_weights() -> None:
    keys = [
        language_model_key(LanguageModelConfig(), "a"),
        language_model_key(LanguageModelConfig(), "b"),
        language_model_key(LanguageModelConfig(seed=1), "a"),
        language_model_key(LanguageModelConfig(window=64), "a"),
    ]
    assert len(set(keys)) == 4
    assert language_model_key(LanguageModelConfig(chunk=3), "a") == keys[0]


def test_what_cannot_be_had_is_said(folder: Path, bpe: TextTokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"language model .*nowhere.* cannot be loaded"):
        load_causal(str(tmp_path / "nowhere"), window=32, chunk=4)
    with pytest.raises(UserError, match="reads 300 tokens and its window is 301"):
        load_causal(str(folder), window=301, chunk=4)
    with pytest.raises(UserError, match="trained on training texts and there are none"):
        train_causal(SMALL, [], bpe, tmp_path)
