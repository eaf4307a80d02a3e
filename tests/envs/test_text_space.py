"""The space of all strings, alone and inside batches and vector environments."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from hypothesis import given
from hypothesis import strategies as st

from envs.text_space import UnicodeText


@given(st.text() | st.text(st.characters(categories=["Cs", "Mn", "So", "Lo"])))
def test_every_string_belongs_and_survives_json(text):
    space = UnicodeText()
    assert text in space
    assert space.from_jsonable(json.loads(json.dumps(space.to_jsonable([text])))) == [text]


@pytest.mark.parametrize("value", [None, 3, b"bytes", ["a"], np.asarray(["a"])])
def test_only_strings_belong(value):
    assert value not in UnicodeText()


def test_samples_are_seeded_varied_and_inside():
    samples = [UnicodeText(seed=7).sample() for _ in range(2)]
    assert samples[0] == samples[1]
    space = UnicodeText(seed=7)
    many = [space.sample() for _ in range(200)]
    assert len(set(many)) > 150
    assert all(text in space for text in many)
    assert any(ord(c) > 0xFFFF for text in many for c in text)


def test_equality_pickle_and_dict():
    assert UnicodeText() == UnicodeText(seed=1)
    assert UnicodeText() != spaces.Text(5)
    assert pickle.loads(pickle.dumps(UnicodeText(seed=3))).sample() == UnicodeText(seed=3).sample()
    space = spaces.Dict({"text": UnicodeText()})
    assert {"text": "é\n"} in space


def test_batches_are_tuples_of_strings():
    single = spaces.Dict({"text": UnicodeText(), "rate": spaces.Box(0, 1, (1,))})
    batched = batch_space(single, 3)
    items = [{"text": t, "rate": np.asarray([r], np.float32)} for t, r in (("a", 0.1), ("日本", 0.2), ("", 0.3))]
    joined = concatenate(single, items, create_empty_array(single, 3))
    assert joined["text"] == ("a", "日本", "")
    assert joined in batched
    assert [row["text"] for row in iterate(batched, joined)] == ["a", "日本", ""]
    assert create_empty_array(single, 2)["text"] == ("", "")
    assert len(set(batched.sample()["text"])) > 1
