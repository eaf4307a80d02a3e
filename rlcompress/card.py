"""The model card of an artifact: what it is, how good at which rate, how to use it, what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlcompress.artifact import Manifest
from rlcompress.errors import UserError
from rlcompress.measuring.metrics import METRICS

if TYPE_CHECKING:
    from rlcompress.rewriter_artifact import RewriterManifest

RESULTS = "results.json"  # beside the weights: what the evaluation of a run said, without its items
_ARTIFACT = "artifact"  # the folder of a run's trained policy; its prior and warm start have folders of their own
Row = dict[str, Any]


def found_results(artifact: Path | None) -> Row | None:
    """What was measured of an artifact: saved beside it, or in the evaluation of the run that it lies in.

    Holds `method`, `data`, `judge`, `settings` and `results`, and no path of the machine that measured.

    Raises:
        UserError: there are results that cannot be read.
    """
    if artifact is None:
        return None
    if (artifact / RESULTS).is_file():
        found: Row = json.loads((artifact / RESULTS).read_text(encoding="utf-8"))
        return found
    file = artifact.parent / "evaluation" / RESULTS
    if not file.is_file():
        return None
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        method = document["settings"]["reference"] if artifact.name == _ARTIFACT else artifact.name
        data = {"name": name_alone(document["data"]["path"] or "") or "the run's test split"}
        data |= {key: document["data"][key] for key in ("rows", "sha256")}
        kept = {key: document[key] for key in ("judge", "settings", "results")}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is not what this version reads: evaluate again, or save from elsewhere") from error
    measured = any(row["method"] == method for row in kept["results"])
    return {"method": method, "data": data, **kept} if measured else None


def name_alone(source: str) -> str:
    """`valid.txt` for `/home/me/valid.txt`: a path of this machine tells others nothing; names and ids stay."""
    return Path(source).name if Path(source).is_absolute() or Path(source).exists() else source


def model_card(manifest: Manifest, results: Row | None, *, license: str | None, repo_id: str | None) -> str:
    """Markdown with the metadata that the hub reads (`model-index` included)."""
    training = {
        "data": f"{manifest.data.get('source', 'unknown')} (hash `{manifest.data.get('hash', 'unknown')}`)",
        "rates": ", ".join(f"{rate:g}" for rate in manifest.rates),
        "encoder": manifest.policy.encoder,
        "stage": f"{manifest.stage}, iteration {manifest.iteration}",
        "length": "chosen by the policy where no rate is given" if manifest.sampler == "bernoulli" else "exact budgets",
        "protected always": ", ".join(manifest.protect) or "nothing",
        "seed": manifest.seed,
    }
    return _rendered("card.md.j2", manifest, training, results, license, repo_id)


def rewriter_card(manifest: RewriterManifest, results: Row | None, *, license: str | None, repo_id: str | None) -> str:
    """As `model_card`, of a rewriting policy."""
    base = manifest.base
    training = {
        "data": f"{manifest.data.get('source', 'unknown')} (hash `{manifest.data.get('hash', 'unknown')}`)",
        "rates": ", ".join(f"{rate:g}" for rate in manifest.rates),
        "model": f"adapters on {name_alone(base.model)}{f' at {base.revision}' if base.revision else ''}"
        if base
        else "whole",
        "stage": f"{manifest.stage}, iteration {manifest.iteration}",
        "decoding": f"temperature {manifest.decoding.temperature:g}, at most {manifest.decoding.max_new_tokens} tokens",
        "seed": manifest.seed,
    }
    return _rendered("rewriter_card.md.j2", manifest, training, results, license, repo_id)


def _rendered(
    template: str,
    manifest: Manifest | RewriterManifest,
    training: Row,
    results: Row | None,
    license: str | None,
    repo_id: str | None,
) -> str:
    import jinja2

    environment = jinja2.Environment(  # Markdown, not HTML: nothing is escaped, and nobody's prompt is in it
        loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined, autoescape=False
    )
    return environment.get_template(template).render(
        front=_front(manifest, results, license),
        manifest=manifest,
        where=repo_id or manifest.name,
        repo_id=repo_id,
        results=_table(results) if results else None,
        training=_markdown([["", ""], *([key, str(value)] for key, value in training.items())]),
        license=license,
    )


def _front(manifest: Manifest | RewriterManifest, results: Row | None, license: str | None) -> str:
    import yaml

    front: Row = {"license": license} if license else {}
    front |= {"library_name": "rlcompress", "tags": ["prompt-compression", "reinforcement-learning", "rlcompress"]}
    if results is not None:
        metrics = [
            {"type": row["metric"], "name": f"{row['metric']} at rate {row['rate']:g}", "value": row["mean"]}
            for row in results["results"]
            if row["method"] == results["method"] and row["mean"] is not None
        ]
        measured = {
            "task": {"type": "prompt-compression", "name": "Prompt compression"},
            "dataset": {"type": results["data"]["name"], "name": results["data"]["name"]},
            "metrics": metrics,
        }
        front["model-index"] = [{"name": manifest.name, "results": [measured]}]
    return str(yaml.safe_dump(front, sort_keys=False, allow_unicode=True))


def _table(results: Row) -> Row:
    """The rates with all metrics of this policy, and all methods by the first of them."""
    rows = {(row["method"], row["rate"], row["metric"]): row for row in results["results"]}
    rates = sorted({rate for _, rate, _ in rows}, reverse=True)
    measured = {
        name for (method, _, name), row in rows.items() if method == results["method"] and row["mean"] is not None
    }
    metrics = [name for name in results["settings"]["metrics"] if name in measured and name != "achieved_rate"]
    metrics.sort(key=lambda name: not METRICS[name].needs_answer)  # answers decide, where rows have some
    metrics = metrics or ["achieved_rate"]
    own = [["requested rate", "achieved", *metrics]]
    for rate in rates:
        cells = [rows.get((results["method"], rate, name)) for name in metrics]
        achieved = next((row["achieved_rate"] for row in cells if row), None)
        own.append([f"{rate:g}", _number(achieved), *map(_interval, cells)])
    every = [["method", *(f"{rate:g}" for rate in rates)]]
    for method in dict.fromkeys(method for method, _, _ in rows):
        found = [rows.get((method, rate, metrics[0])) for rate in rates]
        every.append([method, *(_number(row["mean"] if row else None) for row in found)])
    return {
        **results,
        "level": f"{results['settings']['level']:.0%}",
        "own": _markdown(own),
        "meanings": [(name, METRICS[name].meaning, METRICS[name].better) for name in metrics],
        "first": metrics[0],
        "free": METRICS[metrics[0]].source == "evaluator",  # whoever rewrites chooses the length
        "all": _markdown(every),
    }


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head."""
    head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(row: Row | None) -> str:
    if row is None or row["mean"] is None:
        return "–"
    spread = "" if row["ci_low"] is None else f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    return f"{row['mean']:.3f}{spread}"
