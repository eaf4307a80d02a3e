"""An evaluator that solves generated word problems by rule, without torch and without training.

For tests and for environments that are made alone. It reads a prompt clause by clause: the first cue of `CUES` that a
clause has says what its numbers do. Whatever else a prompt says is nothing to it, so it is as good as the cues are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from rlcompress.problems.calculator import plain
from rlcompress.problems.lexicon import OTHERS
from rlcompress.problems.numbers import mentions
from rlcompress.problems.problem import SENTENCE_END
from rlcompress.words import Judgement, Solve

_IDLE = rf"years?|degrees|miles|bus|nearby|{'|'.join(OTHERS)}"
# In order: what the numbers of a clause are for, and the words that say so. "" changes nothing.
CUES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (sign, re.compile(cue, re.IGNORECASE))
    for sign, cue in (
        ("", rf"\b(?:{_IDLE})\b|\?"),
        ("packs", r"\b(?:bags|boxes)\b|\d x \d"),
        ("*", r"\$|\bdollars\b|\btimes\b"),
        ("/", r"\bfriends\b"),
        ("-", r"\bfewer\b|\b(?:gives?|give) away\b|\bloses?\b|- ?\d"),
        ("+", r"\bmore\b|\bbuys?\b|\bfinds?\b|\banother\b|\+ ?\d"),
        ("has", ""),
    )
)
_SURE, _WRONG = 0.1, 8.0  # bits a character of a gold answer that it gives, and of another


class ClauseEvaluator:
    """A `PromptJudge`. A verdict depends on its prompt alone, and is computed each time."""

    version = "clauses-1"

    def judge(self, requests: Sequence[Solve]) -> list[Judgement]:
        return [self._verdict(request) for request in requests]

    def _verdict(self, request: Solve) -> Judgement:
        said = solve(request.text)
        gold = request.answer or ""
        bits = len(gold) * (_SURE if said.endswith(f"#### {gold}") else _WRONG)
        return Judgement(bits, version=self.version, tokens=len(gold), detail={"said": said})


def solve(prompt: str) -> str:
    """The solution in GSM8K's notation, as far as the cues go; empty where no clause has a number that counts."""
    value: Fraction | None = None
    lines = []
    for clause in SENTENCE_END.split(prompt):
        told = [mention.value for mention in mentions(clause)]
        sign = next(sign for sign, cue in CUES if cue.search(clause))
        if not told or not sign:
            continue
        if sign == "packs" and len(told) > 1:
            first, sign, second = told[0], "*", told[1]
        elif value is None or sign in ("has", "packs"):
            value = told[0]
            continue
        else:
            first, second = value, told[0]
        value = _worked_out(first, sign, second)
        lines.append(f"<<{_shown(first)}{sign}{_shown(second)}={_shown(value)}>>{_shown(value)}")
    return "" if value is None else "\n".join([*lines, f"#### {_shown(value)}"])


def _worked_out(first: Fraction, sign: str, second: Fraction) -> Fraction:
    if sign == "/":
        return first / second if second else Fraction(0)
    return {"*": first * second, "+": first + second, "-": first - second}[sign]


def _shown(value: Fraction) -> str:
    return plain(value) or str(value)
