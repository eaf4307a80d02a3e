"""Programming problems of any source: local files, the hub, or generated here."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rlcompress.coding.generated import generated_problems
from rlcompress.coding.problem import CodeProblem
from rlcompress.coding.rows import OWN, problem_of
from rlcompress.data.tables import TABLES, hub_rows, json_lines
from rlcompress.errors import UserError

READERS = {**TABLES, ".jsonl.gz": json_lines}  # HumanEval is published packed
BUILTIN = "builtin:code"

# Rows of the files as they are published, by the end of their path, and of the hub by (id, hub_config, hub_split).
KNOWN_FILES = {
    "mbpp.jsonl": 974,
    "sanitized-mbpp.json": 427,
    "mbpp/prompt.jsonl": 10,
    "mbpp/test.jsonl": 500,
    "mbpp/validation.jsonl": 90,
    "mbpp/train.jsonl": 374,
    "HumanEval.jsonl": 164,
    "HumanEval.jsonl.gz": 164,
}
_MBPP_SPLITS = {"train": (374, 120), "test": (500, 257), "validation": (90, 43), "prompt": (10, 7)}
KNOWN_SETS: dict[tuple[str, str | None, str], int] = {
    **{
        (name, config, split): counts[config == "sanitized"]
        for name in ("google-research-datasets/mbpp", "mbpp")
        for config in (None, "full", "sanitized")
        for split, counts in _MBPP_SPLITS.items()
    },
    **{(name, None, "test"): 164 for name in ("openai/openai_humaneval", "openai_humaneval")},
}


def read_problems(
    source: str | Path,
    *,
    hub_config: str | None = None,
    hub_split: str = "train",
    visible: int = 1,
    seed: int = 0,
) -> list[CodeProblem]:
    """Problems of a .jsonl, .jsonl.gz, .json or .parquet file, of a hub id, or of `builtin:code[-N]`.

    `visible` tests of each may be shown, chosen by seed; `rows.OWN` takes the data set's own split: MBPP's challenge
    tests are hidden, of HumanEval what its docstrings do not show. A file or set with a published name has the
    published count.

    Raises:
        UserError: nothing there, a row that is no problem, an id that comes twice, or rows that are missing; the
            message names file, line, field and mend.
    """
    if visible < 0 and visible != OWN:
        raise UserError(f"visible: {visible} tests cannot be shown: give 0 or more")
    name = str(source)
    if name.partition("-")[0] == BUILTIN:
        return _builtin(name, visible, seed)
    path = Path(source)
    ending = next((ending for ending in READERS if path.name.lower().endswith(ending)), None)
    if ending and not path.is_file():
        raise UserError(f"data.source: there is no file {name}")
    if not ending and path.exists():
        raise UserError(f"data.source: cannot read {name}: expected one of {', '.join(READERS)}")
    records = READERS[ending](path) if ending else hub_rows(name, hub_config, hub_split)
    problems = [problem_of(place, row, visible, seed) for place, row in records]
    if not problems:
        raise UserError(f"{name}: holds no problems: name another data.source")
    _require_distinct(name, problems)
    expected = known_count(path) if ending else KNOWN_SETS.get((name, hub_config, hub_split))
    if expected is not None and len(problems) != expected:
        raise UserError(
            f"{name}: holds {len(problems)} rows, as published it has {expected}: fetch it again, or give a part "
            "another name"
        )
    return problems


def known_count(path: Path) -> int | None:
    """How many rows the file has as it was published, for a path that ends as one of those does."""
    parts = path.resolve().parts
    return next((rows for end, rows in KNOWN_FILES.items() if parts[-len(Path(end).parts) :] == Path(end).parts), None)


def _builtin(name: str, visible: int, seed: int) -> list[CodeProblem]:
    count = name.removeprefix(BUILTIN).removeprefix("-") or "100"
    if not count.isdecimal() or int(count) < 1:
        raise UserError(f"data.source: unknown {name}: use {BUILTIN} or {BUILTIN}-200")
    if visible == OWN:
        raise UserError(f"data.source: {name} has no split of its own: ask for a number of visible tests")
    return generated_problems(int(count), seed=seed, visible=visible)


def _require_distinct(name: str, problems: list[CodeProblem]) -> None:
    twice = [problem for problem, times in Counter(problem.id for problem in problems).items() if times > 1]
    if twice:
        raise UserError(f"{name}: field 'task_id' has {twice[0]} twice: give each row its own number")
