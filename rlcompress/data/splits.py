"""Splits by document: a group of rows is never separated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlcompress.config.schema import SplitConfig
from rlcompress.data.manifest import SPLITS
from rlcompress.errors import UserError
from rlcompress.words import Example


def split_documents(rows: Sequence[Example], shares: SplitConfig, seed: int, fold: int = 0) -> dict[str, list[Example]]:
    """Rows of each split; each group goes to one split, chosen by a seeded shuffle of the groups.

    Each next `fold` turns that order by the size of the test split, so what one fold tests the others before it do
    not, until all groups have been tested.

    Raises:
        UserError: fewer groups than splits with a share.
    """
    groups: dict[str, list[Example]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    counts = apportion(len(groups), shares)
    for split in SPLITS:
        if getattr(shares, split) > 0 and not counts[split]:
            raise UserError(
                f"data.source has {len(groups)} documents, too few for data.splits: give more or set a share to 0"
            )
    names = list(groups)
    shuffled = np.random.default_rng([seed, 0]).permutation(len(names))
    order = iter(np.roll(shuffled, fold * counts["test"]).tolist())
    return {split: [row for _ in range(counts[split]) for row in groups[names[next(order)]]] for split in SPLITS}


def apportion(total: int, shares: SplitConfig) -> dict[str, int]:
    """Whole numbers near total · share that sum to `total`; where possible no positive share gets 0."""
    exact = {split: total * float(getattr(shares, split)) for split in SPLITS}
    counts = {split: int(exact[split]) for split in SPLITS}
    by_remainder = sorted(SPLITS, key=lambda split: counts[split] - exact[split])
    for split in by_remainder[: total - sum(counts.values())]:
        counts[split] += 1
    for split in SPLITS:
        largest = max(SPLITS, key=lambda s: counts[s])
        if exact[split] > 0 and counts[split] == 0 and counts[largest] > 1:
            counts[split] += 1
            counts[largest] -= 1
    return counts
