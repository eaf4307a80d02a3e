"""Ways to cut held-out items into parts that are measured apart: every item lies in exactly one slice of each.

A slicing is a function of all items, since a quartile is one among them. `field:NAME` slices by a field of the rows,
`contains:STRING` by whether a string stands in the text.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rlcompress.config.schema import DataConfig
from rlcompress.data.readers import read_rows
from rlcompress.errors import UserError
from rlcompress.questions.shapes import QUESTION_KINDS, question_kind
from rlcompress.words import Example

FIELD, CONTAINS = "field:", "contains:"
MOST = 12  # slices of one slicing; rarer labels are counted together
OTHER, NO_QUESTION = "all others", "no question"
_FIELDLESS = (".txt", ".tokens", ".raw")
_PASSAGE = re.compile(r"\.\d+$")  # ends the id of a passage that was cut from a row

log = logging.getLogger(__name__)


def length(examples: Sequence[Example]) -> list[str]:
    """Quarters of the items by words of the text; texts of equal length are never torn apart."""
    words_I = np.array([len(example.text.split()) for example in examples])
    bounds = np.unique(np.quantile(words_I, [0.25, 0.5, 0.75, 1.0], method="lower"))
    quarter_I = np.searchsorted(bounds, words_I)
    width = len(str(int(bounds[-1])))  # so that labels sort by length
    begin = [int(words_I.min()), *(int(bound) + 1 for bound in bounds[:-1])]
    labels = [f"{low:>{width}} to {int(high):>{width}} words" for low, high in zip(begin, bounds, strict=True)]
    return [labels[q] for q in quarter_I.tolist()]


def question_kinds(examples: Sequence[Example]) -> list[str]:
    """What is asked: the kinds of `QUESTION_KINDS`."""
    kinds = list(QUESTION_KINDS)
    return [
        kinds[int(question_kind(example.question).argmax())] if example.question else NO_QUESTION
        for example in examples
    ]


def group_prefix(examples: Sequence[Example]) -> list[str]:
    """The first part of the document's name: `topic` of "topic/async", `asyncio` of "asyncio#3"."""
    return [re.split(r"[/#:.]", example.group, maxsplit=1)[0] for example in examples]


SLICES: dict[str, Callable[[Sequence[Example]], list[str]]] = {
    "length": length,
    "question_kind": question_kinds,
    "group_prefix": group_prefix,
}


def slice_labels(
    examples: Sequence[Example], names: Sequence[str], source: str | Path, data: DataConfig
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Labels [I] of each slicing, and of those that could not be made why.

    A slicing that puts all items into one slice is left out: it says what the whole says.

    Args:
        examples: all items, in order.
        names: keys of `SLICES`, `field:NAME`, or `contains:STRING`.
        source: where the items were read from; only a `field:` reads it again.
        data: how it was read.
    """
    found, failed = dict[str, list[str]](), dict[str, str]()
    for name in names:
        try:
            if name.startswith(FIELD):
                labels = field(examples, name, source, data)
            elif name.startswith(CONTAINS):
                labels = contains(examples, name.removeprefix(CONTAINS))
            else:
                labels = SLICES[name](examples)
        except UserError as why:
            log.warning("no slices by %s: %s", name, why)
            failed[f"slices by {name}"] = str(why)
            continue
        if len(set(labels)) > 1:
            found[name] = _most(labels)
    return found, failed


def contains(examples: Sequence[Example], string: str) -> list[str]:
    """Whether a string, exactly as it is written, stands in the text."""
    return [f"{'with' if string in example.text else 'without'} {string}" for example in examples]


def field(examples: Sequence[Example], name: str, source: str | Path, data: DataConfig) -> list[str]:
    """The value of the field `name` (`field:NAME`) in the row of `source` that each item came from.

    Raises:
        UserError: rows without fields, or a row that has not this one.
    """
    wanted = name.removeprefix(FIELD)
    if str(source).startswith("builtin:") or Path(source).suffix.lower() in _FIELDLESS:
        raise UserError(f"evaluate.slices: rows of {source} have no field {wanted!r}: take one of {', '.join(SLICES)}")
    try:
        rows = read_rows(source, data.model_copy(update={"group_field": wanted}))
        values = {row.id: row.group for row in rows}
    except UserError as why:
        raise UserError(str(why).replace("data.group_field", "evaluate.slices")) from None
    return [values[example.id if example.id in values else _PASSAGE.sub("", example.id)] for example in examples]


def _most(labels: list[str]) -> list[str]:
    """The labels, the rarest counted together where there are more than `MOST`."""
    counts = Counter(labels)
    if len(counts) <= MOST:
        return labels
    kept = {label for label, _ in counts.most_common(MOST - 1)}
    return [label if label in kept else OTHER for label in labels]
