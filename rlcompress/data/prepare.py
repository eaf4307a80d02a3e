"""From a source to train, validation and test splits on disk that share no document, row or near-duplicate.

The order matters: documents are split first, the built-in tokenizer is trained on training texts alone, lengths are
then counted in its tokens, and a held-out row that resembles an earlier one is dropped, never the training row.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from rlcompress.config.data import DataConfig
from rlcompress.config.running import Run
from rlcompress.data.dataset import row_hash, text_hash
from rlcompress.data.duplicates import NearDuplicates
from rlcompress.data.manifest import MANIFEST, SPLITS, Manifest, Origin, SplitCounts, file_sha256
from rlcompress.data.own_splits import own_splits
from rlcompress.data.passages import count_tokens, passages
from rlcompress.data.readers import read_rows
from rlcompress.data.splits import apportion, split_documents
from rlcompress.errors import UserError
from rlcompress.words import Example, Tokenizer


class SavableTokenizer(Tokenizer, Protocol):
    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class Row:
    example: Example
    tokens: int
    source_hash: str  # of the row that this passage was cut from


def cached_folder(config: Run) -> Path:
    """Where runs keep data prepared as `config` asks for it, named by its `data` and `reader`."""
    named = json.dumps([config.data.model_dump(mode="json"), config.reader.model_dump(mode="json")], sort_keys=True)
    return Path(config.runs) / "cache" / "data" / hashlib.blake2b(named.encode(), digest_size=8).hexdigest()


def prepare(config: Run, folder: str | Path, tokenizer: SavableTokenizer | None = None) -> Manifest:
    """Write `folder/{train,validation,test}.parquet`, `folder/tokenizer/` and `folder/manifest.json`.

    Nothing is done when the folder already holds the result of the same source, data, reader and seed.

    Args:
        config: its `data`, `reader` and `seed` are used.
        folder: made if missing; earlier prepared data in it is replaced.
        tokenizer: instead of the one `config.reader` names, which is trained or loaded here.

    Raises:
        UserError: an unreadable source, or limits that leave a split empty.
    """
    folder = Path(folder)
    _refuse_foreign(folder, config.data.source)
    own = own_splits(config.data)
    rows = own.read if own else list(read_rows(config.data.source, config.data))
    origin = _origin(config, rows, tokenizer, own.origin(config.data) if own else {})
    ready = _ready(folder, origin)
    if ready is not None:
        return ready
    data = config.data
    documents = own.documents(data) if own else split_documents(rows, data.splits, data.seed, data.fold)
    tokenizer = tokenizer or _reader_tokenizer(config, [row.text for row in documents["train"]])
    dropped = {split: Counter[str]() for split in SPLITS}
    fitting = {split: list(_fitting(documents[split], tokenizer, config.data, dropped[split])) for split in SPLITS}
    cut = sum(len(fitting[split]) + dropped[split].total() for split in SPLITS) - len(rows)
    kept = _distinct(fitting, config, dropped)
    _refuse_empty(kept, config.data, dropped)
    return _write(
        folder, origin, kept, tokenizer, rows_read=len(rows), rows_cut=cut, dropped=sum(dropped.values(), Counter())
    )


def _refuse_foreign(folder: Path, source: str) -> None:
    targets = [folder / name for name in (*(f"{split}.parquet" for split in SPLITS), "tokenizer")]
    if not (folder / MANIFEST).exists() and any(target.exists() for target in targets):
        raise UserError(f"{folder} holds files that were not prepared here: name another folder")
    if Path(source).resolve() in [target.resolve() for target in targets]:
        raise UserError(f"data.source {source} would be overwritten: name another folder")


def _origin(config: Run, rows: Sequence[Example], tokenizer: Tokenizer | None, own: dict[str, str]) -> Origin:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(astuple(row)).encode() + b"\n")
    return Origin(
        source=config.data.source,
        rows_sha256=digest.hexdigest(),
        python=platform.python_version() if config.data.source.startswith("builtin:") else None,
        seed=config.data.seed,
        data=config.data,
        reader=config.reader,
        tokenizer=tokenizer.name if tokenizer else config.reader.tokenizer,
        own_splits=own,
    )


def _ready(folder: Path, origin: Origin) -> Manifest | None:
    try:
        manifest = Manifest.load(folder)
    except UserError:  # none yet, or of another version: prepare afresh
        return None
    return manifest if manifest.origin == origin and manifest.changed(folder) is None else None


def _reader_tokenizer(config: Run, texts: Sequence[str]) -> SavableTokenizer:
    from rlcompress.models.tokenizer import load_tokenizer  # late: a caller with a tokenizer needs no models

    return load_tokenizer(config.reader.tokenizer, vocabulary=config.reader.vocabulary, texts=texts)


def _fitting(rows: Sequence[Example], tokenizer: Tokenizer, data: DataConfig, dropped: Counter[str]) -> Iterator[Row]:
    """Rows within the length limits; long ones are cut, unless they have a question or an answer."""
    for row in rows:
        source_hash = row_hash(row)
        if data.long == "drop" or row.question is not None or row.answer is not None:
            pieces = [(row.text, count_tokens(row.text, tokenizer))]
        else:
            pieces = passages(row.text, tokenizer, data.min_tokens, data.max_tokens)
        for k, (text, tokens) in enumerate(pieces):
            if tokens > data.max_tokens:
                dropped["too_long"] += 1
            elif tokens < data.min_tokens or not text.strip():
                dropped["too_short"] += 1
            else:
                example = row if len(pieces) == 1 else replace(row, id=f"{row.id}.{k}", text=text)
                yield Row(example, tokens, source_hash)


def _distinct(fitting: dict[str, list[Row]], config: Run, dropped: dict[str, Counter[str]]) -> dict[str, list[Row]]:
    """Shuffle each split, drop what repeats an earlier row, stop at the split's part of `data.max_sequences`.

    A copy or near-copy of a row in another split is a leak and always dropped. Within a split, copies with the same
    question are dropped, near-copies only by `data.near_duplicates`.
    """
    limit = config.data.max_sequences
    quotas = {split: limit and apportion(limit, config.data.splits)[split] for split in SPLITS}
    seed = config.data.seed
    flat = [(split, row) for s, split in enumerate(SPLITS) for row in _shuffled(fitting[split], [seed, 1, s])]
    near = NearDuplicates([row.example.text for _, row in flat])
    copies: dict[str, list[int]] = {}
    kept: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for i, (split, row) in enumerate(flat):
        if len(kept[split]) == quotas[split]:
            dropped[split]["max_sequences"] += 1
            continue
        same = copies.setdefault(text_hash(row.example.text), [])
        alike = [n for n in near.matches(i) if config.data.near_duplicates or flat[n][0] != split]
        if _repeats(row, flat, same, split):
            dropped[split]["duplicate"] += 1
        elif _repeats(row, flat, alike, split):
            dropped[split]["near_duplicate"] += 1
        else:
            same.append(i)
            near.add(i)
            kept[split].append(row)
    return kept


def _shuffled(rows: Sequence[Row], seed: Sequence[int]) -> list[Row]:
    return [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]


def _repeats(row: Row, flat: Sequence[tuple[str, Row]], alike: Sequence[int], split: str) -> bool:
    """Whether one of the rows `alike` in text is in another split or asks the same question."""
    question = text_hash(row.example.question or "")
    return any(flat[n][0] != split or text_hash(flat[n][1].example.question or "") == question for n in alike)


def _refuse_empty(kept: dict[str, list[Row]], data: DataConfig, dropped: dict[str, Counter[str]]) -> None:
    mends = {
        "too_short": f"lower data.min_tokens ({data.min_tokens})",
        "too_long": f"raise data.max_tokens ({data.max_tokens}) or cut long texts with data.long=split",
        "max_sequences": f"raise data.max_sequences ({data.max_sequences})",
    }
    for split in SPLITS:
        if getattr(data.splits, split) > 0 and not kept[split]:
            ((worst, _),) = dropped[split].most_common(1)
            mend = mends.get(worst, "give a data.source with fewer repetitions")
            raise UserError(f"no row is left for the {split} split (dropped: {dict(dropped[split])}): {mend}")


def _write(
    folder: Path,
    origin: Origin,
    kept: dict[str, list[Row]],
    tokenizer: SavableTokenizer,
    *,
    rows_read: int,
    rows_cut: int,
    dropped: Counter[str],
) -> Manifest:
    """Write the files, then the manifest by an atomic rename: a folder with a manifest is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for split in SPLITS:
        _write_split(folder / f"{split}.parquet", kept[split])
    tokenizer.save(folder / "tokenizer")
    written = [*(folder / f"{split}.parquet" for split in SPLITS), *sorted((folder / "tokenizer").rglob("*"))]
    manifest = Manifest(
        origin=origin,
        rows_read=rows_read,
        rows_cut=rows_cut,
        splits={split: _counts(kept[split]) for split in SPLITS},
        dropped=dict(sorted(dropped.items())),
        files={path.relative_to(folder).as_posix(): file_sha256(path) for path in written if path.is_file()},
    )
    temporary = folder / f"{MANIFEST}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(manifest.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / MANIFEST)
    return manifest


def _counts(rows: Sequence[Row]) -> SplitCounts:
    groups = {row.example.group for row in rows}
    return SplitCounts(rows=len(rows), tokens=sum(row.tokens for row in rows), documents=len(groups))


def _write_split(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["id", "text", "question", "answer", "group", "hash", "source_hash", "tokens"]
    schema = pa.schema([(name, pa.int64() if name == "tokens" else pa.string()) for name in names])
    records = [(*astuple(row.example), row_hash(row.example), row.source_hash, row.tokens) for row in rows]
    pq.write_table(pa.table([list(c) for c in zip(*records, strict=True)] or [[]] * len(names), schema=schema), path)
