"""Sources that come with splits of their own: a folder of files, GSM8K on the hub, generated word problems.

An official test split is tested on and nothing else of it is ever trained on. A split that the source lacks is cut from
its training rows, and the manifest says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rlcompress.config.schema import DataConfig, SplitConfig
from rlcompress.data.manifest import SPLITS
from rlcompress.data.readers import READERS, problem_count, read_rows
from rlcompress.data.records import examples
from rlcompress.data.splits import split_documents
from rlcompress.data.tables import hub_rows
from rlcompress.errors import UserError
from rlcompress.problems.generated import ProblemSplit, generated_problems
from rlcompress.words import Example

OFFICIAL_TEST = {"openai/gsm8k": "test", "gsm8k": "test"}  # hub id -> the split that is reported on
_HELD_OUT: tuple[ProblemSplit, ...] = ("test_problems", "test_numbers", "test_templates")


@dataclass(frozen=True, slots=True)
class OwnSplits:
    """Rows of the splits that a source has, and what each is called there; `train` is always among them."""

    rows: dict[str, list[Example]]
    names: dict[str, str]

    @property
    def read(self) -> list[Example]:
        return [row for split in SPLITS for row in self.rows.get(split, [])]

    def documents(self, config: DataConfig) -> dict[str, list[Example]]:
        """Rows of every split; those that the source lacks are parts of its training rows, chosen by `data.seed`.

        Raises:
            UserError: another fold is asked for than the one test split there is.
        """
        if config.fold and "test" in self.rows:
            raise UserError(f"data.fold is {config.fold} and {config.source} has its own test split: set it to 0")
        lacking = [split for split in self._wanted(config) if split not in self.rows]
        train = config.splits.train
        total = train + sum(float(getattr(config.splits, split)) for split in lacking)
        if not total:
            return {split: [] if split == "train" else self.rows.get(split, []) for split in SPLITS}
        shares = {split: getattr(config.splits, split) / total if split in lacking else 0.0 for split in SPLITS}
        shares["train"] = train / total
        cut = split_documents(self.rows["train"], SplitConfig(**shares), config.seed, config.fold)
        return cut | {split: rows for split, rows in self.rows.items() if split != "train"}

    def origin(self, config: DataConfig) -> dict[str, str]:
        """Where the rows of each split with a share come from, e.g. `{"test": "test.jsonl"}`."""
        wanted = self._wanted(config)
        whole = all(split in self.names for split in wanted)
        part = f"a part of {self.names['train']}, by data.seed"
        own = {split: name for split, name in self.names.items() if whole or split != "train"}
        return {split: own.get(split, part) for split in wanted}

    @staticmethod
    def _wanted(config: DataConfig) -> list[str]:
        return [split for split in SPLITS if getattr(config.splits, split) > 0]


def own_splits(config: DataConfig) -> OwnSplits | None:
    """The splits of `config.source`; None for a source that has none of its own. Splits without a share are not read.

    Raises:
        UserError: as `read_rows`.
    """
    wanted = [split for split in SPLITS if split == "train" or getattr(config.splits, split) > 0]
    count = problem_count(config.source)
    if count is not None:
        return _generated(count, config.seed, wanted)
    folder = Path(config.source)
    if folder.is_dir():
        return _folder(folder, config, wanted)
    if config.source in OFFICIAL_TEST and config.hub_split == "train":
        return _hub(config, wanted)
    return None


def _generated(count: int, seed: int, wanted: list[str]) -> OwnSplits:
    """`count` training problems, and a tenth of that in every held-out split, at least ten."""
    tenth = max(10, count // 10)
    rows = {"train": [p.example() for p in generated_problems(count, "train", seed=seed)]}
    names = {"train": "train"}
    if "validation" in wanted:
        rows["validation"] = [p.example() for p in generated_problems(tenth, "validation", seed=seed)]
        names["validation"] = "validation"
    if "test" in wanted:
        rows["test"] = list(_tested(tenth, seed))
        names["test"] = ", ".join(_HELD_OUT)
    return OwnSplits(rows, names)


def _tested(count: int, seed: int) -> Iterator[Example]:
    for split in _HELD_OUT:
        yield from (problem.example() for problem in generated_problems(count, split, seed=seed))


def _folder(folder: Path, config: DataConfig, wanted: list[str]) -> OwnSplits | None:
    """`train.jsonl`, `test.parquet` and the like; None where there is no training file.

    Raises:
        UserError: two files for one split.
    """
    rows, names = {}, {}
    for split in wanted:
        files = sorted(path for path in folder.glob(f"{split}.*") if path.suffix.lower() in READERS)
        if len(files) > 1:
            raise UserError(f"data.source: {folder} has {' and '.join(path.name for path in files)}: leave one of them")
        if files:
            rows[split], names[split] = list(read_rows(files[0], config)), files[0].name
    return OwnSplits(rows, names) if "train" in rows else None


def _hub(config: DataConfig, wanted: list[str]) -> OwnSplits:
    names = {"train": config.hub_split}
    if "test" in wanted:
        names["test"] = OFFICIAL_TEST[config.source]
    rows = {
        split: list(examples(hub_rows(config.source, config.hub_config, name), f"{config.source}:{name}", config))
        for split, name in names.items()
    }
    return OwnSplits(rows, {split: f"{config.source}, split {name}" for split, name in names.items()})
