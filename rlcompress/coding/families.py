"""The families of generated problems: what is asked, how it varies, its solution and its inputs.

Each function is the solution of its family. What stands after `*` is the part that varies; it becomes a constant in
the problem's own solution (see `generated`), so these functions use nothing but builtins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_WORDS = [
    "amber",
    "birch",
    "cedar",
    "dune",
    "ember",
    "fern",
    "grove",
    "harbor",
    "inlet",
    "juniper",
    "kelp",
    "lagoon",
    "meadow",
    "nettle",
    "oak",
    "pine",
]


@dataclass(frozen=True, slots=True)
class Family:
    """`prompt` names the varying part in braces; `part` and `inputs` draw it and the arguments of one test."""

    prompt: str
    solve: Callable[..., Any]
    part: Callable[[np.random.Generator], dict[str, Any]]
    inputs: Callable[[np.random.Generator], tuple[Any, ...]]


def sum_of_multiples(numbers: list[int], *, step: int) -> int:
    total = 0
    for number in numbers:
        if number % step == 0:
            total = total + number
    return total


def clip_all(numbers: list[int], *, low: int, high: int) -> list[int]:
    result = []
    for number in numbers:
        if number < low:
            result.append(low)
        elif number > high:
            result.append(high)
        else:
            result.append(number)
    return result


def long_words(sentence: str, *, least: int) -> list[str]:
    kept = []
    for word in sentence.split():
        if len(word) >= least:
            kept.append(word)
    return kept


def count_letter(text: str, *, letter: str) -> int:
    count = 0
    for character in text.lower():
        if character == letter:
            count += 1
    return count


def turn_left(items: list[int], *, places: int) -> list[int]:
    if not items:
        return []
    shift = places % len(items)
    return items[shift:] + items[:shift]


def largest_window(numbers: list[int], *, width: int) -> int:
    best = None
    for start in range(len(numbers) - width + 1):
        total = sum(numbers[start : start + width])
        if best is None or total > best:
            best = total
    return best if best is not None else 0


def digits_in_base(number: int, *, base: int) -> list[int]:
    digits = []
    while number > 0:
        digits.append(number % base)
        number = number // base
    digits.reverse()
    return digits or [0]


def group_by_remainder(numbers: list[int], *, divisor: int) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for number in numbers:
        groups.setdefault(number % divisor, []).append(number)
    return groups


def shift_letters(text: str, *, places: int) -> str:
    shifted = ""
    for character in text:
        if "a" <= character <= "z":
            shifted += chr((ord(character) - ord("a") + places) % 26 + ord("a"))
        else:
            shifted += character
    return shifted


def runs_of(text: str, *, least: int) -> list[tuple[str, int]]:
    runs: list[tuple[str, int]] = []
    for character in text:
        if runs and runs[-1][0] == character:
            runs[-1] = (character, runs[-1][1] + 1)
        else:
            runs.append((character, 1))
    return [run for run in runs if run[1] >= least]


def _whole(low: int, high: int) -> Callable[[np.random.Generator], int]:
    return lambda rng: int(rng.integers(low, high + 1))


def _part(**draws: Callable[[np.random.Generator], Any]) -> Callable[[np.random.Generator], dict[str, Any]]:
    return lambda rng: {name: draw(rng) for name, draw in draws.items()}


def _numbers(rng: np.random.Generator) -> tuple[list[int]]:
    return ([int(n) for n in rng.integers(-9, 30, size=int(rng.integers(0, 11)))],)


def _sentence(rng: np.random.Generator) -> tuple[str]:
    return (" ".join(rng.choice(_WORDS, size=int(rng.integers(1, 7))).tolist()),)


def _letters(rng: np.random.Generator) -> tuple[str]:
    return ("".join(rng.choice(list("aabbcz "), size=int(rng.integers(1, 15))).tolist()),)


FAMILIES: dict[str, Family] = {
    "sum_of_multiples": Family(
        "Write a function sum_of_multiples(numbers) that adds up the numbers of a list that are divisible by {step}.",
        sum_of_multiples,
        _part(step=_whole(2, 5)),
        _numbers,
    ),
    "clip_all": Family(
        "Write a function clip_all(numbers) that returns the list with every number below {low} replaced by {low} and "
        "every number above {high} replaced by {high}.",
        clip_all,
        _part(low=_whole(-4, 3), high=_whole(6, 20)),
        _numbers,
    ),
    "long_words": Family(
        "Write a function long_words(sentence) that returns, in their order, the words that have at least {least} "
        "characters.",
        long_words,
        _part(least=_whole(4, 6)),
        _sentence,
    ),
    "count_letter": Family(
        "Write a function count_letter(text) that counts how often the letter {letter} stands in a text, capital or "
        "small.",
        count_letter,
        _part(letter=lambda rng: str(rng.choice(list("aenr")))),
        lambda rng: (_sentence(rng)[0].title(),),
    ),
    "turn_left": Family(
        "Write a function turn_left(items) that moves every item of a list {places} places to the left; what leaves at "
        "the front comes back at the end.",
        turn_left,
        _part(places=_whole(1, 4)),
        _numbers,
    ),
    "largest_window": Family(
        "Write a function largest_window(numbers) that returns the largest sum of {width} neighbours in a list, and 0 "
        "for a list that is shorter.",
        largest_window,
        _part(width=_whole(2, 4)),
        _numbers,
    ),
    "digits_in_base": Family(
        "Write a function digits_in_base(number) that returns the digits of a number that is not negative in base "
        "{base}, the highest first; 0 has the one digit 0.",
        digits_in_base,
        _part(base=_whole(2, 9)),
        lambda rng: (int(rng.integers(0, 400)),),
    ),
    "group_by_remainder": Family(
        "Write a function group_by_remainder(numbers) that returns a dictionary from each remainder of a division by "
        "{divisor} to the numbers that leave it, in their order.",
        group_by_remainder,
        _part(divisor=_whole(2, 5)),
        _numbers,
    ),
    "shift_letters": Family(
        "Write a function shift_letters(text) that replaces each small letter by the one {places} places further in "
        "the alphabet, with a after z, and leaves all else as it is.",
        shift_letters,
        _part(places=_whole(1, 25)),
        _sentence,
    ),
    "runs_of": Family(
        "Write a function runs_of(text) that returns (character, length) of each longest run of equal characters that "
        "has at least {least} of them, in their order.",
        runs_of,
        _part(least=_whole(1, 3)),
        _letters,
    ),
}
