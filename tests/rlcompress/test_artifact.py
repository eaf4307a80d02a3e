"""The artifact: equal scores after a round trip, equal bytes from equal weights, one line for what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rlcompress.artifact import Manifest, load_scorer, read_manifest, save_artifact, trained_hashes
from rlcompress.config.schema import PolicyConfig
from rlcompress.errors import UserError
from rlcompress.models.scorer import TextScorer
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.text.segment import Segmenter
from tests.rlcompress.small_models import TEXTS, save_bert, small_scorer

CPU = torch.device("cpu")


def manifest(**changes: object) -> Manifest:
    fields = {
        "name": "test",
        "created_by": "0",
        "policy": PolicyConfig(width=16, layers=1, window=24),
        "granularity": "word",
        "protect": ("numbers",),
        "rates": (0.5,),
        "seed": 0,
        "iteration": 3,
        "stage": "rl",
        "data": {"source": "x"},
        "trained_rows": ("ab", "cd"),
    }
    return Manifest.model_validate({**fields, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def scores(scorer: TextScorer, reader: TextTokenizer) -> list[list[float]]:
    units = [Segmenter(reader)(text) for text in TEXTS]
    return [s.tolist() for s in scorer.scores(units, ["who"] * len(units))]


@pytest.fixture
def folder(bpe: TextTokenizer, tmp_path: Path) -> Path:
    save_artifact(tmp_path / "artifact", manifest(), small_scorer(bpe).network, bpe)
    return tmp_path / "artifact"


def test_round_trip(bpe: TextTokenizer, folder: Path) -> None:
    loaded, scorer, reader = load_scorer(folder, CPU)
    assert loaded == manifest() == read_manifest(folder)
    assert reader.version == bpe.version
    assert scores(scorer, reader) == scores(small_scorer(bpe), bpe)
    assert scorer.features.window == 24
    assert trained_hashes(folder) == ("ab", "cd")


def test_equal_weights_give_equal_bytes(bpe: TextTokenizer, folder: Path) -> None:
    before = contents(folder)
    _, scorer, reader = load_scorer(folder, CPU)
    save_artifact(folder, manifest(), scorer.network, reader)
    assert contents(folder) == before
    assert set(before) == {"manifest.json", "model.safetensors", "tokenizer/tokenizer.json"}


def test_an_encoder_travels_without_its_folder(bpe: TextTokenizer, tmp_path: Path) -> None:
    """Loaded, and saved again, after the model's folder is gone."""
    source, folder = save_bert(tmp_path / "bert", masked=False), tmp_path / "artifact"
    scorer = small_scorer(bpe, encoder=str(source))
    expected = scores(scorer, bpe)
    policy = PolicyConfig(encoder=str(source), window=24)
    save_artifact(folder, manifest(policy=policy), scorer.network, bpe)
    before = contents(folder)
    shutil.rmtree(source)
    _, loaded, reader = load_scorer(folder, CPU)
    for a, b in zip(scores(loaded, reader), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    save_artifact(tmp_path / "again", manifest(policy=policy), loaded.network, reader)
    again = contents(tmp_path / "again")
    assert again.keys() == before.keys()
    for name in ("model.safetensors", "manifest.json", "tokenizer/tokenizer.json", "encoder/tokenizer.json"):
        assert again[name] == before[name]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no folder", "no artifact in"),
        ("no manifest", "no artifact in"),
        ("broken manifest", "cannot be read"),
        ("binary manifest", "cannot be read"),
        ("list manifest", "has format None"),
        ("newer manifest", "has format 2, this version reads 1: update rlcompress"),
        ("unknown field", "cannot be read"),
        ("no weights", r"has no model\.safetensors"),
        ("cut weights", "is damaged or does not fit"),
        ("text weights", "is damaged or does not fit"),
        ("other width", "is damaged or does not fit"),
        ("no tokenizer", "cannot be loaded"),
        ("broken tokenizer", "is no tokenizer"),
    ],
)
def test_damage_is_one_line(folder: Path, damage: str, message: str) -> None:
    file, weights, tokenizer = (
        folder / "manifest.json",
        folder / "model.safetensors",
        folder / "tokenizer/tokenizer.json",
    )
    fields = json.loads(file.read_text())
    actions: dict[str, Callable[[], object]] = {
        "no folder": lambda: shutil.rmtree(folder),
        "no manifest": lambda: file.unlink(),
        "broken manifest": lambda: file.write_text(file.read_text()[:100]),
        "binary manifest": lambda: file.write_bytes(b"\xff\xfe\x00"),
        "list manifest": lambda: file.write_text("[1]"),
        "newer manifest": lambda: file.write_text(json.dumps({**fields, "format": 2})),
        "unknown field": lambda: file.write_text(json.dumps({**fields, "surprise": 2})),
        "no weights": lambda: weights.unlink(),
        "cut weights": lambda: weights.write_bytes(weights.read_bytes()[:-100]),
        "text weights": lambda: weights.write_text("weights"),
        "other width": lambda: file.write_text(json.dumps({**fields, "policy": {**fields["policy"], "width": 32}})),
        "no tokenizer": lambda: shutil.rmtree(folder / "tokenizer"),
        "broken tokenizer": lambda: tokenizer.write_text("{"),
    }
    actions[damage]()
    with pytest.raises(UserError, match=message) as caught:
        load_scorer(folder, CPU)
    assert "\n" not in str(caught.value)


def test_an_artifact_from_before_there_were_samplers_meets_a_budget(folder: Path) -> None:
    file = folder / "manifest.json"
    fields = json.loads(file.read_text())
    assert fields.pop("sampler") == "exact"
    file.write_text(json.dumps(fields))
    assert read_manifest(folder).sampler == "exact"
    file.write_text(json.dumps({**fields, "sampler": "gumbel"}))
    with pytest.raises(UserError, match="cannot be read"):
        read_manifest(folder)
