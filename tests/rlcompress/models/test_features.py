"""Features: windows tile a text, each token counts once, and the question stands before every window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.models.features import RowLayout, featurise, window_bounds
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.text.segment import Segmenter
from rlcompress.text.units import token_units
from tests.rlcompress.small_models import TEXTS


@given(st.integers(0, 400), st.integers(1, 64), st.floats(0, 1))
def test_windows_own_every_token_once(length: int, window: int, share: float) -> None:
    bounds = window_bounds(length, window, int(share * (window - 1)))
    owned = [i for _, _, a, b in bounds for i in range(a, b)]
    assert owned == list(range(length))
    for start, end, a, b in bounds:
        assert 0 <= start <= a <= b <= end <= length
        assert end - start <= window
    assert len({end - start for start, end, _, _ in bounds}) == 1


@given(st.integers(100, 400), st.integers(8, 32), st.integers(0, 7))
def test_owned_tokens_stand_central(length: int, window: int, overlap: int) -> None:
    """Half the overlap, at least, lies on both sides of a token, except at the ends of the text."""
    for start, end, a, b in window_bounds(length, window, overlap):
        assert start == 0 or a - start >= overlap // 2
        assert end == length or end - b >= overlap // 2


@given(st.integers(1, 400), st.integers(8, 32), st.integers(0, 7))
def test_no_more_is_read_than_windows_of_that_overlap_need(length: int, window: int, overlap: int) -> None:
    bounds = window_bounds(length, window, overlap)
    fewest = next(n for n in range(1, length + 1) if n * window - (n - 1) * overlap >= length)
    assert len(bounds) == fewest
    assert sum(end - start for start, end, _, _ in bounds) < length + (fewest - 1) * overlap + fewest


def test_a_long_text_is_read_little_more_than_once(bpe: TextTokenizer) -> None:
    found = featurise([Segmenter(bpe)(" ".join(TEXTS * 40))], [None], bpe, 64)
    assert found["valid_PWT"].sum() < 1.25 * found["own_PWT"].sum()


LAYOUT = RowLayout(begin=(101,), middle=(102,), end=(102,))


@pytest.mark.parametrize("question", [None, "Who paid it again?"])
@pytest.mark.parametrize("layout", [None, LAYOUT])
@pytest.mark.parametrize("window", [24, 40, 512])
def test_rows(bpe: TextTokenizer, question: str | None, layout: RowLayout | None, window: int) -> None:
    texts = [Segmenter(bpe)(text) for text in [*TEXTS, "", " ".join(TEXTS)]]
    found = featurise(texts, [question] * len(texts), bpe, window, layout)
    asked = bpe.encode(question)[0].tolist()[: window // 4] if question else []
    begin, end = ([101], [102]) if layout else ([], [])
    head = [*begin, *asked, *(end if asked else [])]
    assert found["ids_PWT"].shape[2] <= window
    for p, units in enumerate(texts):
        ids_T, spans_T2 = bpe.encode(units.text)
        own = found["own_PWT"][p]
        assert found["ids_PWT"][p][own].tolist() == ids_T.tolist()  # in order, each once
        assert found["unit_PWT"][p][own].tolist() == token_units(units.text, units.starts_N, spans_T2).tolist()
        assert np.bincount(found["unit_PWT"][p][own], minlength=len(units)).tolist() == units.costs_N.tolist()
        assert not found["segment_PWT"][p][own].any()
        assert found["exists_PN"][p].sum() == len(units)
        for w in range(found["ids_PWT"].shape[1]):
            size = int(found["valid_PWT"][p, w].sum())
            assert found["valid_PWT"][p, w, :size].all()  # padding at the end only
            if w > 0 and not own[w].any():
                assert size == 1  # a window that this text does not have
                continue
            row = found["ids_PWT"][p, w, : max(size, len(head))].tolist()
            assert row[: len(head)] == head
            assert found["segment_PWT"][p, w].tolist() == [1] * len(head) + [0] * (
                found["ids_PWT"].shape[2] - len(head)
            )
            if layout:
                assert row[-1] == 102
        assert not own[~found["valid_PWT"][p]].any()


def test_no_texts() -> None:
    """An empty call keeps its shapes."""
    found = featurise([], [], None, 8)  # type: ignore[arg-type]
    assert found["ids_PWT"].shape[0] == found["exists_PN"].shape[0] == 0
