"""Structured prompts: `<llmlingua, rate=0.3, compress=False>…</llmlingua>` round parts of a context.

The original loses a part that holds "<" and all text between parts, and reads rate=0 as no rate; here they stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import regex

from rlcompress.errors import UserError

_TAG = regex.compile(r"<llmlingua\b(?P<settings>[^<>]*)>|</llmlingua\s*>")
_SETTING = regex.compile(r"\s*(?:rate\s*=\s*(?P<rate>\d+\.?\d*|\.\d+)|compress\s*=\s*(?P<flag>True|False))\s*")


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a context; without a rate of its own it has the call's."""

    text: str
    rate: float | None = None
    compress: bool = True


def segments(text: str, name: str) -> list[Segment]:
    """The parts of a context, which is called `name` in messages; text outside tags is a part without settings.

    Raises:
        UserError: a tag inside another, one that is not closed or not opened, or a setting that there is not.
    """
    found: list[Segment] = []
    opened: tuple[float | None, bool] | None = None
    at = 0
    for tag in _TAG.finditer(text):
        closes = tag["settings"] is None
        if closes == (opened is None):
            what = "</llmlingua> closes nothing" if closes else "one <llmlingua> stands inside another"
            raise UserError(f"{name}: {what} at character {tag.start()}: open and close each part once")
        if tag.start() > at:
            found.append(Segment(text[at : tag.start()], *(opened or (None, True))))
        opened = None if closes else _settings(tag["settings"], name)
        at = tag.end()
    if opened is not None:
        raise UserError(f"{name}: a <llmlingua> is never closed: write </llmlingua> after the part")
    return [*found, Segment(text[at:])] if at < len(text) or not found else found


def _settings(text: str, name: str) -> tuple[float | None, bool]:
    rate, compress = None, True
    for part in text.split(",")[1:] if text.strip().startswith(",") else [text] if text.strip() else []:
        setting = _SETTING.fullmatch(part)
        if setting is None:
            raise UserError(f"{name}: {part.strip()!r} is no setting of <llmlingua>: write rate=0.3 or compress=False")
        if setting["rate"]:
            rate = float(setting["rate"])
        else:
            compress = setting["flag"] == "True"
    if rate is not None and rate > 1.0:
        raise UserError(f"{name}: rate={rate:g} in a <llmlingua>: rates lie between 0 and 1")
    return rate, compress


def as_arguments(parts: Sequence[Sequence[Segment]]) -> dict[str, Any]:
    """`context`, `context_segs`, `context_segs_rate` and `context_segs_compress` of contexts in parts."""
    return {
        "context": ["".join(part.text for part in one) for one in parts],
        "context_segs": [[part.text for part in one] for one in parts],
        "context_segs_rate": [[part.rate for part in one] for one in parts],
        "context_segs_compress": [[part.compress for part in one] for one in parts],
    }
