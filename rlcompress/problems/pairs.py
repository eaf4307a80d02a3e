"""Pairs to imitate, (prompt, shorter prompt): by rule, teacher or file, checked, and none from evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlcompress.data.dataset import row_hash, text_hash
from rlcompress.data.tables import TABLES
from rlcompress.errors import UserError
from rlcompress.problems.problem import WordProblem
from rlcompress.problems.shortening import LEVELS, shorten
from rlcompress.problems.surviving import number_change, question_stays
from rlcompress.words import Example, Unfinished

if TYPE_CHECKING:
    from rlcompress.baselines.rewriting import Rewriter

FIELDS = ("prompt", "compressed")
TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and a shorter one that means the same; `origin` is a level of the rules, `teacher`, or file and line."""

    prompt: str
    compressed: str
    origin: str


@dataclass(frozen=True, slots=True)
class CheckedPairs:
    """The pairs that may be learned from, and how many others there were, by reason."""

    pairs: tuple[Pair, ...]
    dropped: dict[str, int]


def pairs_by_rule(problems: Iterable[WordProblem], levels: Sequence[str] = tuple(LEVELS)) -> Iterator[Pair]:
    """One pair a problem and level. Of a problem its text alone is used, never which sentences it needs."""
    for problem in problems:
        yield from (Pair(problem.text, shorten(problem.text, level), level) for level in levels)


def pairs_by_teacher(rewriter: Rewriter, problems: Sequence[WordProblem], rates: Sequence[float]) -> Iterator[Pair]:
    """One pair a problem and rate, as far as the teacher ended its text; whether it is any good says `checked_pairs`.

    Args:
        rewriter: of a larger model, say, or of rules. It is asked once, and reads texts alone.
        problems: to rewrite.
        rates: tokens out / tokens in that it is asked for.
    """
    texts = [problem.text for problem in problems] * len(rates)
    asked = [rate for rate in rates for _ in problems]
    for text, rewrite in zip(texts, rewriter(texts, asked), strict=True):
        if not isinstance(rewrite, Unfinished):
            yield Pair(text, rewrite, TEACHER)


def pairs_from_file(path: str | Path) -> list[Pair]:
    """Pairs of a .jsonl, .json or .parquet file with the fields `prompt` and `compressed`.

    Raises:
        UserError: no such file, or a row that is no pair; the message names file, line and field.
    """
    path = Path(path)
    reader = TABLES.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: cannot read pairs from it: expected one of {', '.join(TABLES)}")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file: name a file with prompt and compressed in each row")
    pairs = []
    for place, row in reader(path):
        if not isinstance(row, dict):
            raise UserError(f"{place}: holds {type(row).__name__}, expected an object with {' and '.join(FIELDS)}")
        for field in FIELDS:
            value = row.get(field)
            if not isinstance(value, str) or not value.strip():
                what = "is missing" if field not in row else f"holds {value!r:.40}, expected a text"
                raise UserError(f"{place}: field {field!r} {what}: give each row a prompt and a shorter one")
        pairs.append(Pair(row["prompt"], row["compressed"], place))
    if not pairs:
        raise UserError(f"{path}: holds no pairs: write one object with prompt and compressed a line")
    return pairs


def evaluation_hashes(rows: Iterable[Example | WordProblem]) -> frozenset[str]:
    """Hashes of what must not be learned from: row hashes as a manifest has them."""
    return frozenset(row_hash(row.example() if isinstance(row, WordProblem) else row) for row in rows)


def checked_pairs(pairs: Iterable[Pair], evaluation: Collection[str]) -> CheckedPairs:
    """The pairs whose numbers and question survive, that are shorter, and whose prompt is evaluated nowhere.

    Args:
        pairs: of any origin. A pair that comes twice counts once.
        evaluation: `evaluation_hashes` of every row that is validated or tested on.

    Raises:
        UserError: none is left; the message says why.
    """
    kept: dict[tuple[str, str], Pair] = {}
    dropped: Counter[str] = Counter()
    for pair in pairs:
        why = fault(pair, evaluation)
        if why is None and (pair.prompt, pair.compressed) in kept:
            why = "duplicate"
        if why is None:
            kept[pair.prompt, pair.compressed] = pair
        else:
            dropped[why] += 1
    if not kept:
        raise UserError(f"no pair is left to learn from (dropped: {dict(dropped)}): give others")
    return CheckedPairs(tuple(kept.values()), dict(dropped))


def fault(pair: Pair, evaluation: Collection[str] = ()) -> str | None:
    """Why a pair must not be learned from; None where it may."""
    if text_hash(pair.prompt) in evaluation:
        return "stands in the evaluation"
    change = number_change(pair.prompt, pair.compressed)
    if change.lost:
        return "loses a number"
    if change.new:
        return "has a new number"
    if not question_stays(pair.prompt, pair.compressed):
        return "loses the question"
    return None if len(pair.compressed) < len(pair.prompt) else "is not shorter"
