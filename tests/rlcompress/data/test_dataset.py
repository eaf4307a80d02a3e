from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.data.dataset import PromptOrder, load_split, row_hash, trained_hashes
from rlcompress.errors import UserError
from rlcompress.words import Example


def test_row_hash_knows_a_row_again() -> None:
    row = Example("a", "Some  Text\nhere", "What is it?", "text", "g")
    assert row_hash(row) == row_hash(Example("b", " some text HERE ", "what  is it?", None, "h"))
    assert row_hash(row) != row_hash(Example("a", "Some text here", "Who is it?"))
    assert row_hash(row) != row_hash(Example("a", "Some text here"))
    assert row_hash(Example("a", "Some text here", "")) == row_hash(Example("a", "some text here"))
    assert row_hash(Example("a", "ab", "c")) != row_hash(Example("a", "a", "bc"))


def test_row_hash_is_the_same_for_ever() -> None:
    # written into artifacts: a change would make every trained row unknown
    assert row_hash(Example("a", "The cat sat.", "Where?")) == "9ed6831f0788b885f2a497a5a521a1fb"


def test_unprepared_folders_and_unknown_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no manifest\.json: run `data`"):
        load_split(tmp_path, "train")
    with pytest.raises(UserError, match="unknown split 'valid': use one of train, validation, test"):
        load_split(tmp_path, "valid")
    (tmp_path / "manifest.json").write_text('{"version": 99}')
    with pytest.raises(UserError, match="not a manifest of this version"):
        trained_hashes(tmp_path)


@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 200), st.integers(0, 100))
def test_order_visits_all_each_epoch_and_resumes_anywhere(n: int, seed: int, position: int, count: int) -> None:
    order = PromptOrder(n, seed)
    epochs = (position + count) // n + 1
    whole = order.take(0, epochs * n)
    for epoch in range(epochs):
        assert sorted(whole[epoch * n : (epoch + 1) * n]) == list(range(n))
    assert PromptOrder(n, seed).take(position, count) == whole[position : position + count]


def test_epochs_and_seeds_differ() -> None:
    order = PromptOrder(50, 0)
    assert order.take(0, 50) != order.take(50, 50)
    assert order.take(0, 50) != PromptOrder(50, 1).take(0, 50)
    with pytest.raises(ValueError, match="at least one example"):
        PromptOrder(0, 0)
