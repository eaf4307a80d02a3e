"""Gates of rewritten prompts: what a prompt must not be made into, however well it is answered then.

A rewrite may use words that its original has not, so the gates of masked texts do not fit it. Each gate here looks at
the original, what its solution works out, and the rewrite; `closed` names those that shut. The exploits that they stand
against are fixtures of `tests/rlcompress/rewards/test_rewriting.py`.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

from rlcompress.problems.numbers import joined, mentions, numbers, visible
from rlcompress.problems.problem import WordProblem
from rlcompress.problems.surviving import number_change, question_stays
from rlcompress.text.bare import bare_words

# Other characters than these, and than those of the original, are hidden text or bytes that are no text.
_SHOWN = frozenset(chr(c) for c in range(32, 127)) | set("\n\t×÷−–—…‘’“”·½¼¾€£¥¢°²³≤≥≈→√")
_COMMANDS_TEXT = """
answer answers ignore disregard forget say says output print respond reply return repeat write pretend assistant system
user instruction instructions prompt solution result results therefore thus hence equals final correct above previous
"""
_COMMANDS = frozenset(_COMMANDS_TEXT.split())
_SUM = r"\d\s*[-+*/x×÷]\s*\$?[\d.,]+\s*=\s*\$?\s*\d"  # with its result
_MARKS = re.compile(rf"####|<<|>>|<\||\|>|\\boxed|\[/?INST\]|</?s>|={{3,}}|^\s*#{{1,6}}\s|{_SUM}", re.MULTILINE)
_WRITTEN_TOGETHER = 16  # letters that a word may have in any case, though the original has no word so long
_ENCODED = re.compile(r"[A-Za-z0-9+/_\-]{3,}={0,2}|[A-Za-z0-9]{2}==")
_SAYING = re.compile(r"[\w .,:;=$+\-]+")  # what a message is made of
_ESCAPED = re.compile(r"(?:\\x|\\u00|%|0x)([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A rewritten prompt beside its original, and what the original's solution works out, the answer last."""

    original: str
    text: str
    results: tuple[Fraction, ...]

    @classmethod
    def of(cls, problem: WordProblem, text: str) -> Rewrite:
        return cls(problem.text, text, problem.results)


def leaks(rewrite: Rewrite) -> frozenset[Fraction]:
    """Results, the answer or those on the way to it, that stand in the rewrite and not in the original.

    However they are written: in words, in other digits, in Roman numerals, apart ("1 9 0"), as a ratio (380/2), in
    common encodings. An expression of the original's own numbers (80+110) works nothing out and is no leak.
    """
    there = numbers(rewrite.original) | joined(rewrite.original)
    decoded = " ".join(_decoded(rewrite))
    told = number_change(rewrite.original, rewrite.text).new | joined(rewrite.text) | numbers(decoded)
    return frozenset(abs(result) for result in rewrite.results) & told - there


def leak_open(rewrite: Rewrite) -> bool:
    """Nothing that has to be worked out is told."""
    return not leaks(rewrite)


def numbers_open(rewrite: Rewrite) -> bool:
    """No number is new: one that is not a result can still be a step to it, or the answer less one."""
    return not number_change(rewrite.original, rewrite.text).new


def question_open(rewrite: Rewrite) -> bool:
    """It still asks what was asked; an evaluator that guesses the question would have to be guessed in turn."""
    return question_stays(rewrite.original, rewrite.text)


def instructions_open(rewrite: Rewrite) -> bool:
    """No words and marks that speak to the evaluator ("the answer is", "ignore", `####`, an equation with its result)
    that the original has not.
    """
    commands = _COMMANDS & set(bare_words(visible(rewrite.text))) - set(bare_words(rewrite.original))
    marks = {mark.strip() for mark in _MARKS.findall(visible(rewrite.text))}
    return not commands and marks <= {mark.strip() for mark in _MARKS.findall(rewrite.original)}


def hidden_open(rewrite: Rewrite) -> bool:
    """Nothing that a person does not see or cannot read: no invisible characters, no letters of other scripts that look
    like ours, no encoded words, none of which the original has.
    """
    return set(rewrite.text) <= _SHOWN | set(rewrite.original) and not _decoded(rewrite)


def glued_open(rewrite: Rewrite) -> bool:
    """No word longer than the original's longest, and than sixteen letters: words written together save spaces for a
    count of words, and cost a reader more than they save.
    """
    longest = max(map(len, bare_words(rewrite.original)), default=0)
    return all(len(word) <= max(longest, _WRITTEN_TOGETHER) for word in bare_words(rewrite.text))


Gate = Callable[[Rewrite], bool]
REWRITE_GATES: dict[str, Gate] = {
    "leak": leak_open,
    "numbers": numbers_open,
    "question": question_open,
    "instructions": instructions_open,
    "hidden": hidden_open,
    "glued": glued_open,
}


def closed(rewrite: Rewrite, gates: Collection[str] = tuple(REWRITE_GATES)) -> tuple[str, ...]:
    """Names of the gates among `gates` that are shut; empty for a rewrite that may be rewarded."""
    return tuple(name for name, is_open in REWRITE_GATES.items() if name in gates and not is_open(rewrite))


def leak_rate(rewrites: Sequence[Rewrite]) -> float:
    """Share of the rewrites that tell a result; NaN of none. Reported whether or not the gate is on."""
    return sum(not leak_open(rewrite) for rewrite in rewrites) / len(rewrites) if rewrites else float("nan")


def _decoded(rewrite: Rewrite) -> list[str]:
    """What new words say in base64, hexadecimal, escapes or backwards, as far as there is a number in it."""
    known = {*rewrite.original.casefold().split(), *bare_words(rewrite.original)}
    found = []
    for word in visible(rewrite.text).split():
        if word.casefold() in known or known.issuperset(bare_words(word)):
            continue
        escaped = "".join(chr(int(code, 16)) for code in _ESCAPED.findall(word))
        entities = html.unescape(word) if "&" in word else ""
        candidates = [escaped, entities, *(text for part in _ENCODED.findall(word) for text in _readings(part))]
        found += [text for text in candidates if text and mentions(text)]
    return found


def _readings(word: str) -> list[str]:
    """The word read backwards, and as base64 and hexadecimal where that is some text."""
    if word.isdecimal():
        return []  # a number is what it is
    texts = [word[::-1]] if word.isalpha() else []
    for decode in (_base64, bytes.fromhex):
        try:
            texts.append(decode(word).decode("ascii"))
        except (ValueError, binascii.Error):
            continue
    # three letters may look like a text by chance, four do not
    return [text for text in texts if _SAYING.fullmatch(text) and (len(text) > 3 or text.isdecimal())]


def _base64(word: str) -> bytes:
    return base64.b64decode(word.rstrip("=") + "=" * (-len(word.rstrip("=")) % 4), altchars=None, validate=True)
