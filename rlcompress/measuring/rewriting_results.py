"""An evaluation of rewriters: every method at every asked rate on the same problems, in the form that results have.

Measured rewrites become the cells of an `Evaluation`, so that figures, comparisons, slices, seeds and files are those
of compressed texts: `results.write_results`, `recompute` and `pooled`. Of a row without a verdict, what needs one is
undefined. Every method's accuracy is also compared with `identity`, the originals, which need no method of their own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from rlcompress.baselines.rewriting import Rewriter
from rlcompress.errors import UserError
from rlcompress.measuring.evaluation import REFERENCE, Cell, Evaluation, Output, Settings, described
from rlcompress.measuring.metrics import IDENTITY
from rlcompress.measuring.rewrites import QUANTITIES, MeasuredRewrite, measured
from rlcompress.problems.problem import WordProblem
from rlcompress.rewards.solving import correct
from rlcompress.words import Example, PromptJudge, Status, Unfinished

REWRITING_METRICS = tuple(dict.fromkeys(("accuracy", "achieved_rate", *QUANTITIES, "budget_error_p95")))
HELD_OUT = "held_out"  # the slicing by what was held out
_KIND = re.compile(r"[^/]+/([^/]+)/\d+/\d+")  # problems/test_numbers/0/12

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a method made of all problems at one asked rate, in order; one that comes again had another seed."""

    method: str
    rate: float
    texts: Sequence[str]
    rows: Sequence[MeasuredRewrite]


@dataclass(frozen=True, slots=True)
class RewrittenOutput(Output):
    """One rewrite as it was written, `finished` or not, and what the evaluator made of it; None where it failed."""

    finished: bool = True
    right: bool | None = None
    right_original: bool | None = None
    shut: tuple[str, ...] = ()


def evaluate_rewriters(
    problems: Sequence[WordProblem],
    rewriters: Mapping[str, Rewriter | Sequence[Rewriter]],
    rates: Sequence[float],
    evaluator: PromptJudge,
    count: Callable[[str], int],
    *,
    bootstrap: int = 2000,
    seed: int = 0,
    reference: str = REFERENCE,
    cluster: Literal["template", "problem"] = "template",
    path: Path | None = None,
    skipped: int = 0,
    trainings: Mapping[str, str] = MappingProxyType({}),
) -> Evaluation:
    """Rewrite all problems by every method at every rate, and ask the evaluator about them.

    Args:
        problems: held-out ones.
        rewriters: by name; several of one name are its seeds.
        rates: tokens out / tokens in that are asked for.
        evaluator: frozen, and one that took no part in the training where there is one.
        count: tokens of a text, by the evaluator's tokenizer.
        bootstrap: draws of the intervals.
        seed: of the bootstrap.
        reference: the method that all others are compared with.
        cluster: what the bootstrap draws.
        path: the file that the problems came from, for the record.
        skipped: trained problems that were left out, for the record.
        trainings: methods that differ by their training's seed only and their common name: also measured together.

    Raises:
        UserError: no problems, or the reference cannot run. Any other method that cannot is listed in `unavailable`.
    """
    trials: list[Trial] = []
    unavailable: dict[str, str] = {}
    for name, given in rewriters.items():
        try:
            written = [
                (rate, rewrite([problem.text for problem in problems], [rate] * len(problems)))
                for rewrite in ([given] if callable(given) else given)
                for rate in rates
            ]
        except UserError as why:
            if name == reference:
                raise
            log.warning("method %s is unavailable: %s", name, why)
            unavailable[name] = str(why)
            continue
        for rate, texts in written:
            rows = measured(problems, texts, [rate] * len(problems), evaluator, count, cluster)
            trials.append(Trial(name, rate, texts, rows))
        log.info("measured %s", name)
    return evaluation_of(
        problems,
        trials,
        judge=evaluator.version,
        bootstrap=bootstrap,
        seed=seed,
        reference=reference,
        path=path,
        skipped=skipped,
        trainings=trainings,
        unavailable=unavailable,
    )


def evaluation_of(
    problems: Sequence[WordProblem],
    trials: Sequence[Trial],
    *,
    judge: str,
    bootstrap: int = 2000,
    seed: int = 0,
    reference: str = REFERENCE,
    path: Path | None = None,
    skipped: int = 0,
    trainings: Mapping[str, str] = MappingProxyType({}),
    unavailable: Mapping[str, str] = MappingProxyType({}),
) -> Evaluation:
    """What was measured, as an `Evaluation`; `identity` is made of the originals' verdicts where it is no method.

    Raises:
        UserError: nothing was measured.
        ValueError: trials of other problems, or in another order.
    """
    if not problems or not trials:
        raise UserError("no rewrites were measured: give problems and at least one method that can run")
    _require_same_problems(problems, trials)
    rates = tuple(dict.fromkeys(trial.rate for trial in trials))
    if IDENTITY not in {trial.method for trial in trials}:
        firsts = {rate: next(trial for trial in trials if trial.rate == rate) for rate in rates}
        trials = [*trials, *(_originals(problems, trial) for trial in firsts.values())]
    examples = [
        replace(problem.example(), group=row.group) for problem, row in zip(problems, trials[0].rows, strict=True)
    ]
    cells = [
        _cell(method, rate, [trial for trial in trials if (trial.method, trial.rate) == (method, rate)])
        for method, rate in dict.fromkeys((trial.method, trial.rate) for trial in trials)
    ]
    seeds = max(len(cell.statuses) for cell in cells)
    return Evaluation(
        Settings(rates, seeds, bootstrap, seed, REWRITING_METRICS, reference),
        described(examples, path, skipped),
        judge,
        examples,
        cells,
        _outputs(trials, seed),
        unavailable=dict(unavailable),
        slices=held_out(examples),
        trainings=dict(trainings),
    )


def held_out(examples: Sequence[Example]) -> dict[str, list[str]]:
    """The slicing of generated problems by what was held out, by their ids; empty where there is one part or none."""
    found = [_KIND.fullmatch(example.id) for example in examples]
    labels = [match[1] if match else "others" for match in found]
    return {HELD_OUT: labels} if len(set(labels)) > 1 else {}


def _require_same_problems(problems: Sequence[WordProblem], trials: Sequence[Trial]) -> None:
    ids = [problem.id for problem in problems]
    for trial in trials:
        if [row.problem for row in trial.rows] != ids or len(trial.texts) != len(ids):
            raise ValueError(f"{trial.method} at {trial.rate:g} measured other problems, or in another order")


def _originals(problems: Sequence[WordProblem], trial: Trial) -> Trial:
    """The originals as rewrites of themselves."""
    rows = [replace(r, after=r.before, tokens_out=r.tokens_in, shut=(), fell_back=False) for r in trial.rows]
    return Trial(IDENTITY, trial.rate, [problem.text for problem in problems], rows)


def _cell(method: str, rate: float, trials: Sequence[Trial]) -> Cell:
    """Quantities [S, I] of the method's trials at a rate."""
    by_seed = [[_quantities(row) for row in trial.rows] for trial in trials]
    quantities = {name: np.asarray([[row[name] for row in rows] for rows in by_seed]) for name in by_seed[0][0]}
    return Cell(method, rate, len(trials) > 1, [[_status(row) for row in trial.rows] for trial in trials], quantities)


def _quantities(row: MeasuredRewrite) -> dict[str, float]:
    """Numerators of `QUANTITIES`, NaN where a row is left out, beside their denominators."""
    found = {name: measure(row) for name, measure in QUANTITIES.items() if name != "achieved_rate"}
    return {
        "kept_tokens": float(row.tokens_out),
        "source_tokens": float(row.tokens_in),
        "solves": 1.0 if row.judged else float("nan"),
        "rewrites": 1.0,
        **{name: numerator if denominator else float("nan") for name, (numerator, denominator) in found.items()},
    }


def _status(row: MeasuredRewrite) -> Status:
    if not row.judged:
        return Status.JUDGE_FAILED
    return Status.UNFINISHED if row.fell_back else Status.OK


def _outputs(trials: Sequence[Trial], seed: int) -> list[RewrittenOutput]:
    seen: dict[tuple[str, float], int] = {}
    found = []
    for trial in trials:
        number = seen.setdefault((trial.method, trial.rate), seed)
        seen[trial.method, trial.rate] += 1
        for item, (text, row) in enumerate(zip(trial.texts, trial.rows, strict=True)):
            right, before = ((None if o.failed else bool(correct(o, row.gold))) for o in (row.after, row.before))
            finished = not isinstance(text, Unfinished)
            place = (item, trial.method, trial.rate, number)
            found.append(RewrittenOutput(*place, str(text), None, finished, right, before, row.shut))
    return found
