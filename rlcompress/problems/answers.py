"""The number that an answer gives: the strict form first, other forms counted apart, equality exact.

GSM8K's form is a line `#### 42` (Cobbe et al. 2021). What only looks like an answer, the last number of a text, is
found too but never under the same name: a model that hedges with many numbers must not gain by it.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from fractions import Fraction

from rlcompress.problems.numbers import DIGITS, value_of

_MARK = "####"
_CURRENCY = r"[$€£¥₹]"
_SIGN = r"[-+−–]"
# a sign on either side of the currency, a fraction or a mixed number, then per cent, currency or words without digits
_VALUE = rf"(?P<sign>{_SIGN})?\s?{_CURRENCY}?\s?(?P<late>{_SIGN})?(?:(?P<whole>\d{{1,9}})[ ](?=\d{{1,9}}/))?" + (
    rf"(?P<top>{DIGITS})(?:\s?/\s?(?P<bottom>\d{{1,15}}))?"
)
_STRICT = re.compile(rf"\s*\**\s*{_VALUE}(?P<unit>[^\d\n]*)\Z")
_LOOSE = re.compile(rf"(?<![\d.,/])(?<![A-Za-z]){_VALUE}(?![\d]|[.,/]\d)")
_BOXED = re.compile(r"\\boxed\{([^{}\n]{1,60})\}")
_SAID = re.compile(r"(?:final answer|answer is|answer:)[^\d\n]{0,20}?(?=[-+−–$€£¥₹]|\.?\d)", re.IGNORECASE)
_BEHIND = 60  # characters behind such words, among which the number is


class Form(enum.StrEnum):
    """How an answer was given. Only `STRICT` counts as answering; the rest is reported apart."""

    STRICT = "strict"  # one `####` line with one number (or several that say the same)
    BOXED = "boxed"  # \\boxed{42}
    SAID = "said"  # "the answer is 42"
    LAST = "last"  # the last number that stands there
    AMBIGUOUS = "ambiguous"  # several different `####` lines, or more than one number in one
    MISSING = "missing"  # no number


@dataclass(frozen=True, slots=True)
class Answer:
    """The number found in a text, and where; `value` is None for `AMBIGUOUS` and `MISSING`."""

    value: Fraction | None
    form: Form

    @property
    def strict(self) -> bool:
        return self.form is Form.STRICT


def extract(text: str) -> Answer:
    """The answer of a solution: commas, signs, decimals, currency, fractions and units understood, 42.0 is 42.

    A text with `####` is read strictly, and where that fails no other number of it counts. A sign that stands between
    two numbers belongs to neither.
    """
    if _MARK in text:
        given = [line.split("\n", 1)[0] for line in text.split(_MARK)[1:]]
        values = {strict_number(line) for line in given}
        value = values.pop() if len(values) == 1 else None
        empty = all(not any(map(str.isdigit, line)) for line in given)
        return Answer(value, Form.STRICT if value is not None else Form.MISSING if empty else Form.AMBIGUOUS)
    boxed, said = _BOXED.findall(text), [found.end() for found in _SAID.finditer(text)]
    if boxed and (number := _first(boxed[-1])) is not None:
        return Answer(number, Form.BOXED)
    if said and (number := _first(text[said[-1] : said[-1] + _BEHIND])) is not None:
        return Answer(number, Form.SAID)
    last = [number for number in map(_number, _LOOSE.finditer(text)) if number is not None]
    return Answer(last[-1], Form.LAST) if last else Answer(None, Form.MISSING)


def strict_number(text: str) -> Fraction | None:
    """The value of a text that is one number with or without currency and unit; None for anything else."""
    found = _STRICT.match(text.strip())
    return None if found is None else _number(found)


def gold_value(answer: str) -> Fraction | None:
    """The value of a row's right answer, written as GSM8K's solution or as the number alone; None if neither."""
    return extract(answer).value if _MARK in answer else strict_number(answer)


def _first(text: str) -> Fraction | None:
    found = _LOOSE.search(text)
    return None if found is None else _number(found)


def _number(found: re.Match[str]) -> Fraction | None:
    value = value_of(found["top"])
    if found["bottom"] is not None:
        if int(found["bottom"]) == 0:
            return None
        value /= int(found["bottom"])
    value += int(found["whole"] or 0)
    signs = [sign for sign in (found["sign"], found["late"]) if sign]
    if len(signs) > 1:
        return None
    subtracts = found.string[: found.start()].rstrip()[-1:] in set("0123456789)")  # "5 - 3" says 3, not -3
    return -value if signs and signs[0] != "+" and not subtracts else value
