from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rlcompress.data.duplicates import NearDuplicates


def slow_matches(texts: list[str], number: int) -> list[int]:
    """Naive twin: 5-grams as tuples of words, every pair compared."""

    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.casefold().split()
        return {tuple(words[i : i + 5]) for i in range(max(len(words) - 4, min(len(words), 1)))}

    own = grams(texts[number])
    found = []
    for n in range(number):
        smaller = min(len(own), len(grams(texts[n])))
        if smaller and len(own & grams(texts[n])) * 10 >= 6 * smaller:
            found.append(n)
    return found


def fast_matches(texts: list[str]) -> list[list[int]]:
    near = NearDuplicates(texts)
    found = []
    for n in range(len(texts)):
        found.append(near.matches(n))
        near.add(n)
    return found


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=25).map(" ".join), max_size=12))
@settings(deadline=None, max_examples=300)
def test_agrees_with_the_naive_twin(texts: list[str]) -> None:
    assert fast_matches(texts) == [slow_matches(texts, n) for n in range(len(texts))]


def test_agrees_with_the_naive_twin_on_edited_copies() -> None:
    rng = random.Random(3)
    vocabulary = [f"word{i}" for i in range(200)]
    texts = [" ".join(rng.choices(vocabulary, k=rng.randint(3, 60))) for _ in range(60)]
    for text in list(texts):
        words = text.split()
        for _ in range(rng.randint(0, 6)):
            words[rng.randrange(len(words))] = rng.choice(vocabulary)
        edge = rng.randint(0, 5)  # cut off here, or added there: the copy is shorter or longer
        texts.append(" ".join(words[edge:] if rng.random() < 0.5 else rng.choices(vocabulary, k=edge) + words))
    found = fast_matches(texts)
    assert found == [slow_matches(texts, n) for n in range(len(texts))]
    assert 20 < sum(map(bool, found)) < 60


def test_case_and_punctuation_do_not_hide_a_copy() -> None:
    assert fast_matches(["The cat sat on the mat today.", "the cat, sat - ON the mat: today"])[1] == [0]


def test_scripts_without_spaces_are_compared_by_character() -> None:
    text = "我们今天去公园散步然后回家吃饭休息"
    assert fast_matches([text, text.replace("公", "花"), "完全不同的一句话没有任何相同之处哦"])[1:] == [[0], []]


def test_texts_without_words_match_nothing() -> None:
    assert fast_matches(["", "...", "..."]) == [[], [], []]
