"""JSON: which strings of an object may be compressed, and the object with what is left of them.

The original writes tags into the text of the object and parses what comes out, which fails where a number lost its
digits and turns objects inside it into lists; here strings alone are compressed, so the form cannot break.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rlcompress.llmlingua.json_values import read_data, read_settings, value_of
from rlcompress.llmlingua.pipeline import Kept
from rlcompress.llmlingua.tags import Segment, as_arguments


@dataclass(frozen=True, slots=True)
class JsonPrompt:
    """An object as contexts: one a pair, in parts."""

    data: dict[str, Any]
    values: dict[str, Any]
    parts: list[list[Segment]]
    forced: list[int]

    @classmethod
    def of(cls, data: Mapping[str, Any] | str, config: Mapping[str, Any] | str | Path) -> Self:
        """Checked data and settings; see `read_data`, `read_settings` and `value_of` for what is refused."""
        read = read_data(data)
        settings = read_settings(read, config)
        values = {key: value_of(key, value, settings[key]) for key, value in read.items()}
        parts = [pair_segments(key, value, settings[key]) for key, value in values.items()]
        forced = [i for i, key in enumerate(values) if not settings[key]["pair_remove"]]
        return cls(read, values, parts, forced)

    def arguments(self) -> dict[str, Any]:
        """Those of `compress_prompt`: pairs go only where they may, and nothing stands round the object."""
        own = {"force_context_ids": self.forced, "concate_question": False, "strict_preserve_uncompressed": False}
        return own | as_arguments(self.parts)

    def rebuilt(self, kept: Kept) -> dict[str, Any]:
        """The pairs that stay, with what is left of their strings."""
        texts = kept.layout.texts(kept.kept_N, kept.layout.piece_bounds)
        left: dict[int, list[str]] = {c: [] for c in kept.contexts}
        for piece, text in zip(kept.layout.pieces, texts, strict=True):
            if piece.compress and piece.context in left:
                left[piece.context].append(text)
        keys = list(self.values)
        return {
            keys[c]: rebuilt(self.values[keys[c]], iter(strings)) if strings else self.values[keys[c]]
            for c, strings in left.items()
        }


def pair_segments(key: str, value: Any, settings: Mapping[str, Any]) -> list[Segment]:
    """A pair as the parts of a text: its strings with the pair's rate, all else as it is."""
    free = settings["compress"] and settings["rate"] != 1
    parts = [Segment(f"{json.dumps(key, ensure_ascii=False)}: ", None, compress=False)]
    for text, is_string in _pieces(value):
        parts.append(Segment(text, float(settings["rate"]), compress=bool(is_string and free)))
    return parts


def _pieces(value: Any) -> Iterator[tuple[str, bool]]:
    """The text of a value in pieces; true for those that are strings of it."""
    if isinstance(value, str):
        yield '"', False
        yield value, True
        yield '"', False
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield f" {json.dumps(key, ensure_ascii=False)}: ", False
            yield from _pieces(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield " ", False
            yield from _pieces(inner)
    else:
        yield json.dumps(value), False


def rebuilt(value: Any, texts: Iterator[str]) -> Any:
    """The same value with the next of `texts` in place of each string; tuples are arrays in JSON."""
    if isinstance(value, str):
        left = next(texts)
        return left.strip() if value == value.strip() else left
    if isinstance(value, Mapping):
        return {key: rebuilt(inner, texts) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [rebuilt(inner, texts) for inner in value]
    return value
