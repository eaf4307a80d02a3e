"""Shorter prompts by rule: fewer polite words, symbols for words, no articles, no stop words.

The rules see the text alone. They never drop a number, and none of them knows which sentences a problem needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from rlcompress.problems.numbers import mentions
from rlcompress.problems.problem import SENTENCE_END, question_of
from rlcompress.text.bare import bare_words
from rlcompress.text.stop_words import STOP_WORDS

_POLITE = re.compile(
    r"\b(?:please(?: work out| tell me| find out| calculate)?|by the way|as everybody knows|as you know|of course|"
    r"kindly|carefully|very|really|rather|quite|simply|just|actually|basically|a total of|"
    r"exactly|can you (?:tell me|work out|find out)|(?:i would|i'd) like to know|in the end|it turns out that|"
    r"to begin with|a little later|after that)\b,?\s*",
    re.IGNORECASE,
)
_UNITS = {
    r"minutes?": "min",
    r"hours?": "h",
    r"seconds?": "s",
    r"kilomet(?:er|re)s?": "km",
    r"centimet(?:er|re)s?": "cm",
    r"met(?:er|re)s?": "m",
    r"kilograms?": "kg",
    r"grams?": "g",
    r"pounds?": "lb",
    r"ounces?": "oz",
    r"lit(?:er|re)s?": "l",
    r"gallons?": "gal",
    r"inch(?:es)?": "in",
    r"percent": "%",
    r"per cent": "%",
}
_AFTER_A_NUMBER = [(re.compile(rf"(?<=\d)\s+{name}\b", re.IGNORECASE), f" {short}") for name, short in _UNITS.items()]
_SYMBOLS = [
    (re.compile(r"(?<![\w.,])(\d[\d,]*(?:\.\d+)?) dollars?\b", re.IGNORECASE), r"$\1"),
    (re.compile(r" %"), "%"),
    (re.compile(r"\bfor each\b|\bper\b"), "each"),
    (re.compile(r"\bis equal to\b|\bequals\b"), "="),
]
_ARTICLES_TEXT = """
a an the that which who is are was were be been being am has have had do does did
"""
_ARTICLES = frozenset(_ARTICLES_TEXT.split())
# Stop words that carry the arithmetic, or the question.
_TELLING_TEXT = """
how what which who when where more most each all few both no not nor than before after again once other only
same over under above below up down off out between per against
"""
_TELLING = frozenset(_TELLING_TEXT.split())
_DROPPED = STOP_WORDS - _TELLING
_WORD = re.compile(r"[A-Za-z][A-Za-z'’]*")


def polite(text: str) -> str:
    """Without courtesies and filling words."""
    return _tidy(_POLITE.sub("", text))


def symbols(text: str) -> str:
    """Units behind numbers and a few words by their symbols: "5 dollars" is $5, "20 percent" 20%."""
    for pattern, short in _AFTER_A_NUMBER:
        text = pattern.sub(short, text)
    for pattern, short in _SYMBOLS:
        text = pattern.sub(short, text)
    return _tidy(text)


def articles(text: str) -> str:
    """Without articles and forms of to be, to have and to do."""
    return _without(text, _ARTICLES)


def stop_words(text: str) -> str:
    """Without the stop words that carry no arithmetic."""
    return _without(text, _DROPPED)


def idle(text: str) -> str:
    """Without sentences that mention no number, ask nothing and share no content word with the question."""
    sentences = [sentence for sentence in SENTENCE_END.split(text) if sentence.strip()]
    asked = set(bare_words(question_of(text))) - STOP_WORDS
    kept = [s for s in sentences if "?" in s or mentions(s) or asked & set(bare_words(s)) or s == question_of(text)]
    return " ".join(kept) if len(kept) < len(sentences) else text


Rule = Callable[[str], str]
LEVELS: dict[str, tuple[Rule, ...]] = {
    "light": (polite, symbols),
    "medium": (polite, symbols, articles),
    "strong": (idle, polite, symbols, articles, stop_words),
}


def shorten(text: str, level: str) -> str:
    """The text after the rules of a level of `LEVELS`, in their order."""
    for rule in LEVELS[level]:
        text = rule(text)
    return text


def mixed(text: str, rng: np.random.Generator, most_lost: float = 0.2) -> str:
    """Each sentence after rules of its own level or none, and up to a share of the words without digits lost.

    So are the texts of a model that has half learned the rules; whoever reads its texts learns from these.
    """
    lost = rng.uniform(0.0, most_lost)
    words = []
    for sentence in SENTENCE_END.split(text):
        for rule in _SENTENCE_RULES[: rng.integers(len(_SENTENCE_RULES) + 1)]:
            sentence = rule(sentence)
        written = sentence.split()
        words += [w for w in written if rng.random() >= lost or w[-1:] == "?" or any(map(str.isdigit, w))]
    return " ".join(words)


_SENTENCE_RULES: tuple[Rule, ...] = (polite, symbols, articles, stop_words)


def _without(text: str, dropped: frozenset[str]) -> str:
    """Numbers in words stay, and so does a word that is all there is of a sentence."""
    return _tidy(_WORD.sub(lambda m: "" if m[0].casefold() in dropped and not mentions(m[0]) else m[0], text))


def _tidy(text: str) -> str:
    """One space between words, none before a full stop, a capital at the beginning of a sentence."""
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" (?=[.,;:?!](?:\s|$))", "", text)
    text = re.sub(r"(?<=[.?!]) ?[,;] ?", " ", text).strip(" ,;")
    return re.sub(r"(?:(?<=^)|(?<=[.?!] ))[a-z]", lambda m: m[0].upper(), text)
