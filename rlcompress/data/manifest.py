"""`manifest.json`: what a folder of prepared data was made from, and what it holds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from rlcompress.config.schema import DataConfig, ReaderConfig
from rlcompress.errors import UserError

MANIFEST = "manifest.json"
SPLITS = ("train", "validation", "test")


class SplitCounts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    tokens: int  # reader tokens of the texts, questions not counted
    documents: int


class Origin(BaseModel):
    """Everything the result depends on: equal origins give equal files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1  # of this schema and of the way that rows are prepared
    source: str
    rows_sha256: str  # of all rows as they were read
    python: str | None  # for the built-in corpus, whose text comes with Python
    seed: int
    data: DataConfig
    reader: ReaderConfig
    tokenizer: str
    own_splits: dict[str, str] = {}  # of sources that have some: what each is there, or what it was cut from

    @model_serializer(mode="wrap")
    def _without_what_is_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Data of other sources keeps the hash that it always had."""
        values: dict[str, Any] = handler(self)
        return values if self.own_splits else {key: value for key, value in values.items() if key != "own_splits"}


class Manifest(BaseModel):
    """Counts add up: rows read + passages cut off = rows in all splits + dropped rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origin: Origin
    rows_read: int
    rows_cut: int  # extra rows that came from splitting long texts
    splits: dict[str, SplitCounts]
    dropped: dict[str, int]  # reason -> rows
    files: dict[str, str]  # path below the folder -> sha256

    @property
    def hash(self) -> str:
        """One hash of the data, for run records; equal for equal origins and files."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read a folder's manifest.

        Raises:
            UserError: none there, or not one of ours.
        """
        path = folder / MANIFEST
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise UserError(f"{folder} holds no {MANIFEST}: run `data` to prepare it") from None
        except ValidationError as error:
            raise UserError(
                f"{path} is not a manifest of this version ({error.error_count()} fields): run `data` again"
            ) from None

    def changed(self, folder: Path) -> str | None:
        """The first file that is missing or not as it was written; none when all are."""
        for name, digest in self.files.items():
            path = folder / name
            if not path.is_file() or file_sha256(path) != digest:
                return name
        return None


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
