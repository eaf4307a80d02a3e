"""Tokenizers: round trips, spans in characters, and equal ids in every process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rlcompress.errors import UserError
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer, train_tokenizer
from tests.rlcompress.small_models import TEXTS, save_gpt2, save_wordpiece

AWKWARD = [
    "",
    " ",
    "\n\t x",
    "日本語のテキスト。",
    "👍🏽👩‍👩‍👧 ok",
    "e\u0301 한국어",
    "a\u0000b",
    "\ud800 lone",
    "x" * 300,
]


@pytest.mark.parametrize("text", AWKWARD)
def test_spans_are_characters_of_the_text(bpe: TextTokenizer, text: str) -> None:
    ids_T, spans_T2 = bpe.encode(text)
    assert spans_T2.shape == (len(ids_T), 2)
    covered = [False] * len(text)
    for a, b in spans_T2.tolist():
        assert 0 <= a < b <= len(text)
        covered[a:b] = [True] * (b - a)
    assert all(covered)
    assert (spans_T2[1:, 0] >= spans_T2[:-1, 0]).all()
    assert bpe.decode(ids_T) == text.replace("\ud800", "?")


TRAINED = train_tokenizer(TEXTS, 300)


@given(st.text())
@example("[MASK]")
@example("a [PAD] b")
def test_any_text_encodes(text: str) -> None:
    """Also what looks like a special token: in a text it is text."""
    ids_T, spans_T2 = TRAINED.encode(text)
    assert TRAINED.decode(ids_T) == text.encode("utf-8", "replace").decode()
    assert {i for a, b in spans_T2.tolist() for i in range(a, b)} == set(range(len(text)))
    assert not {TRAINED.mask_id, TRAINED.pad_id} & set(ids_T.tolist())


def same(a: TextTokenizer, b: TextTokenizer) -> bool:
    rows = [(x.encode(text)[0].tolist(), x.encode(text)[1].tolist()) for x in (a, b) for text in [*TEXTS, *AWKWARD]]
    half = len(rows) // 2
    return rows[:half] == rows[half:] and (a.version, a.mask_id, a.pad_id) == (b.version, b.mask_id, b.pad_id)


def test_folder_and_pickle_round_trips(bpe: TextTokenizer, tmp_path: Path) -> None:
    bpe.save(tmp_path / "new" / "tokenizer")
    loaded = load_tokenizer(str(tmp_path / "new" / "tokenizer"))
    assert same(bpe, loaded)
    assert loaded.vocabulary == bpe.vocabulary <= 420
    assert same(bpe, pickle.loads(pickle.dumps(bpe)))
    assert (bpe.mask_id, bpe.pad_id) == (0, 1)


def test_versions_tell_tokenizers_apart(bpe: TextTokenizer) -> None:
    assert train_tokenizer(TEXTS, 400).version != bpe.version


def test_two_interpreters_train_the_same_tokenizer() -> None:
    code = (
        "from rlcompress.models.tokenizer import train_tokenizer\n"
        "from tests.rlcompress.small_models import TEXTS\n"
        "t = train_tokenizer(TEXTS * 3, 400)\n"
        "print(t.version, [t.encode(x)[0].tolist() for x in TEXTS])"
    )
    outputs = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "", "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[3],
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    here = train_tokenizer(TEXTS * 3, 400)
    assert outputs == {f"{here.version} {[here.encode(x)[0].tolist() for x in TEXTS]}\n"}


def test_a_hugging_face_folder(tmp_path: Path) -> None:
    save_wordpiece(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path))
    ids_T, spans_T2 = tokenizer.encode("The OLD man, zqx 日")
    assert [tokenizer.decode(ids_T[i : i + 1]) for i in range(4)] == ["the", "old", "man", ","]
    assert spans_T2[:4].tolist() == [[0, 3], [4, 7], [8, 11], [11, 12]]
    assert spans_T2[-1].tolist() == [17, 18]  # unknown, but placed
    assert (tokenizer.mask_id, tokenizer.pad_id) == (4, 0)
    assert tokenizer.mask_id not in tokenizer.encode("a [MASK] b")[0]
    assert same(tokenizer, pickle.loads(pickle.dumps(tokenizer)))


def test_a_folder_without_mask_token(bpe: TextTokenizer, tmp_path: Path) -> None:
    loaded = load_tokenizer(str(save_gpt2(tmp_path, bpe)))
    assert loaded.mask_id is None
    assert [loaded.encode(t)[0].tolist() for t in TEXTS] == [bpe.encode(t)[0].tolist() for t in TEXTS]


def test_what_was_encoded_before_is_as_it_was(bpe: TextTokenizer) -> None:
    """Whatever a caller did to its arrays."""
    for text in TEXTS:
        for array in bpe.encode(text):
            array[:] = 7
        fresh = pickle.loads(pickle.dumps(bpe))
        assert all((a == b).all() for a, b in zip(fresh.encode(text), bpe.encode(text), strict=True))


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be trained"):
        load_tokenizer("builtin:bpe")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_tokenizer(str(tmp_path / "nothing"))
    (tmp_path / "tokenizer.json").write_text("{broken")
    with pytest.raises(UserError, match="is no tokenizer"):
        load_tokenizer(str(tmp_path))
