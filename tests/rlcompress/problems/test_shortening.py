"""Shortening by rule: what each rule takes away, and what none of them may."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.problems.generated import generated_problems
from rlcompress.problems.numbers import numbers
from rlcompress.problems.shortening import LEVELS, articles, idle, mixed, polite, shorten, stop_words, symbols


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        (polite, "By the way, Tom is very sad. Please work out how many?", "Tom is sad. How many?"),
        (polite, "As everybody knows, the park is far.", "The park is far."),
        (symbols, "It takes 5 minutes and 20 percent of 3 dollars per day.", "It takes 5 min and 20% of $3 each day."),
        (symbols, "Tom walks 3 kilometers.", "Tom walks 3 km."),
        (articles, "The man has a hat. What is the sum?", "Man hat. What sum?"),
        (stop_words, "He has 3 more of them than she has. How many?", "3 more than. How many?"),
        (stop_words, "one half of all", "one half all"),
        (idle, "It was a fine day. Tom has 3 cups. The cups were red. How many cups?", None),
        (idle, "Tom has cups.", "Tom has cups."),
    ],
)
def test_each_rule(rule, before, after):
    expected = "Tom has 3 cups. The cups were red. How many cups?" if after is None else after
    shown = rule(before)
    assert shown.casefold() == expected.casefold()


@pytest.mark.parametrize("level", LEVELS)
def test_no_level_loses_a_number_of_a_generated_problem(level):
    for problem in generated_problems(60):
        assert numbers(shorten(problem.text, level)) == numbers(problem.text)
        assert "?" in shorten(problem.text, level)


@given(st.text(alphabet="ab .,?!$%1290andthe\n", max_size=80), st.sampled_from(sorted(LEVELS)))
def test_no_text_makes_it_fail_or_grows(text, level):
    assert len(shorten(text, level)) <= len(text)


def test_mixed_levels_lose_words_but_no_number_and_no_question():
    rng = np.random.default_rng(0)
    problems = generated_problems(60)
    texts = [mixed(problem.text, rng, most_lost=0.3) for problem in problems]
    for problem, text in zip(problems, texts, strict=True):
        assert numbers(text) == numbers(problem.text)
        assert text.endswith("?")
        assert len(text) <= len(problem.text)
    shares = [len(text.split()) / len(problem.text.split()) for problem, text in zip(problems, texts, strict=True)]
    assert min(shares) < 0.6 < 0.85 < max(shares)
    assert mixed(problems[0].text, np.random.default_rng(1)) == mixed(problems[0].text, np.random.default_rng(1))
    whole = {mixed("Tom has a hat. He has it?", rng, most_lost=0.0) for _ in range(40)}
    assert "Tom hat. He has it?" in whole, "sentences have levels of their own"


def test_rules_see_the_text_alone():
    """Other labels on the same text change nothing."""
    for problem in generated_problems(10):
        swapped = replace(problem, clauses=tuple(replace(clause, needed=False) for clause in problem.clauses))
        assert [shorten(swapped.text, level) for level in LEVELS] == [shorten(problem.text, level) for level in LEVELS]


def test_levels_on_published_prompts(real_data):
    lines = (real_data / "gsm8k" / "train.jsonl").read_text().strip().split("\n")[::40]
    texts = [json.loads(line)["question"] for line in lines]
    before = sum(map(len, texts))
    light, medium, strong = (sum(len(shorten(text, level)) for text in texts) / before for level in LEVELS)
    assert 0.6 < strong < medium < light < 1.0
