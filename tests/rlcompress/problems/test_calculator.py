"""The calculator: exact, silent where it should be, and nothing that is written to it runs."""

from __future__ import annotations

import json
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcompress.problems.calculator import calculate, insertion, plain, results


@pytest.mark.parametrize(
    ("written", "inserted"),
    [
        ("So there are <<80+110=", "190>>"),
        ("<<80+110=190>>190\nThen <<190/4=", "47.5>>"),
        ("<<0.2*50=", "10>>"),
        ("<<.15*200=", "30>>"),
        ("<<5-3-4=", "-2>>"),
        ("<<2+3*4=", "14>>"),
        ("<<(2+3)*4=", "20>>"),
        ("<<20%*50=", "10>>"),
        ("<<-(2-5)=", "3>>"),
        ("<<12×3÷4=", "9>>"),
        ("<< 80 + 110 =", "190>>"),
        ("<<100/8=", "12.5>>"),
        ("x" * 10_000 + "<<1+1=", "2>>"),
        ("<<10/3=", None),
        ("<<1/0=", None),
        ("<<80+=", None),
        ("<<(80+1=", None),
        ("<<80 110=", None),
        ("<<2**9=", None),
        ("<<180//3=", None),
        ("<<x+1=", None),
        ("<<__import__('os')=", None),
        ("<<9999999999999999*1=", None),
        ("<<999999999999999*999999999999999*999999=", None),
        ("<<" + "(" * 40 + "1=", None),
        ("<<" + "-" * 60 + "1=", None),
        ("<<1,200+3=", None),
        ("80+110=", None),
        ("<<80+110", None),
        ("<<80+110=190>>", None),
        ("<<80+110==", None),
        ("<<80+\n110=", None),
        ("", None),
    ],
)
def test_what_is_inserted(written, inserted):
    assert insertion(written) == inserted


_LEAF = st.integers(0, 9999).map(str) | st.integers(0, 9999).map(lambda n: f"{n / 100:.2f}")
_SUMS = st.recursive(
    _LEAF,
    lambda inner: st.builds("({}{}{})".format, inner, st.sampled_from("+-*/"), inner) | inner.map("-{}".format),
    max_leaves=6,
)


def twin(expression: str) -> Fraction | None:
    """Python's own grammar with every number a fraction: only for sums that the test has made itself."""
    try:
        return eval(re.sub(r"\d+(?:\.\d+)?", lambda m: f"Fraction('{m[0]}')", expression), {"Fraction": Fraction})
    except ZeroDivisionError:
        return None


@given(_SUMS)
def test_agrees_with_pythons_grammar(expression):
    value = twin(expression)
    assert calculate(expression) == (None if value is None else plain(value))


@given(st.fractions())
def test_decimals_are_exact_or_not_given(value):
    text = plain(value)
    assert text is None or Fraction(text) == value
    twos_and_fives = re.fullmatch(r"1|2|5|10|20|4|8|25", str(value.denominator))
    assert text is not None or not twos_and_fives or abs(value) >= 10**15


@given(st.text(max_size=60))
def test_no_text_makes_it_fail(text):
    inserted = insertion(f"<<{text}=")
    assert inserted is None or re.fullmatch(r"-?\d+(\.\d+)?>>", inserted)


def test_results_of_a_solution():
    solution = "Natalia sold 48/2 = <<48/2=24>>24 clips.\nTogether $<<48+24= 72>>72.\n<<broken>> <<1+1=\n#### 72"
    assert results(solution) == ["24", "72"]


def test_published_annotations(real_data):
    """Of GSM8K's annotations all but two, which are no arithmetic ("560//10"), come out as they are published."""
    wrong = []
    for line in (real_data / "gsm8k" / "train.jsonl").read_text().strip().split("\n"):
        solution = json.loads(line)["answer"]
        for found in re.finditer(r"<<[^<>]*=([^<>=]*)>>", solution):
            inserted = insertion(solution[: found.start(1)])
            if inserted is None or Fraction(inserted[:-2]) != Fraction(found[1]):
                wrong.append(found[0])
    assert wrong == ["<<560//10=56>>", "<<180//3=60>>"]
