"""Several trainings of one method as one method: which runs differ by seed only, and their figures together.

Two intervals then belong to a difference. The bootstrap's tells how it varies over texts, for the mean of these very
trainings. Student's, over the trainings' own differences, tells how it varies from training to training on these
texts. A claim about the method, and not about these artifacts, needs both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from rlcompress.measuring.evaluation import Cell, Evaluation
from rlcompress.measuring.stability import over_seeds
from rlcompress.measuring.summary import Row, comparison_rows, groups, rounded, summarise
from rlcompress.measuring.tables import mark

_APART = ("seed", "name", "runs")  # what trainings of one method may differ in
_KEY = ("method", "against", "rate", "metric")  # of a comparison
_SEED = re.compile(r"[-_. ]?(?:seed)?[-_. ]?\d+$")


def without_seed(name: str) -> str:
    """A run's name without the seed at its end: `frozen-2` and `frozen_seed2` are `frozen`."""
    return _SEED.sub("", name) or name


def same_but_seed(configs: Mapping[str, Mapping[str, object]], others: Collection[str] = ()) -> dict[str, str]:
    """Runs that differ by their seed only -> the name of all of them; runs that stand alone are left out.

    `configs` holds each run's settings under dotted keys, `others` names that are taken. Equal settings with equal
    seeds are one training twice, and no two trainings.
    """
    kinds = {
        run: tuple(sorted((key, repr(value)) for key, value in config.items() if key not in _APART))
        for run, config in configs.items()
    }
    found: dict[str, str] = {}
    for kind in dict.fromkeys(kinds.values()):
        runs = [run for run in configs if kinds[run] == kind]
        if len(runs) > 1 and len({repr(configs[run].get("seed")) for run in runs}) == len(runs):
            taken = {*others, *found.values()} | (configs.keys() - set(runs))
            short = without_seed(runs[0])
            found |= dict.fromkeys(runs, short if short not in taken else f"{runs[0]} and others")
    return found


def pool(evaluations: Sequence[Evaluation], comparisons: Sequence[Sequence[Row]]) -> Row:
    """The document of trainings that measured the same methods on the same items, each method over all of them.

    A comparison also has `marks` (one a training, in order), `differences` and Student's interval of these,
    `seeds_low` to `seeds_high`; methods that do not depend on the training weigh the same in each.

    Args:
        evaluations: one a training, with equal items and equal methods and rates.
        comparisons: the rows of `comparison_rows` of each.
    """
    cells = [_stacked(same) for same in zip(*(evaluation.cells for evaluation in evaluations), strict=True)]
    return _together(replace(evaluations[0], cells=cells), evaluations, comparisons)


def chain(evaluations: Sequence[Evaluation], comparisons: Sequence[Sequence[Row]]) -> Row:
    """As `pool`, of trainings that each measured the rows that were held out from it, whichever these were.

    A row counts once for each training that measured it. Intervals resample groups: a document is drawn with all that
    the trainings made of it, so their agreement on it is not taken for more evidence than there is.
    """
    first = evaluations[0]
    cells = [_chained(same) for same in zip(*(evaluation.cells for evaluation in evaluations), strict=True)]
    examples = [
        replace(example, id=f"{number}/{example.id}")
        for number, evaluation in enumerate(evaluations)
        for example in evaluation.examples
    ]
    return _together(replace(first, examples=examples, cells=cells, slices={}), evaluations, comparisons)


def _together(whole: Evaluation, evaluations: Sequence[Evaluation], comparisons: Sequence[Sequence[Row]]) -> Row:
    document = summarise(whole)
    alone = [{tuple(row[key] for key in _KEY): row for row in rows} for rows in comparisons]
    for row in document["comparisons"]:
        each = [rows[tuple(row[key] for key in _KEY)] for rows in alone]
        differences = [float("nan") if one["difference"] is None else one["difference"] for one in each]
        _, low, high = over_seeds(differences, whole.settings.level)
        row["marks"] = "".join(mark(one) for one in each)
        row["differences"] = [rounded(difference) for difference in differences]
        row["seeds_low"], row["seeds_high"] = rounded(low), rounded(high)
    return document | {"passes": whole.passes, "settings": asdict(whole.settings), "seeds": len(evaluations)}


def _chained(cells: Sequence[Cell]) -> Cell:
    return replace(
        cells[0],
        statuses=[[s for row in rows for s in row] for rows in zip(*(cell.statuses for cell in cells), strict=True)],
        quantities={name: np.concatenate([cell.quantities[name] for cell in cells], 1) for name in cells[0].quantities},
    )


def _stacked(cells: Sequence[Cell]) -> Cell:
    if len(cells) == 1:
        return cells[0]
    return replace(
        cells[0],
        stochastic=True,
        statuses=[row for cell in cells for row in cell.statuses],
        quantities={name: np.concatenate([cell.quantities[name] for cell in cells]) for name in cells[0].quantities},
    )


def by_training(evaluation: Evaluation) -> list[Evaluation]:
    """One evaluation a training seed, of an evaluation that measured several trainings side by side.

    The first has the first training of every method in `evaluation.trainings`, under its name without the seed, and
    so on. Methods without a training stand in all. Those with fewer or more trainings than most stay as they are.
    """
    sizes = Counter(evaluation.trainings.values())
    if not sizes:
        return []
    size = Counter(sizes.values()).most_common(1)[0][0]
    seen: dict[tuple[str, float], int] = {}
    found: list[list[Cell]] = [[] for _ in range(size)]
    for cell in evaluation.cells:
        name = evaluation.trainings.get(cell.method)
        if name is None or sizes[name] != size:
            for cells in found:
                cells.append(cell)
            continue
        number = seen.setdefault((name, cell.rate), 0)
        seen[name, cell.rate] += 1
        found[number].append(replace(cell, method=name))
    order = [(cell.method, cell.rate) for cell in found[0]]
    reference = evaluation.trainings.get(evaluation.settings.reference, evaluation.settings.reference)
    if sizes[reference] != size:
        reference = evaluation.settings.reference
    settings = replace(evaluation.settings, reference=reference)
    passes = {evaluation.trainings.get(method, method): count for method, count in evaluation.passes.items()}
    return [
        replace(
            evaluation,
            settings=settings,
            cells=sorted(cells, key=lambda cell: order.index((cell.method, cell.rate))),
            passes=passes,
            trainings={},
        )
        for cells in found
    ]


def pooled_document(evaluation: Evaluation) -> Row | None:
    """What is said of trainings that one evaluation measured side by side, over their seeds; None where it did not."""
    trained = by_training(evaluation)
    if len(trained) < 2:
        return None
    document = pool(trained, [comparison_rows(one, groups(one)) for one in trained])
    return {key: value for key, value in document.items() if key not in ("data", "judge")}
