"""The numbers that a text mentions, however they are written: digits, words, fractions, other scripts.

Values are `Fraction`s, so that 0.5, 1/2 and "half" are one number. Signs are left out: "5-3" mentions 5 and 3.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_SMALL = {word: n for n, word in enumerate(f"{_ONES} seventeen eighteen nineteen".split())}
_TEN = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * n for n, word in enumerate(_TEN.split(), 2)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_SINGLE = {
    "half": Fraction(1, 2),
    "halves": Fraction(1, 2),
    "third": Fraction(1, 3),
    "thirds": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "quarters": Fraction(1, 4),
    "twice": Fraction(2),
    "double": Fraction(2),
    "doubles": Fraction(2),
    "doubled": Fraction(2),
    "couple": Fraction(2),
    "pair": Fraction(2),
    "thrice": Fraction(3),
    "triple": Fraction(3),
    "triples": Fraction(3),
    "tripled": Fraction(3),
    "dozen": Fraction(12),
    "dozens": Fraction(12),
}
_WORDS = {**_SMALL, **_TENS, **_SCALES}
_REMEMBERED = 1024  # texts whose numbers are at hand
_NUMERAL = re.compile(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_GROUPED = r"\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)"  # thousands, and India's lakhs
DIGITS = rf"(?:{_GROUPED}|\d{{1,30}})(?:\.\d{{1,15}})?|\.\d{{1,15}}"
_NUMBER = re.compile(
    rf"(?P<mixed>\d{{1,9}}[ -]\d{{1,9}}/\d{{1,9}}(?![\d.]))"
    rf"|(?P<ratio>(?:{DIGITS})\s?[/⁄]\s?(?:{DIGITS}))"
    rf"|(?P<digits>{DIGITS})"
    r"|(?P<words>[A-Za-z]+)"
)
_GAP = re.compile(r"[\s,.\-_/|*'\"]{0,3}\Z")


@dataclass(frozen=True, slots=True)
class Mention:
    """A number in a text: its value, and for a ratio or a mixed number the numbers that it is written with."""

    value: Fraction
    parts: tuple[Fraction, ...]
    start: int
    end: int
    digits: str  # as written, "" for a number in words


def visible(text: str) -> str:
    """The text in compatibility form (NFKC), without characters that are not seen and marks on letters."""
    if text.isascii():
        return text  # nothing in it has another form, or none that is seen
    shown = unicodedata.normalize("NFKC", text)
    return "".join(c for c in shown if unicodedata.category(c) not in ("Cf", "Mn", "Me"))


def mentions(text: str) -> list[Mention]:
    """Every number of the text in order, as a reader of `visible(text)` sees them."""
    return list(_mentions(text))


@lru_cache(maxsize=_REMEMBERED)  # gates, rules and evaluators ask about the same few texts again and again
def _mentions(text: str) -> tuple[Mention, ...]:
    found, spoken = list[Mention](), list[re.Match[str]]()
    shown = _latin_digits(visible(text))
    for match in _NUMBER.finditer(shown):
        word = (match["words"] or "").casefold()
        if (spoken and not (word in _WORDS or word == "and")) or (spoken and not _joined(shown, spoken[-1], match)):
            found += _spoken(spoken)
            spoken = []
        if word in _WORDS or (word == "and" and spoken):
            spoken.append(match)
        elif word in _SINGLE:
            found.append(Mention(_SINGLE[word], (), match.start(), match.end(), ""))
        elif match["words"]:
            roman = _roman(match["words"])
            found += [Mention(Fraction(roman), (), match.start(), match.end(), "")] if roman else []
        else:
            found.append(_written(match))
    return (*found, *_spoken(spoken))


def numbers(text: str) -> frozenset[Fraction]:
    """The values that a text mentions: 1/2 counts as itself, 1 and 2; digits that stand apart count as they stand."""
    return frozenset(value for mention in mentions(text) for value in (mention.value, *mention.parts))


def joined(text: str) -> frozenset[Fraction]:
    """Values that come of writing neighbouring whole numbers together: 190 in "1 9 0" and in "one nine zero"."""
    shown, found = visible(text), mentions(text)
    values = set[Fraction]()
    for i, first in enumerate(found):
        digits, end = _whole(first), first.end
        for mention in found[i + 1 : i + 8] if digits else ():
            more = _whole(mention)
            if not more or len(digits) > 15 or not (mention.end == end or _GAP.match(shown[end : mention.start])):
                break
            digits, end = digits + more, mention.end
            values.add(Fraction(digits))
    return frozenset(values)


def _whole(mention: Mention) -> str:
    if mention.parts or mention.value.denominator != 1:
        return ""
    return mention.digits if mention.digits.isdigit() else str(mention.value)


def value_of(digits: str) -> Fraction:
    """The value of digits with separators of thousands and a decimal point."""
    return Fraction(digits.replace(",", ""))


def _written(match: re.Match[str]) -> Mention:
    where = (match.start(), match.end(), match[0])
    if match["mixed"]:
        whole, top, bottom = map(int, re.split(r"[ \-/]", match["mixed"]))
        parts = (Fraction(whole), Fraction(top), Fraction(bottom))
        return Mention(whole + Fraction(top, bottom) if bottom else parts[0], parts, *where)
    if match["ratio"]:
        top_value, bottom_value = (value_of(part.strip()) for part in re.split(r"[/⁄]", match["ratio"]))
        ratio = top_value / bottom_value if bottom_value else top_value
        return Mention(ratio, (top_value, bottom_value), *where)
    return Mention(value_of(match["digits"]), (), *where)


def _joined(shown: str, before: re.Match[str], after: re.Match[str]) -> bool:
    return shown[before.end() : after.start()].strip() in ("", "-")


def _spoken(words: list[re.Match[str]]) -> list[Mention]:
    """Numbers in a run of number words: "one hundred and ninety" is 190, "five six" is 5 and 6."""
    while words and words[-1][0].casefold() == "and":
        words = words[:-1]
    if not words:
        return []
    names = [word[0].casefold() for word in words if word[0].casefold() != "and"]
    total, current, last, values = 0, 0, 0, list[int]()
    for name in names:
        number = _WORDS[name]
        if name in _SCALES:
            current = max(1, current) * number
            if number > 100:
                total, current = total + current, 0
        elif last and not (last in _SCALES.values() or (last >= 20 and number < 10)):
            values.append(total + current)
            total, current = 0, number
        else:
            current += number
        last = number
    values.append(total + current)
    where = (words[0].start(), words[-1].end())
    return [Mention(Fraction(value), (), *where, "") for value in values]


def _roman(word: str) -> int:
    """The value of a Roman numeral of two capitals or more; 0 for any other word."""
    if len(word) < 2 or word[0] not in _ROMAN or not _NUMERAL.fullmatch(word):
        return 0
    values = [_ROMAN[letter] for letter in word]
    return sum(-v if any(w > v for w in values[i + 1 : i + 2]) else v for i, v in enumerate(values))


def _latin_digits(text: str) -> str:
    """Digits of every script as 0 to 9."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.digit(c)) if not c.isascii() and c.isdecimal() else c for c in text)
