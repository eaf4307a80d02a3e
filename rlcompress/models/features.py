"""What an encoder sees of a text: one function for training, evaluation and serving, so they cannot differ.

A text is cut into overlapping windows of tokens; each token is owned by the window in which it stands more central. The
question, when there is one, precedes every window as a segment of its own. Where a policy asks for them, channels that
the question gives to each unit stand beside the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.text.units import token_units
from rlcompress.words import IntArray, Tokenizer, Units

Features = dict[str, NDArray[np.generic]]
TOKENS = ("ids_PWT", "valid_PWT", "own_PWT", "unit_PWT", "segment_PWT", "exists_PN")
_OVERLAP = 8  # neighbouring windows share an eighth: half of that, at least, stands round each token on both sides
TOLD = ("channels_PNC", "sentence_PN", "prior_PN", "asked_P")


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Special tokens round a row: `begin question middle text end`; empty for the built-in encoder."""

    begin: tuple[int, ...] = ()
    middle: tuple[int, ...] = ()
    end: tuple[int, ...] = ()


class Told(Protocol):
    """What a question tells of one text: channels [N, C], sentences [N], and a prior [N] where there is a question."""

    @property
    def channels_NC(self) -> NDArray[np.float32]: ...  # noqa: N802 -- shapes in names
    @property
    def sentence_N(self) -> IntArray: ...  # noqa: N802
    @property
    def prior_N(self) -> NDArray[np.float32] | None: ...  # noqa: N802


class Channels(Protocol):
    """Where a `Told` comes from; see `rlcompress.questions.channels`."""

    def __call__(self, units: Units, question: str | None) -> Told: ...


@dataclass(frozen=True, eq=False)
class Featuriser:
    """Texts and questions to the arrays of one scorer; the same in every process. A deaf one hears none."""

    tokenizer: TextTokenizer
    window: int
    layout: RowLayout = RowLayout()
    channels: Channels | None = None
    deaf: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays of `__call__`."""
        return TOKENS if self.channels is None else (*TOKENS, *TOLD)

    def __call__(self, texts: Sequence[Units], questions: Sequence[str | None]) -> Features:
        """The arrays of `featurise`; with channels also those of `tell`."""
        if self.deaf:
            questions = [None] * len(texts)
        features = featurise(texts, questions, self.tokenizer, self.window, self.layout)
        if self.channels is not None:
            told = [self.channels(units, question) for units, question in zip(texts, questions, strict=True)]
            features |= tell(told, features["exists_PN"].shape[1])
        return features


def tell(told: Sequence[Told], units: int) -> Features:
    """channels_PNC, sentence_PN, prior_PN and asked_P (whether there is a question), padded with zeros to `units`."""
    P, C = len(told), told[0].channels_NC.shape[1] if told else 0
    channels_PNC = np.zeros((P, units, C), np.float32)
    sentence_PN, prior_PN = np.zeros((P, units), np.int64), np.zeros((P, units), np.float32)
    for p, one in enumerate(told):
        channels_PNC[p, : len(one.channels_NC)] = one.channels_NC
        sentence_PN[p, : len(one.sentence_N)] = one.sentence_N
        if one.prior_N is not None:
            prior_PN[p, : len(one.prior_N)] = one.prior_N
    asked_P = np.array([one.prior_N is not None for one in told], np.bool_)
    return {"channels_PNC": channels_PNC, "sentence_PN": sentence_PN, "prior_PN": prior_PN, "asked_P": asked_P}


def window_bounds(length: int, window: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Windows over `length` tokens as (start, end, owned start, owned end); owned parts tile the text.

    As few windows as can be, all of one size, at most `window`. Neighbours share `overlap` tokens, fewer than a window
    has, or a few more, and split them in their middle.
    """
    count = 1 if length <= window else -(-(length - overlap) // (window - overlap))
    size = -(-(length + (count - 1) * overlap) // count)
    starts = [i * (length - size) // max(1, count - 1) for i in range(count)]
    bounds = []
    owned = 0
    for i, start in enumerate(starts):
        end = start + size
        until = length if i + 1 == len(starts) else (starts[i + 1] + end) // 2
        bounds.append((start, end, owned, until))
        owned = until
    return bounds


def featurise(
    texts: Sequence[Units],
    questions: Sequence[str | None],
    tokenizer: Tokenizer,
    window: int,
    layout: RowLayout | None = None,
) -> Features:
    """Arrays for a scorer: P texts, W windows, T tokens, N units, padded to the largest.

    Returns:
        ids_PWT, valid_PWT (a token is there), own_PWT (it counts for its unit), unit_PWT (its unit),
        segment_PWT (1 in the question) and exists_PN (the text has that unit).
    """
    layout = layout or RowLayout()
    rows = [_rows(u, q, tokenizer, window, layout) for u, q in zip(texts, questions, strict=True)]
    P, W = len(rows), max((len(r) for r in rows), default=1)
    T = max((len(row.ids_T) for r in rows for row in r), default=1)
    N = max((len(u) for u in texts), default=1)
    shape = (P, max(W, 1), max(T, 1))
    ids_PWT, unit_PWT, segment_PWT = (np.zeros(shape, np.int64) for _ in range(3))
    valid_PWT, own_PWT = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for p, text_rows in enumerate(rows):
        for w, row in enumerate(text_rows):
            a, b = row.own
            ids_PWT[p, w, : len(row.ids_T)] = row.ids_T
            unit_PWT[p, w, row.head : row.head + len(row.unit_T)] = row.unit_T
            segment_PWT[p, w, : row.head] = 1
            own_PWT[p, w, a:b] = True
            valid_PWT[p, w, : len(row.ids_T)] = True
    valid_PWT[:, :, 0] = True  # attention over a row without any token is undefined
    exists_PN = np.arange(max(N, 1))[None] < np.array([len(u) for u in texts])[:, None]
    return dict(zip(TOKENS, (ids_PWT, valid_PWT, own_PWT, unit_PWT, segment_PWT, exists_PN), strict=True))


class _Row(NamedTuple):
    """One window: its tokens with the question's and the special ones; `head` is where the text begins in it."""

    ids_T: IntArray
    head: int
    unit_T: IntArray  # of the text's tokens alone
    own: tuple[int, int]  # places of the row that count


def _rows(units: Units, question: str | None, tokenizer: Tokenizer, window: int, layout: RowLayout) -> list[_Row]:
    ids_T, spans_T2 = tokenizer.encode(units.text)
    unit_T = token_units(units.text, units.starts_N, spans_T2)
    asked = tokenizer.encode(question)[0].tolist()[: window // 4] if question else []
    before_T = np.array([*layout.begin, *asked, *(layout.middle if asked else ())], np.int64)
    after_T = np.array(layout.end, np.int64)
    head = len(before_T)
    room = max(8, window - head - len(after_T))
    return [
        _Row(
            np.concatenate([before_T, ids_T[start:end], after_T]),
            head,
            unit_T[start:end],
            (head + own_start - start, head + own_end - start),
        )
        for start, end, own_start, own_end in window_bounds(len(ids_T), room, room // _OVERLAP)
    ]
