from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rlcompress.config.schema import SplitConfig
from rlcompress.data.splits import apportion, split_documents
from rlcompress.words import Example


@given(st.integers(0, 500), st.integers(0, 20), st.integers(0, 20))
def test_parts_sum_to_the_whole_and_stay_near_their_share(total: int, a: int, b: int) -> None:
    shares = SplitConfig(train=(40 - a - b) / 40, validation=a / 40, test=b / 40)
    counts = apportion(total, shares)
    assert sum(counts.values()) == total
    for split, count in counts.items():
        share = getattr(shares, split)
        assert abs(count - total * share) <= 2
        assert (count > 0) <= (share > 0)
        assert count > 0 or share == 0 or total < 3


def test_known_values() -> None:
    assert apportion(10, SplitConfig()) == {"train": 8, "validation": 1, "test": 1}
    assert apportion(3, SplitConfig()) == {"train": 1, "validation": 1, "test": 1}


@given(st.integers(10, 60), st.integers(0, 5))
def test_folds_test_every_document_once(documents: int, seed: int) -> None:
    rows = [Example(str(i), "text", group=f"document {i // 2}") for i in range(2 * documents)]
    shares = SplitConfig(train=0.7, validation=0.1, test=0.2)
    folds = [split_documents(rows, shares, seed, fold) for fold in range(5)]
    for split in folds:
        assert sorted(row.id for part in split.values() for row in part) == sorted(row.id for row in rows)
    tested = [{row.group for row in split["test"]} for split in folds]
    if documents % 5 == 0:
        assert sum(map(len, tested)) == len(set().union(*tested)) == documents
    assert folds[0] == split_documents(rows, shares, seed)
    assert not tested[0] & tested[1]
