"""Which characters of a text must survive any compression: named patterns and the user's regular expressions.

A unit that shares a character with a protected span is kept whole, so a protected span comes out byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import regex

from rlcompress.errors import UserError
from rlcompress.text.json_spans import json_spans
from rlcompress.text.units import UNSPACED

Span = tuple[int, int]

_SECONDS_A_PATTERN = 5.0  # a regular expression can take for ever on an innocent text


def _spans_of(expression: str) -> Callable[[str], Iterator[Span]]:
    compiled = regex.compile(expression, regex.VERSION1 | regex.VERBOSE)
    return lambda text: (found.span() for found in compiled.finditer(text))


NAMED_PATTERNS: dict[str, Callable[[str], Iterator[Span]]] = {
    # Sign, currency, separators, exponent and percent belong to the number. So does what links digits without a space
    # ("2024-01-05", "3*4=12", up to four signs of a script without spaces as in "2024年1月5日"): dropping it would fuse
    # two numbers into a third.
    "numbers": _spans_of(
        rf"""
        (?: (?<![\p{{L}}\p{{N}}_)\]]) [-+−±~≈<>≤≥]{{1,2}} )? \p{{Sc}}? (?: (?<![\p{{L}}\p{{N}}_]) \. )?
        \p{{N}}+ (?: (?: [^\s\p{{L}}\p{{N}}]+ | [[^\s\p{{L}}\p{{N}}]{UNSPACED}]{{1,4}} ) \p{{N}}+ )*
        (?: [eE] [-+]? \p{{N}}+ )? (?: [\ \u00a0\u202f]? [%‰] )? \p{{Sc}}?
        """
    ),
    "urls": _spans_of(
        r"""
          (?: \b [A-Za-z][A-Za-z0-9+.\-]{1,20} :// | \b www\. ) 
              (?: \( [^\s()<>"'`]* \) | [^\s<>"'`()] )* (?: \( [^\s()<>"'`]* \) | [^\s<>"'`.,;:!?()\]}] )
        | \b [\w.+\-]{1,64} @ [\w\-]+ (?: \. [\w\-]+ )+
        """
    ),
    # Fenced blocks with their fences (an open one runs to the end, as Markdown has it) and inline code.
    "code": _spans_of(
        r"""
          (?s: (?P<fence> `{3,} | (?m:^) [ \t]* ~{3,} ) .*? (?: (?P=fence) `* | \Z ) )
        | (?<!`) (?P<ticks> `{1,2} ) (?!`) (?: (?!\n\s*\n) (?s:.) )*? (?<!`) (?P=ticks) (?!`)
        """
    ),
    # The tags stay: they are part of the caller's text. An open one protects everything after it.
    "tags": _spans_of(r"(?is) <protect> .*? (?: </protect> | \Z )"),
    "json": json_spans,
}


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> regex.Pattern:
    try:
        return regex.compile(pattern)
    except regex.error as error:
        names = ", ".join(NAMED_PATTERNS)
        raise UserError(
            f"protect: {pattern!r} is no regular expression ({error}): mend it or use one of the names {names}"
        ) from error


def _find(text: str, pattern: str) -> list[Span]:
    if pattern in NAMED_PATTERNS:
        return list(NAMED_PATTERNS[pattern](text))
    try:
        return [found.span() for found in _compiled(pattern).finditer(text, timeout=_SECONDS_A_PATTERN)]
    except TimeoutError as error:
        raise UserError(
            f"protect: {pattern!r} took over {_SECONDS_A_PATTERN:g} s on one text: write it without nested repetition"
        ) from error


def protected_spans(text: str, patterns: Sequence[str]) -> list[Span]:
    """Half-open character spans that must be kept: sorted, merged, none empty.

    Args:
        text: the source.
        patterns: names out of `NAMED_PATTERNS`, or regular expressions (syntax of the `regex` package). A name wins
            over the expression that is spelled the same: write `(?:code)` to protect the word.

    Raises:
        UserError: a pattern is no regular expression, or takes too long.
    """
    merged: list[Span] = []
    for start, end in sorted(span for pattern in patterns for span in _find(text, pattern)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif end > start:
            merged.append((start, end))
    return merged
