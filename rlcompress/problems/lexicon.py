"""The English of the generated problems: every sentence in a long, a plain and a terse form.

Originals are told in long and plain sentences. The terse form says the same in the fewest words; a model that shall
read rewritten prompts is taught it, and a compressor has to find it.

In braces: n the hero, m another person, t the things, a and b the numbers of a step, o another thing, p a place.
"""

from __future__ import annotations

from typing import Literal

Register = Literal["long", "plain", "terse"]
REGISTERS: tuple[Register, ...] = ("long", "plain", "terse")

_PEOPLE = """
Tom Anna Ben Mia Sam Lena Max Nora Paul Ella Jack Rosa Omar Lily Hugo Sara Ivan Kate Luis Emma Alan Ruth Noah
Jane
"""
PEOPLE = tuple(_PEOPLE.split())
_THINGS = """
apples books marbles stamps pencils cookies shells coins cards balloons flowers buttons stickers oranges eggs
beads
"""
THINGS = tuple(_THINGS.split())
_OTHERS = "hats chairs cats kites drums lamps boats spoons"
OTHERS = tuple(_OTHERS.split())
_PLACES = "shop park school market garden library station beach"
PLACES = tuple(_PLACES.split())

Forms = dict[Register, tuple[str, ...]]

NEEDED: dict[str, Forms] = {
    "has": {
        "long": (
            "At the beginning of the day {n} has a total of {a} {t} at home.",
            "To begin with, there are exactly {a} {t} that belong to {n}.",
        ),
        "plain": ("{n} has {a} {t}.", "{n} owns {a} {t}."),
        "terse": ("{n}: {a} {t}.",),
    },
    "packs": {
        "long": (
            "At the beginning of the day {n} has {a} bags, and in each of the bags there are {b} {t}.",
            "To begin with, {n} brings along {a} boxes that are filled with {b} {t} each.",
        ),
        "plain": ("{n} has {a} bags of {b} {t} each.", "{n} owns {a} boxes with {b} {t} each."),
        "terse": ("{n}: {a} x {b} {t}.",),
    },
    "gain": {
        "long": (
            "A little later {n} goes out and buys another {b} {t}.",
            "After that {n} is very happy to be given {b} more {t} by a friend.",
        ),
        "plain": ("{n} buys {b} more {t}.", "{n} finds {b} more {t}."),
        "terse": ("+ {b}.",),
    },
    "loss": {
        "long": (
            "A little later {n} decides to give away {b} of the {t}.",
            "After that {n} is rather sad to lose {b} of the {t} on the way.",
        ),
        "plain": ("{n} gives away {b} {t}.", "{n} loses {b} {t}."),
        "terse": ("- {b}.",),
    },
    "cost": {
        "long": ("In the end all of the {t} are sold at a price of {b} dollars for each of them.",),
        "plain": ("{n} sells all {t} for {b} dollars each.", "{n} sells all {t} at ${b} each."),
        "terse": ("${b} each.",),
    },
    "share": {
        "long": ("In the end all of the {t} are divided up equally among a group of {b} friends.",),
        "plain": ("{n} shares all {t} equally among {b} friends.",),
        "terse": ("{b} friends share.",),
    },
    "more": {
        "long": ("In the end it turns out that {m} has {b} more {t} than {n} has.",),
        "plain": ("{m} has {b} more {t} than {n}.",),
        "terse": ("{m}: {b} more.",),
    },
    "fewer": {
        "long": ("In the end it turns out that {m} has {b} fewer {t} than {n} has.",),
        "plain": ("{m} has {b} fewer {t} than {n}.",),
        "terse": ("{m}: {b} fewer.",),
    },
    "times": {
        "long": ("In the end it turns out that {m} has {b} times as many {t} as {n} has.",),
        "plain": ("{m} has {b} times as many {t} as {n}.",),
        "terse": ("{m}: {b} times.",),
    },
}

# What is asked for, by the last step; "now" asks for what the hero has.
QUESTIONS: dict[str, Forms] = {
    "now": {
        "long": ("Please work out carefully how many {t} {n} has now?",),
        "plain": ("How many {t} does {n} have now?",),
        "terse": ("{t} now?",),
    },
    "cost": {
        "long": ("Please work out carefully how many dollars {n} gets for the {t} in all?",),
        "plain": ("How many dollars does {n} get?",),
        "terse": ("dollars?",),
    },
    "share": {
        "long": ("Please work out carefully how many {t} each of the friends gets?",),
        "plain": ("How many {t} does each friend get?",),
        "terse": ("{t} each friend?",),
    },
    "other": {
        "long": ("Please work out carefully how many {t} {m} has in the end?",),
        "plain": ("How many {t} does {m} have?",),
        "terse": ("{t} {m}?",),
    },
}

# Told for no reason: d is a number that nothing depends on.
DISTRACTORS: dict[str, tuple[str, ...]] = {
    "age": (
        "By the way, {m} will be {d} years old in the summer.",
        "{m} is {d} years old.",
    ),
    "heat": (
        "On that day it was a pleasant {d} degrees in the shade of the {p}.",
        "It is {d} degrees outside.",
    ),
    "way": (
        "As everybody knows, the {p} is {d} miles away from the house of {m}.",
        "The {p} is {d} miles away.",
    ),
    "other": (
        "In a room nearby there are also {d} {o}, which are painted blue.",
        "{m} has {d} {o}.",
    ),
    "bus": (
        "Some of the people came by bus number {d}, which was late as usual.",
        "The bus to the {p} is number {d}.",
    ),
    "mood": (
        "It was a beautiful day and everybody was in a good mood.",
        "The {p} was quiet.",
    ),
}
