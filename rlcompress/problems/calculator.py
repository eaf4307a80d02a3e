"""The calculator of GSM8K's solutions: what stands behind `<<80+110=`, calculated and not sampled.

Cobbe et al., *Training Verifiers to Solve Math Word Problems*, 2021, arXiv:2110.14168: when a model has written an
expression and its equals sign, the result and the closing brackets are inserted. Expressions are parsed here, never
evaluated as code, and the arithmetic is exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

_OPEN = re.compile(r"<<([^<>=\n]{1,80})=\Z")
_DONE = re.compile(r"<<[^<>\n]*=([^<>=\n]{1,40})>>")
_TOKEN = re.compile(r"\s*(?:(\d{1,15}(?:\.\d{1,9})?|\.\d{1,9})(%?)|([-+*/()×÷−]))")
_SAME = {"×": "*", "÷": "/", "−": "-"}
_MOST_DIGITS = 20  # of a result: longer ones are no answer to a word problem
_DEEPEST = 20  # brackets and signs inside one another


def insertion(text: str) -> str | None:
    """What to write behind a text that ends in `<<80+110=`: `190>>`. None where nothing is to be inserted.

    That is where no annotation is open, the expression is malformed, it divides by zero, or its result has no finite
    decimal expansion or more than twenty digits. The length of the text does not matter: only its end is read.
    """
    found = _OPEN.search(text, max(0, len(text) - 100))
    result = None if found is None else calculate(found[1])
    return None if result is None else f"{result}>>"


def calculate(expression: str) -> str | None:
    """The exact value of a sum of + - * / and brackets in plain decimal digits, e.g. `"0.2"`; None if it has none."""
    tokens = list(_tokens(expression))
    if not tokens or "" in tokens:
        return None
    try:
        value, rest = _sum(tokens, 0)
    except (ValueError, ZeroDivisionError):
        return None
    return plain(value) if rest == len(tokens) else None


def plain(value: Fraction) -> str | None:
    """A fraction in decimal digits without an exponent; None where they do not end or are more than twenty."""
    twos_and_fives = value.denominator
    for prime in (2, 5):
        while twos_and_fives % prime == 0:
            twos_and_fives //= prime
    if twos_and_fives != 1 or abs(value.numerator) >= 10**_MOST_DIGITS or value.denominator >= 10**_MOST_DIGITS:
        return None
    scale = 0
    while (value * 10**scale).denominator != 1:
        scale += 1
    text = f"{Decimal(int(value * 10**scale)).scaleb(-scale):f}"
    return text if len(text) <= _MOST_DIGITS + 2 else None


def results(solution: str) -> list[str]:
    """What the finished annotations of a solution say, in order: `["190"]` of `<<80+110=190>>190`."""
    return [found.strip() for found in _DONE.findall(solution)]


def _tokens(expression: str) -> Iterator[str]:
    """Numbers, signs and brackets; an empty token where something else stands."""
    at, end = 0, len(expression.rstrip())
    while at < end:
        found = _TOKEN.match(expression, at)
        if found is None:
            yield ""
            return
        number, percent, sign = found.groups()
        yield number + percent if number else _SAME.get(sign, sign)
        at = found.end()


def _sum(tokens: list[str], at: int, depth: int = 0) -> tuple[Fraction, int]:
    value, at = _product(tokens, at, depth)
    while at < len(tokens) and tokens[at] in "+-":
        term, behind = _product(tokens, at + 1, depth)
        value, at = (value + term if tokens[at] == "+" else value - term), behind
    return value, at


def _product(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    value, at = _factor(tokens, at, depth)
    while at < len(tokens) and tokens[at] in "*/":
        factor, behind = _factor(tokens, at + 1, depth)
        value, at = (value * factor if tokens[at] == "*" else value / factor), behind
    return value, at


def _factor(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    if at >= len(tokens) or depth > _DEEPEST:
        raise ValueError("an expression that ends too early, or too deep a one")
    token = tokens[at]
    if token in ("-", "+"):
        value, at = _factor(tokens, at + 1, depth + 1)
        return (-value if token == "-" else value), at
    if token == "(":
        value, at = _sum(tokens, at + 1, depth + 1)
        if at >= len(tokens) or tokens[at] != ")":
            raise ValueError("a bracket that stays open")
        return value, at + 1
    if token.endswith("%"):
        return Fraction(token[:-1]) / 100, at + 1
    return Fraction(token), at + 1  # raises ValueError for a sign that stands where a number should
