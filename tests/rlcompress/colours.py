"""A small task with a known optimum: each colour comes with one thing, so either gives the other away.

Of every pair one word is worth keeping and only one: with one of each kept, all the rest costs a good judge 0 bits.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rlcompress.config.schema import DataConfig, ReaderConfig, RunConfig
from rlcompress.data.dataset import load_split
from rlcompress.data.prepare import prepare
from rlcompress.models.tokenizer import load_tokenizer
from rlcompress.text.segment import Segmenter
from rlcompress.words import JudgeRequest

COLOURS = ["red", "green", "blue", "black", "white", "brown", "grey", "pink"]
THINGS = ["rose", "leaf", "sky", "coal", "snow", "wood", "ash", "pig"]


def planted_rows(count: int, seed: int = 0) -> list[str]:
    """Each colour comes with one thing: with every colour kept, the things cost nothing."""
    rng = np.random.default_rng(seed)
    return [" ".join(f"{COLOURS[i]} {THINGS[i]}" for i in row) for row in rng.integers(8, size=(count, 4))]


def write_source(folder: Path, count: int = 200) -> Path:
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": row}) + "\n" for row in planted_rows(count)))
    return source


def write_data(folder: Path) -> Path:
    """Prepared splits; nearly every word is one token."""
    settings = DataConfig(source=str(write_source(folder)), min_tokens=1, near_duplicates=False)
    prepare(RunConfig(data=settings, reader=ReaderConfig(vocabulary=400)), folder / "data")
    return folder / "data"


def own_masks(data: Path, count: int = 12, seed: int = 0) -> list[JudgeRequest]:
    """A policy that has found the optimum: every colour is kept, every thing dropped."""
    segmenter = Segmenter(load_tokenizer(str(data / "tokenizer")))
    texts = load_split(data, "train")
    rows = np.random.default_rng(seed).integers(len(texts), size=count)
    units = [segmenter(texts[row].text) for row in rows]
    return [JudgeRequest(u.text, u.starts_N, np.arange(len(u)) % 2 == 0) for u in units]
