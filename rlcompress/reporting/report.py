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
import yaml
from markupsafe import Markup

from rlcompress.config.keys import flat
from rlcompress.errors import UserError
from rlcompress.learning.alarms import alarms
from rlcompress.measuring.metrics import METRICS
from rlcompress.measuring.pooling import same_but_seed
from rlcompress.measuring.results import load_results, pooled_runs, read_jsonl, results_of
from rlcompress.measuring.stability import over_seeds, stability
from rlcompress.measuring.summary import Row
from rlcompress.measuring.tables import compared, is_significant, over_trainings, ranked, told
from rlcompress.recording.meters import costs
from rlcompress.reporting import charts
from rlcompress.reporting import plots as draw
from rlcompress.reporting.samples import drawn_samples
from rlcompress.reporting.scales import reward_scales

_SHOWN_SETTINGS = (
    "seed",
    "device",
    "data.source",
    "env.granularity",
    "env.rates",
    "policy.encoder",
    "policy.prior",
    "policy.model",
    "evaluator.model",
    "sft.pairs",
    "sft.learning.steps",
    "judges.reward.model",
    "judges.heldout.model",
    "learner.algorithm",
    "learner.iterations",
    "learner.prompts_per_step",
    "learner.samples_per_prompt",
    "learner.lr",
    "warm_start.steps",
)
_PLOTTED = ("distortion_bits", "distortion_bits_adapted", "answer_retention", "reader_f1", "accuracy")


def write_report(
    runs: Sequence[Path],
    plots: Path | None = None,
    *,
    out: Path | None = None,
    samples: int = 8,
    seed: int = 0,
    pool: bool = False,
) -> Path:
    """Write the report and return its path: `report.html` in the run, or beside the runs if there are several.

    Runs whose settings differ by the seed only are first shown together, as one method over its training seeds.

    Args:
        runs: run directories; a folder that holds a `results.json` itself also serves.
        plots: folder that also gets every figure as PNG and PDF, and its points as CSV.
        out: another place for the report.
        samples: texts shown of each run, drawn at random.
        seed: of that draw.
        pool: show all `runs` together whatever their settings, as trainings of one method.

    Raises:
        UserError: no run is given, one is no folder, or with `pool` they measured other rows or methods.
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
        together, apart = _trainings(runs, plots, pool)
    page = environment.get_template("report.html.j2").render(
        runs=sections, together=together, apart=apart, metrics=METRICS, seeds=_over_runs(sections)
    )
    path = out or (runs[0] if len(runs) == 1 else runs[0].parent) / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _section(run: Path, plots: Path | None, samples: int, seed: int) -> dict[str, Any]:
    """All that the template needs of one run."""
    name = run.resolve().name
    config, rows, document = _settings(run), _logged(run), _document(run)
    terms = [key for key in config if key.startswith("reward.terms.")]
    curves = {"learning-curves": draw.learning_curves(rows), "cost-curves": draw.cost_curves(rows)}
    return {
        "settings": {key: config[key] for key in (*_SHOWN_SETTINGS, *terms) if key in config},
        "config": config,
        "environment": flat(_json(run / "environment.json")),
        "scales": reward_scales(rows),
        "alarms": alarms(rows),
        "stability": stability(rows),
        "costs": costs(rows),
        "samples": drawn_samples(results_of(run), document, samples, seed) if document else [],
        **_measured(name, document, curves, plots),
    }


def _measured(
    name: str, document: Row | None, figures: Mapping[str, draw.Plot | None], plots: Path | None
) -> dict[str, Any]:
    """What the template needs of a document of results, with its figures; `figures` are drawn already."""
    metrics = told(document) if document else []
    shown = [metric for metric in metrics if metric in _PLOTTED]
    drawn = dict(figures)
    slicings = list(dict.fromkeys(row["slice"] for row in document.get("slices", []))) if document else []
    if document:
        for metric in shown:
            drawn[f"{metric}-by-rate"] = charts.rate_curve(document, metric)
            drawn[f"{metric}-by-method"] = charts.bars(document, metric)
            drawn[f"{metric}-heat-map"] = charts.heat_map(document, metric)
            drawn[f"{metric}-by-passes"] = charts.passes_scatter(document, metric)
        for slicing in slicings if shown else ():
            drawn[f"{shown[0]}-by-{slicing}"] = charts.slice_chart(document, slicing, shown[0])
    kept = {key.replace(":", "-"): plot for key, plot in drawn.items() if plot is not None}
    if plots is not None:
        for key, plot in kept.items():
            draw.save(plot, plots, f"{name}-{key}".replace(" ", "-"))
    return {
        "name": name,
        "document": document,
        "shown": shown,
        "figures": {key: Markup(draw.svg(plot.figure, f"{name}-{key}")) for key, plot in kept.items()},
        "tables": _tables(document, metrics) if document and metrics else [],
        "slices": [_slice_table(document, slicing, metrics[0]) for slicing in slicings] if document and metrics else [],
    }


def _trainings(runs: Sequence[Path], plots: Path | None, pool: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Sections of trainings shown together, and why others that differ by seed only are not.

    Trainings stand in results of their own, or side by side in one comparison.
    """
    found, apart = [], []
    for name, members in _alike(runs, pool).items():
        try:
            document = pooled_runs(members)
        except UserError as why:
            if pool:
                raise
            apart.append(str(why))
            continue
        curves = {"learning-curves": draw.learning_curves(*map(_logged, members))}
        title = f"{name or document['settings']['reference']} over seeds"
        listed = ", ".join(run.resolve().name for run in members)
        found.append({**_measured(title, document, curves, plots), "members": listed})
    for run in runs:
        compared = _document(run)
        if compared and (together := over_trainings(compared)):
            title = f"{run.resolve().name} over seeds"
            listed = ", ".join(compared["trainings"])
            found.append({**_measured(title, together, {}, plots), "members": listed})
    return found, apart


def _alike(runs: Sequence[Path], pool: bool) -> dict[str, list[Path]]:
    """Runs to show together, by their common name; with `pool` all, without a name."""
    if pool:
        return {"": list(runs)}
    alike = same_but_seed({str(run): config for run in runs if (config := _settings(run)) and _document(run)})
    groups: dict[str, list[Path]] = {}
    for run in runs:
        if str(run) in alike:
            groups.setdefault(Path(alike[str(run)]).name, []).append(run)
    return groups


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


def _settings(run: Path) -> dict[str, Any]:
    path = run / "config.yaml"
    return flat(yaml.safe_load(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _logged(run: Path) -> list[Row]:
    return list(read_jsonl(run / "metrics.jsonl")) if (run / "metrics.jsonl").exists() else []


def _document(run: Path) -> Row | None:
    folder = results_of(run)
    return load_results(folder) if (folder / "results.json").exists() else None


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _tables(document: Row, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """One table a rate: methods in rows, best first by the first metric, metrics in columns."""
    found = {(row["method"], row["rate"], row["metric"]): row for row in document["results"]}
    against = compared(document)
    tables: dict[float, list[dict[str, Any]]] = {}
    for row in ranked(document, metrics[0]):
        key = (row["method"], row["rate"])
        comparison = against.get((*key, metrics[0]))
        tables.setdefault(row["rate"], []).append(
            {
                **row,
                "cells": [found[(*key, metric)] for metric in metrics],
                "passes": document.get("passes", {}).get(row["method"]),
                "comparison": comparison,
                "length": against.get((*key, "achieved_rate")),
                "verdict": _verdict(comparison, metrics[0]) if row["achieved_rate"] != 1 else "",  # no equal budget
            }
        )
    free = METRICS[metrics[0]].source == "evaluator"  # rewriters choose their lengths
    return [{"rate": rate, "metrics": metrics, "rows": rows, "free": free} for rate, rows in tables.items()]


def _slice_table(document: Row, slicing: str, metric: str) -> dict[str, Any]:
    """One table a rate: methods in rows, as in the whole, slices in columns."""
    rows = [row for row in document["slices"] if (row["slice"], row["metric"]) == (slicing, metric)]
    found = {(row["method"], row["rate"], row["label"]): row for row in rows}
    labels = list(dict.fromkeys(row["label"] for row in rows))
    rates: dict[float, list[dict[str, Any]]] = {}
    for whole in charts.compressing(document, metric):
        cells = [found[whole["method"], whole["rate"], label] for label in labels]
        verdicts = [_verdict(cell["comparison"], metric) for cell in cells]
        rates.setdefault(whole["rate"], []).append(
            {"method": whole["method"], "cells": list(zip(cells, verdicts, strict=True))}
        )
    return {"name": slicing, "metric": metric, "labels": labels, "rates": rates}


def _verdict(comparison: Row | None, metric: str) -> str:
    """Whether the reference is significantly better or worse than the method: names the cell's colour."""
    if comparison is None or not is_significant(comparison):
        return ""
    lower = METRICS[metric].better == "lower"
    return "better" if (comparison["difference"] < 0) == lower else "worse"
