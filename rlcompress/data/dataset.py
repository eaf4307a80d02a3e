"""Prepared splits as lists of examples, row hashes that find a trained row again, and the order of training."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from rlcompress.data.manifest import SPLITS, Manifest, file_sha256
from rlcompress.errors import UserError
from rlcompress.words import Example, IntArray


def text_hash(*texts: str) -> str:
    """One hash of the texts up to case and white space, equal in every process."""
    plain = "\0".join(" ".join(text.split()).casefold() for text in texts)
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def row_hash(example: Example) -> str:
    """Hash of text and question up to case and white space; id, group and answer do not count."""
    return text_hash(example.text, example.question) if example.question else text_hash(example.text)


def load_split(folder: str | Path, split: str) -> list[Example]:
    """The examples of one prepared split, in the order they were written (shuffled once, by seed).

    Raises:
        UserError: an unknown split, an unprepared folder, or a file that changed since.
    """
    columns = _table(Path(folder), split, ["id", "text", "question", "answer", "group"])
    return [Example(*row) for row in zip(*columns, strict=True)]


def split_tokens(folder: str | Path, split: str) -> list[int]:
    """Reader tokens of each text of a prepared split, in the order of `load_split`; raises as it does."""
    return [int(tokens) for tokens in _table(Path(folder), split, ["tokens"])[0]]


def trained_hashes(folder: str | Path) -> list[str]:
    """Sorted row hashes of the training split: of its rows, and of the source rows that they were cut from."""
    row_hashes, source_hashes = _table(Path(folder), "train", ["hash", "source_hash"])
    return sorted({*row_hashes, *source_hashes})


def _table(folder: Path, split: str, columns: list[str]) -> list[list[Any]]:
    import pyarrow.parquet as pq

    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}: use one of {', '.join(SPLITS)}")
    manifest, path = Manifest.load(folder), folder / f"{split}.parquet"
    if not path.is_file() or file_sha256(path) != manifest.files[path.name]:
        raise UserError(f"{path} is missing or changed since it was prepared: run `data` again")
    table = pq.read_table(path, columns=columns)
    return [table.column(name).to_pylist() for name in columns]


class PromptOrder:
    """Which example stands at each position of an endless training order; a pure function of seed and position.

    Every epoch of `n` positions visits each example once, in another order: resuming needs the position alone.
    """

    def __init__(self, n: int, seed: int) -> None:
        if n < 1:
            raise ValueError(f"an order needs at least one example, got {n}")
        self.n = n
        self.seed = seed

    def take(self, position: int, count: int) -> list[int]:
        """Example indices at `position`, ..., `position + count - 1`; count may exceed an epoch."""
        return [
            int(_permutation(self.n, self.seed, epoch)[offset])
            for epoch, offset in (divmod(p, self.n) for p in range(position, position + count))
        ]


@lru_cache(maxsize=8)
def _permutation(n: int, seed: int, epoch: int) -> IntArray:
    return np.random.default_rng([seed, epoch]).permutation(n)
