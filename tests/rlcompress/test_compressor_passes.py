"""Artifacts of several passes: what they promise, how they are served, and that older ones stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rlcompress.artifact import read_manifest, save_artifact
from rlcompress.compressor import Compressor, CompressorMethod
from rlcompress.errors import UserError
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.passes import served_priorities
from rlcompress.selection import select
from rlcompress.words import Example
from tests.rlcompress.small_models import TEXTS, small_scorer
from tests.rlcompress.test_artifact import manifest

RATES = (0.2, 0.5, 0.9, 1.0)


@pytest.fixture
def folder(bpe: TextTokenizer, tmp_path: Path) -> Path:
    save_artifact(tmp_path / "artifact", manifest(passes=3, nested=False), small_scorer(bpe, passes=3).network, bpe)
    return tmp_path / "artifact"


@pytest.fixture
def compressor(folder: Path) -> Compressor:
    return Compressor.from_pretrained(folder, device="cpu")


def test_it_is_served_in_its_passes_wherever_it_is_served(bpe: TextTokenizer, compressor: Compressor) -> None:
    scorer = small_scorer(bpe, passes=3)
    units = [compressor.segmenter(text) for text in TEXTS]
    method = CompressorMethod(compressor)
    changed = 0
    for rate in RATES:
        expected = [
            select(u, p, rate)
            for u, p in zip(units, served_priorities(scorer, 3, units, [None] * len(units), rate), strict=True)
        ]
        served = compressor.compress(TEXTS, rate, abstain=False)
        evaluated = method.priorities(units, [Example(text, text) for text in TEXTS], rate, seed=0)
        once = scorer.scores(units, [None] * len(units))
        for one, priorities_N, unit, wanted, score_N in zip(served, evaluated, units, expected, once, strict=True):
            assert one.text == wanted.text == select(unit, priorities_N, rate).text
            changed += one.text != select(unit, score_N, rate).text
    assert changed, "three passes are not one"


def test_target_tokens_and_protection_hold_in_every_pass(compressor: Compressor) -> None:
    one = compressor.compress(TEXTS[0], target_tokens=6, protect=("again",))
    assert one.kept_tokens <= 6 or one.status == "over_budget"
    assert one.text.count("again") == one.source.count("again")


def test_it_is_deterministic(compressor: Compressor) -> None:
    assert compressor.compress(TEXTS, 0.4) == compressor.compress(TEXTS, 0.4)


def test_the_manifest_promises_nesting_of_one_pass_alone(folder: Path) -> None:
    found = read_manifest(folder)
    assert (found.passes, found.nested) == (3, False)
    with pytest.raises(ValueError, match="not nested"):
        manifest(passes=2)
    file = folder / "manifest.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps({**fields, "passes": 1}))
    with pytest.raises(UserError, match="does not fit"):
        Compressor.from_pretrained(folder, device="cpu")


def test_an_artifact_from_before_there_were_passes_has_one(bpe: TextTokenizer, tmp_path: Path) -> None:
    scorer = small_scorer(bpe)
    save_artifact(tmp_path / "old", manifest(), scorer.network, bpe)
    file = tmp_path / "old" / "manifest.json"
    fields = {k: v for k, v in json.loads(file.read_text()).items() if k not in ("passes", "nested")}
    file.write_text(json.dumps(fields))
    old = Compressor.from_pretrained(tmp_path / "old", device="cpu")
    assert (old.manifest.passes, old.manifest.nested) == (1, True)
    units = [old.segmenter(text) for text in TEXTS]
    for a, b in zip(old.priorities(units, [None] * len(units)), scorer.scores(units, [None] * len(units)), strict=True):
        np.testing.assert_array_equal(a, b)
