"""Pairs to imitate: made by rule or read, checked, none from evaluation, none made with labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlcompress.errors import UserError
from rlcompress.problems.generated import generated_problems
from rlcompress.problems.pairs import (
    Pair,
    checked_pairs,
    evaluation_hashes,
    fault,
    pairs_by_rule,
    pairs_by_teacher,
    pairs_from_file,
)
from rlcompress.problems.shortening import LEVELS, shorten
from rlcompress.problems.surviving import number_change
from rlcompress.words import Example, Unfinished

PROMPT = "Please read: Tom has 12 red apples and he eats 5. How many apples are left?"
SHORT = "Tom 12 red apples, eats 5. How many apples left?"


def test_pairs_of_every_level_keep_numbers_and_question():
    problems = generated_problems(50)
    checked = checked_pairs(pairs_by_rule(problems), evaluation_hashes(generated_problems(50, "validation")))
    assert {pair.origin for pair in checked.pairs} == set(LEVELS)
    assert len(checked.pairs) + sum(checked.dropped.values()) == 50 * len(LEVELS)
    assert len(checked.pairs) > 100
    for pair in checked.pairs:
        change = number_change(pair.prompt, pair.compressed)
        assert not change.lost
        assert not change.new
        assert len(pair.compressed) < len(pair.prompt)


def test_labels_of_the_sentences_are_never_looked_at():
    problems = generated_problems(10)
    blind = [replace(problem, clauses=(), template="") for problem in problems]
    assert list(pairs_by_rule(blind)) == list(pairs_by_rule(problems))


class Teacher:
    """Strong below one half, else light; cuts off what it writes of the first problem, and tells Tom's answers."""

    def __init__(self, first):
        self.first, self.calls = first, []

    def __call__(self, prompts, rates):
        self.calls.append(list(zip(prompts, rates, strict=True)))
        return [self.one(prompt, rate) for prompt, rate in self.calls[-1]]

    def one(self, prompt, rate):
        text = shorten(prompt, "strong" if rate < 0.5 else "light")
        return Unfinished(text) if prompt == self.first else f"{text} It is 7777." if "Tom" in prompt else text


def test_a_teacher_is_asked_once_and_checked_like_everybody():
    problems = generated_problems(40)
    teacher = Teacher(problems[0].text)
    pairs = list(pairs_by_teacher(teacher, problems, (0.3, 0.7)))
    assert teacher.calls == [[(problem.text, rate) for rate in (0.3, 0.7) for problem in problems]]
    assert len(pairs) == 2 * 39
    assert {pair.origin for pair in pairs} == {"teacher"}
    assert pairs[0] == Pair(problems[1].text, teacher.one(problems[1].text, 0.3), "teacher")
    toms = sum("Tom" in problem.text for problem in problems[1:])
    assert toms
    checked = checked_pairs(pairs, evaluation_hashes(problems[1:2]))
    assert checked.dropped["has a new number"] + checked.dropped["stands in the evaluation"] >= 2 * toms
    assert not any("7777" in pair.compressed for pair in checked.pairs)


def test_evaluated_prompts_are_left_out_whatever_their_case_and_spaces():
    problems = generated_problems(6)
    evaluated = [problems[0], Example("x", problems[1].text.upper().replace(" ", "  "), answer="3")]
    checked = checked_pairs(pairs_by_rule(problems), evaluation_hashes(evaluated))
    assert checked.dropped["stands in the evaluation"] == 2 * len(LEVELS)
    assert {pair.prompt for pair in checked.pairs} <= {problem.text for problem in problems[2:]}


@pytest.mark.parametrize(
    ("compressed", "why"),
    [
        (SHORT, None),
        (SHORT.replace("5", "five"), None),
        (SHORT.replace("12 ", ""), "loses a number"),
        (SHORT + " 7", "has a new number"),
        ("Tom 12 red apples, eats 5.", "loses the question"),
        (PROMPT + " Thanks.", "is not shorter"),
        (PROMPT, "is not shorter"),
    ],
)
def test_what_must_not_be_learned(compressed, why):
    assert fault(Pair(PROMPT, compressed, "")) == why


def test_nothing_left_is_an_error_that_says_why():
    with pytest.raises(UserError, match=r"no pair is left .*'loses a number': 2"):
        checked_pairs([Pair(PROMPT, "How many apples left?", ""), Pair(PROMPT, "How many apples?", "")], ())


def test_a_pair_that_comes_twice_counts_once():
    checked = checked_pairs([Pair(PROMPT, SHORT, "a"), Pair(PROMPT, SHORT, "b")], ())
    assert [pair.origin for pair in checked.pairs] == ["a"]
    assert checked.dropped == {"duplicate": 1}


def test_files(tmp_path: Path):
    rows = [{"prompt": PROMPT, "compressed": SHORT, "note": 1}] * 2
    lines = tmp_path / "pairs.jsonl"
    lines.write_text("\n".join(json.dumps(row) for row in rows))
    assert [(p.prompt, p.compressed, p.origin) for p in pairs_from_file(lines)] == [
        (PROMPT, SHORT, f"{lines}:1"),
        (PROMPT, SHORT, f"{lines}:2"),
    ]
    whole = tmp_path / "pairs.json"
    whole.write_text(json.dumps(rows))
    table = tmp_path / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(rows), table)
    assert len(pairs_from_file(whole)) == len(pairs_from_file(table)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": "a"}', r"pairs.jsonl:1: field 'compressed' is missing"),
        (
            '{"prompt": "a", "compressed": "b"}\n{"prompt": 3, "compressed": "b"}',
            r"pairs.jsonl:2: field 'prompt' holds 3",
        ),
        ('{"prompt": "a", "compressed": " "}', r"pairs.jsonl:1: field 'compressed' holds ' '"),
        ("[1]", r"pairs.jsonl:1: holds list"),
        ("{", r"pairs.jsonl:1: broken JSON"),
        ("", r"holds no pairs"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, text, message):
    path = tmp_path / "pairs.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        pairs_from_file(path)


def test_no_file_and_another_kind(tmp_path: Path):
    with pytest.raises(UserError, match="there is no such file"):
        pairs_from_file(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="expected one of"):
        pairs_from_file(tmp_path / "pairs.csv")
