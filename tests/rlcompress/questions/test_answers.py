"""Labels of supervised training: where an answer stands."""

from __future__ import annotations

import pytest

from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.questions.answers import answer_units
from rlcompress.text.segment import Segmenter

TEXT = "Anna Miller left. The old miller paid Anna, who was old; Anna Miller kept 1,234.50 of it."


@pytest.mark.parametrize(
    ("answer", "marked"),
    [
        ("anna miller", [0, 1]),
        ("the old miller", [3, 4, 5]),
        ("1,234.50", ["1,234.50 "]),
        ("paid, who", ["paid ", "who "]),
        ("Anna nobody", [0]),
        ("nowhere", []),
        ("", []),
        ("...", []),
    ],
)
def test_the_first_place_in_one_piece_else_the_first_of_each_word(
    bpe: TextTokenizer, answer: str, marked: list[int | str]
) -> None:
    units = Segmenter(bpe)(TEXT)
    words = units.words()
    found = answer_units(units, answer).nonzero()[0].tolist()
    named = [words[u] if isinstance(wanted, str) else u for u, wanted in zip(found, marked, strict=True)]
    whole = [w for w in marked if isinstance(w, str)]
    if whole:
        assert named == whole
    else:
        plain = [u for u, word in enumerate(words) if any(map(str.isalnum, word))]
        assert found == [plain[n] for n in marked if isinstance(n, int)]
