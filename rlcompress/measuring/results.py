"""Results on disk: figures in `results.json`, every compressed text, and the items that the figures were made of.

results.json    figures, comparisons and settings          outputs.jsonl   every compressed text
items.parquet   quantities of each (method, rate, seed, item)   texts.jsonl     the originals
table.txt       the table as printed
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rlcompress.errors import UserError
from rlcompress.measuring.evaluation import Cell, Evaluation, Settings
from rlcompress.measuring.metrics import FURTHER, QUANTITIES
from rlcompress.measuring.pooling import chain, pool, pooled_document, without_seed
from rlcompress.measuring.summary import Row, summarise
from rlcompress.measuring.tables import text_table
from rlcompress.words import Example, Status

SCHEMA = 1
_SLICE = "slice:"  # prefix of the columns of `items.parquet` that hold labels of slices
FILES = ("results.json", "outputs.jsonl", "texts.jsonl", "items.parquet", "table.txt")


def write_results(evaluation: Evaluation, out: Path) -> Row:
    """Write all `FILES` into the folder `out` and return the document of `results.json`."""
    out.mkdir(parents=True, exist_ok=True)
    beside = {"passes": evaluation.passes, "settings": asdict(evaluation.settings)}
    beside |= {"trainings": evaluation.trainings} if evaluation.trainings else {}
    beside |= {"models": evaluation.models} if evaluation.models else {}
    figures = {"schema": SCHEMA, **_figures(evaluation), **beside}
    document: Row = json.loads(_json(figures))  # what is returned is what a reader of the file gets
    _replace(out / "outputs.jsonl", _lines(_output_rows(evaluation)))
    _replace(out / "texts.jsonl", _lines(asdict(example) for example in evaluation.examples))
    pq.write_table(_items(evaluation), out / "items.parquet", compression="zstd")
    _replace(out / "table.txt", text_table(document) + "\n")
    _replace(out / "results.json", json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    return document


def _figures(evaluation: Evaluation) -> Row:
    together = pooled_document(evaluation)
    return summarise(evaluation) | ({"over_seeds": together} if together else {})


def load_results(path: Path) -> Row:
    """The document of `results.json`; `path` is that file or its folder.

    Raises:
        UserError: no such file, no JSON, or written by another version.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        document: Row = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there are no results in {path}: run `evaluate` first") from None
    except json.JSONDecodeError as why:
        raise UserError(f"{file} is not JSON ({why}): run `evaluate` again") from None
    if document.get("schema") != SCHEMA:
        raise UserError(f"{file} has schema {document.get('schema')}, this version reads {SCHEMA}: evaluate again")
    return document


def recompute(path: Path) -> Row:
    """The document of `results.json` made again from the stored items: equal to the stored one, interval by interval.

    Raises:
        UserError: the folder holds no results, or not the items that belong to them.
    """
    return {**load_results(path), **json.loads(_json(_figures(_stored(path))))}


def _stored(path: Path) -> Evaluation:
    """What was measured, from the stored items."""
    folder = path if path.is_dir() else path.parent
    document = load_results(path)
    stored: Row = {**document["settings"], **{k: tuple(document["settings"][k]) for k in ("rates", "metrics")}}
    try:
        columns = pq.read_table(folder / "items.parquet").to_pydict()
    except FileNotFoundError:
        raise UserError(f"{folder} lacks items.parquet, which the intervals are computed from") from None
    examples, cells = _cells(columns)
    sliced = [name for name in columns if name.startswith(_SLICE)]
    return Evaluation(
        Settings(**stored),
        document["data"],
        document["judge"],
        examples,
        cells,
        unavailable=document["unavailable"],
        passes=document.get("passes", {}),
        slices={name.removeprefix(_SLICE): columns[name][: len(examples)] for name in sliced},
        trainings=document.get("trainings", {}),
        models=document.get("models", {}),
    )


def results_of(run: Path) -> Path:
    """The folder of a run's results: its `evaluation`, or the folder itself where it holds some."""
    return run / "evaluation" if (run / "evaluation").is_dir() else run


def pooled_runs(runs: Sequence[Path]) -> Row:
    """`pooled` of the results of runs or folders; methods that not all of them have are named without their seed."""
    folders = [results_of(run) for run in runs]
    methods = [{row["method"] for row in load_results(folder)["results"]} for folder in folders]
    common = set.intersection(*methods)
    return pooled(folders, lambda name: name if name in common else without_seed(name))


def pooled(paths: Sequence[Path], name: Callable[[str], str] = str) -> Row:
    """One document for the results of several training seeds: the seeds of each method are those of all of them.

    `name` gives a method's name without its training seed, where runs are named by theirs.

    Intervals then tell how figures vary over texts with training seeds averaged; `seed_sd` tells how they vary over
    training seeds, and so do `marks`, `seeds_low` and `seeds_high` of a comparison (see `pool`).

    Raises:
        UserError: results of other rows or settings, or of other methods, than the first's.
    """
    evaluations = _under(name, paths)
    for path, other in zip(paths, evaluations, strict=True):
        if [e.id for e in other.examples] != [e.id for e in evaluations[0].examples]:
            raise UserError(f"{path} measured other rows than {paths[0]}: pool results of one held-out set")
    _require_alike(paths, evaluations)
    document: Row = json.loads(_json(pool(evaluations, _own_comparisons(paths, name))))
    return document


def pooled_splits(paths: Sequence[Path], name: Callable[[str], str] = str) -> Row:
    """As `pooled`, for training seeds that each had a split of its own; a row counts for each that measured it.

    Raises:
        UserError: results of other methods, rates or metrics than the first's.
    """
    evaluations = _under(name, paths)
    _require_alike(paths, evaluations)
    document: Row = json.loads(_json(chain(evaluations, _own_comparisons(paths, name))))
    return document


def _under(name: Callable[[str], str], paths: Sequence[Path]) -> list[Evaluation]:
    return [_renamed(_stored(path), name) for path in paths]


def _require_alike(paths: Sequence[Path], evaluations: Sequence[Evaluation]) -> None:
    """Only what measured the same methods at the same rates by the same metrics goes together."""
    first = evaluations[0]
    for path, other in zip(paths, evaluations, strict=True):
        if [(c.method, c.rate) for c in other.cells] != [(c.method, c.rate) for c in first.cells]:
            raise UserError(f"{path} measured other methods or rates than {paths[0]}: pool results of one study")
        if (other.settings.metrics, other.settings.reference) != (first.settings.metrics, first.settings.reference):
            raise UserError(f"{path} has other metrics or another reference than {paths[0]}: pool results of one study")


def _own_comparisons(paths: Sequence[Path], name: Callable[[str], str]) -> list[list[Row]]:
    return [
        [row | {key: name(row[key]) for key in ("method", "against")} for row in load_results(path)["comparisons"]]
        for path in paths
    ]


def _renamed(evaluation: Evaluation, name: Callable[[str], str]) -> Evaluation:
    settings = replace(evaluation.settings, reference=name(evaluation.settings.reference))
    cells = [replace(cell, method=name(cell.method)) for cell in evaluation.cells]
    passes = {name(method): count for method, count in evaluation.passes.items()}
    return replace(evaluation, settings=settings, cells=cells, passes=passes)


def read_jsonl(path: Path) -> Iterator[Row]:
    """The objects of a JSON-lines file; a last line that was cut off while being written is left out."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n") and line.strip():
                yield json.loads(line)


def _output_rows(evaluation: Evaluation) -> Iterator[Row]:
    for output in evaluation.outputs:
        yield {"id": evaluation.examples[output.item].id, **asdict(output)}


def _items(evaluation: Evaluation) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in ("method", "rate", "stochastic", "seed", "item", "status")}
    measured = list(evaluation.cells[0].quantities) if evaluation.cells else list(QUANTITIES)
    columns |= {name: [] for name in ("id", "group", *measured)}
    n_items = len(evaluation.examples)
    for cell in evaluation.cells:
        n_seeds = len(cell.statuses)
        size = n_seeds * n_items
        columns["method"] += [cell.method] * size
        columns["rate"] += [cell.rate] * size
        columns["stochastic"] += [cell.stochastic] * size
        columns["seed"] += np.repeat(np.arange(n_seeds), n_items).tolist()
        columns["item"] += list(range(n_items)) * n_seeds
        columns["status"] += [status.value for row in cell.statuses for status in row]
        columns["id"] += [example.id for example in evaluation.examples] * n_seeds
        columns["group"] += [example.group for example in evaluation.examples] * n_seeds
        for name in measured:
            columns[name] += cell.quantities[name].ravel().tolist()
        for name, labels in evaluation.slices.items():
            columns.setdefault(_SLICE + name, []).extend(labels * n_seeds)
    return pa.table(columns)


def _cells(columns: dict[str, list[Any]]) -> tuple[list[Example], list[Cell]]:
    """Examples (without their texts) and cells; rows of a cell stand together, by seed and then by item."""
    n_items = max(columns["item"], default=-1) + 1
    examples = [Example(columns["id"][i], "", group=columns["group"][i]) for i in range(n_items)]
    numbers = {name: np.asarray(columns[name], np.float64) for name in (*QUANTITIES, *FURTHER) if name in columns}
    where: dict[tuple[str, float], list[int]] = {}
    for row, key in enumerate(zip(columns["method"], columns["rate"], strict=True)):
        where.setdefault(key, []).append(row)
    cells = []
    for (method, rate), rows in where.items():
        statuses = [
            [Status(columns["status"][row]) for row in rows[start : start + n_items]]
            for start in range(0, len(rows), n_items)
        ]
        quantities = {name: values[rows].reshape(-1, n_items) for name, values in numbers.items()}
        cells.append(Cell(method, rate, columns["stochastic"][rows[0]], statuses, quantities))
    return examples, cells


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, default=_plain)


def _lines(rows: Iterable[Row]) -> str:
    return "".join(_json(row) + "\n" for row in rows)


def _replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
