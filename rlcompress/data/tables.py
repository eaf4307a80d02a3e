"""Records of a table, whatever is read out of them: a JSON Lines, JSON or Parquet file, or a data set of the hub.

Each comes as (place, record): the place names file and line, for whoever finds the record wanting.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rlcompress.data.records import Record
from rlcompress.errors import UserError


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line without its end), counted from 1; a file that ends in .gz is unpacked.

    Raises:
        UserError: not UTF-8, or broken gzip.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            for number, line in enumerate(file, 1):
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise UserError(f"{path}:{number}: not UTF-8 ({error.reason}): convert the file") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{path}: broken gzip ({error}): fetch the file again") from None


def json_lines(path: Path) -> Iterator[tuple[str, Record]]:
    for number, line in lines(path):
        if line.strip():
            try:
                yield f"{path}:{number}", json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise UserError(f"{path}:{number}: broken JSON ({error}): expected one object a line") from None


def json_items(path: Path) -> Iterator[tuple[str, Record]]:
    text = "\n".join(line for _, line in lines(path))
    if not text.strip():
        return iter(())
    try:
        rows = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise UserError(f"{path}:{line}: broken JSON ({error}): for one object a line use the ending .jsonl") from None
    if not isinstance(rows, list):
        raise UserError(f"{path}:1: holds {type(rows).__name__}, expected a list of objects")
    return ((f"{path}: item {n}", row) for n, row in enumerate(rows, 1))


def parquet_rows(path: Path) -> Iterator[tuple[str, Record]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as Parquet ({_first_line(error)}): write the file again") from None
    return ((f"{path}: row {n}", row) for n, row in enumerate(rows, 1))


def hub_rows(name: str, hub_config: str | None, hub_split: str) -> Iterator[tuple[str, Record]]:
    import datasets

    try:
        table = datasets.load_dataset(name, hub_config, split=hub_split)
    except Exception as error:  # the library raises dozens of types: unknown id, offline, wrong split, bad server
        raise UserError(
            f"data.source: cannot load {name!r} (hub_config {hub_config}, hub_split {hub_split}): "
            f"{_first_line(error)}; check the three, go online, or name a local file"
        ) from error
    rows: Iterator[Any] = iter(table)
    return ((f"{name}: row {n}", row) for n, row in enumerate(rows, 1))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


TABLES: dict[str, Callable[[Path], Iterator[tuple[str, Record]]]] = {
    ".jsonl": json_lines,
    ".json": json_items,
    ".parquet": parquet_rows,
}
