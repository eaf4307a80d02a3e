"""One self-contained HTML page from run directories: settings, learning, results and texts, nothing from the network.

Only what a run wrote is shown. What a run did not write is named as missing and leaves no plot.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml
from markupsafe import Markup
from matplotlib.figure import Figure

from rlcompress import plots as draw
from rlcompress.alarms import alarms
from rlcompress.errors import UserError
from rlcompress.meters import costs
from rlcompress.metrics import METRICS
from rlcompress.results import load_results, read_jsonl
from rlcompress.stability import over_seeds, stability
from rlcompress.summary import Row, is_significant, ranked

SPREAD_FLOOR = 1e-3  # a reward that spreads less teaches nothing
LARGEST = 10.0  # rewards should be of order 1
_SHOWN_SETTINGS = (
    "seed",
    "device",
    "data.source",
    "env.granularity",
    "env.rates",
    "policy.encoder",
    "policy.prior",
    "judges.reward.model",
    "judges.heldout.model",
    "learner.algorithm",
    "learner.iterations",
    "learner.prompts_per_step",
    "learner.samples_per_prompt",
    "learner.lr",
    "warm_start.steps",
)
_PLOTTED = ("distortion_bits", "distortion_bits_adapted", "answer_retention")


def write_report(
    runs: Sequence[Path], plots: Path | None = None, *, out: Path | None = None, samples: int = 8, seed: int = 0
) -> Path:
    """Write the report and return its path: `report.html` in the run, or beside the runs if there are several.

    Args:
        runs: run directories; a folder that holds a `results.json` itself also serves.
        plots: folder that also gets every figure as PNG and PDF.
        out: another place for the report.
        samples: texts shown of each run, drawn at random.
        seed: of that draw.

    Raises:
        UserError: no run is given, or one is no folder.
    """
    if not runs:
        raise UserError("give at least one run directory")
    for run in runs:
        if not run.is_dir():
            raise UserError(f"{run} is no run directory: give a folder with metrics.jsonl or evaluation/results.json")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    with draw.styled():
        sections = [_section(run, plots, samples, seed) for run in runs]
    page = environment.get_template("report.html.j2").render(runs=sections, metrics=METRICS, seeds=_over_runs(sections))
    path = out or (runs[0] if len(runs) == 1 else runs[0].parent) / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _section(run: Path, plots: Path | None, samples: int, seed: int) -> dict[str, Any]:
    """All that the template needs of one run."""
    name = run.resolve().name
    config = _yaml(run / "config.yaml")
    rows = list(read_jsonl(run / "metrics.jsonl")) if (run / "metrics.jsonl").exists() else []
    evaluation = run / "evaluation" if (run / "evaluation").is_dir() else run
    document = load_results(evaluation) if (evaluation / "results.json").exists() else None
    terms = [key for key in config if key.startswith("reward.terms.")]
    figures = {"learning-curves": draw.learning_curves(rows), "cost-curves": draw.cost_curves(rows)}
    shown = [metric for metric in _PLOTTED if document and metric in document["settings"]["metrics"]]
    if document:
        for metric in shown:
            figures[f"{metric}-by-rate"] = draw.rate_curve(document, metric)
            figures[f"{metric}-by-method"] = draw.bars(document, metric)
    if plots is not None:
        _save(figures, plots, name)
    return {
        "name": name,
        "settings": {key: config[key] for key in (*_SHOWN_SETTINGS, *terms) if key in config},
        "config": config,
        "environment": _flat(_json(run / "environment.json")),
        "figures": {key: Markup(draw.svg(figure, f"{name}-{key}")) for key, figure in figures.items() if figure},
        "scales": reward_scales(rows),
        "alarms": alarms(rows),
        "stability": stability(rows),
        "costs": costs(rows),
        "shown": shown,
        "document": document,
        "tables": _tables(document) if document else [],
        "samples": _samples(evaluation, document, samples, seed) if document else [],
    }


def _over_runs(sections: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float, float]]:
    """Mean and interval over runs of what is said of each one's reward; empty for one run."""
    steady = [section["stability"] for section in sections if section["stability"]]
    if len(steady) < 2:
        return {}
    found = {
        "trend of the reward": over_seeds([one.trend for one in steady]),
        "mean reward at the end": over_seeds([one.mean for one in steady]),
        "agreement with the held-out metric": over_seeds([one.agreement for one in steady]),
    }
    return {name: figure for name, figure in found.items() if not math.isnan(figure[1])}


def _save(figures: Mapping[str, Figure | None], folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key, figure in figures.items():
        if figure:
            figure.savefig(folder / f"{name}-{key}.png", dpi=160)
            figure.savefig(folder / f"{name}-{key}.pdf", metadata={"CreationDate": None})


def _yaml(path: Path) -> dict[str, Any]:
    return _flat(yaml.safe_load(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys, short lists as text."""
    if isinstance(value, Mapping) and value:
        return {k: v for name, inner in value.items() for k, v in _flat(inner, f"{prefix}{name}.").items()}
    text = ", ".join(map(str, value)) if isinstance(value, list) else value
    return {prefix[:-1]: text} if prefix else {}


def reward_scales(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Level and spread of the reward and of each logged term over the run, with a warning where it is out of scale.

    The spread is the median logged deviation over samples (`reward/std`, `reward/<term>_std`), else that of the logged
    means over iterations.
    """
    names = {key for row in rows for key in row if key.startswith("reward/")}
    spreads = {name: "reward/std" if name == "reward/mean" else f"{name}_std" for name in names}
    scales = []
    for name in sorted(names - set(spreads.values()) - {"reward/group_spread"}):
        values_I = draw.curve(rows, name)[:, 1]
        spreads_I = draw.curve(rows, spreads[name])[:, 1]
        if not len(values_I):
            continue
        over = "samples" if len(spreads_I) else "iterations"
        spread = float(np.median(spreads_I)) if len(spreads_I) else float(values_I.std())
        scales.append(
            {
                "name": name,
                "first": float(values_I[0]),
                "last": float(values_I[-1]),
                "low": float(values_I.min()),
                "high": float(values_I.max()),
                "spread": spread,
                "over": over,
                "warning": _scale_warning(float(np.abs(values_I).max()), spread, over),
            }
        )
    return scales


def _scale_warning(largest: float, spread: float, over: str) -> str:
    if largest > LARGEST:
        return f"beyond ±{LARGEST:g}, not of order 1: lower the term's weight"
    if spread >= SPREAD_FLOOR:
        return ""
    if over == "samples":
        return f"spread below {SPREAD_FLOOR:g}: samples hardly differ in it, so it teaches nothing"
    return f"moved by less than {SPREAD_FLOOR:g} in this run"


def _tables(document: Row) -> list[dict[str, Any]]:
    """One table a rate: methods in rows, best first by the first metric, metrics in columns."""
    metrics = [metric for metric in document["settings"]["metrics"] if metric != "achieved_rate"]
    if not metrics:
        return []
    found = {(row["method"], row["rate"], row["metric"]): row for row in document["results"]}
    against = {(row["against"], row["rate"], row["metric"]): row for row in document["comparisons"]}
    tables: dict[float, list[dict[str, Any]]] = {}
    for row in ranked(document, metrics[0]):
        key = (row["method"], row["rate"])
        comparison = against.get((*key, metrics[0]))
        tables.setdefault(row["rate"], []).append(
            {
                **row,
                "cells": [found[(*key, metric)] for metric in metrics],
                "comparison": comparison,
                "verdict": _verdict(comparison) if row["achieved_rate"] != 1 else "",  # else no equal budget
            }
        )
    return [{"rate": rate, "metrics": metrics, "rows": rows} for rate, rows in tables.items()]


def _verdict(comparison: Row | None) -> str:
    """Whether the reference is significantly better or worse than the method: names the cell's colour."""
    if comparison is None or not is_significant(comparison):
        return ""
    lower = METRICS[comparison["metric"]].better == "lower"
    return "better" if (comparison["difference"] < 0) == lower else "worse"


def _samples(folder: Path, document: Row, count: int, seed: int) -> list[dict[str, Any]]:
    """Texts drawn at random, each with what the reference method (or else the first) kept at every rate."""
    if not all((folder / name).exists() for name in ("outputs.jsonl", "texts.jsonl")):
        return []
    texts = list(read_jsonl(folder / "texts.jsonl"))
    methods = [row["method"] for row in document["results"]]
    reference = document["settings"]["reference"]
    method = reference if reference in methods else next(iter(methods), "")
    chosen = np.random.default_rng([seed, len(texts)]).permutation(len(texts))[:count].tolist()
    kept: dict[int, list[Row]] = {item: [] for item in chosen}
    for output in read_jsonl(folder / "outputs.jsonl"):
        if output["method"] == method and output["item"] in kept and output["seed"] == document["settings"]["seed"]:
            kept[output["item"]].append(output)
    return [
        {
            **texts[item],
            "method": method,
            "versions": [
                {"rate": output["rate"], "pieces": struck(texts[item]["text"], output["spans"])}
                for output in sorted(kept[item], key=lambda output: -output["rate"])
            ],
        }
        for item in chosen
    ]


def struck(text: str, spans: Sequence[Sequence[int]]) -> list[tuple[bool, str]]:
    """The whole text as (kept, piece) in order; pieces outside `spans` were dropped."""
    pieces: list[tuple[bool, str]] = []
    position = 0
    for start, end in spans:
        pieces += [(False, text[position:start]), (True, text[start:end])]
        position = end
    pieces.append((False, text[position:]))
    return [(kept, piece) for kept, piece in pieces if piece]
