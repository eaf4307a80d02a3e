"""What `Compressor` promises holds alike for a text, a list, chat messages, a JSON value and JSON text.

Each property is written once. A compressor that notes its accounts says what became of every text that was scored on
the way; slow twins say what should have.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcompress.artifact import save_artifact
from rlcompress.compressor import Compressed, Compressor
from rlcompress.models.tokenizer import train_tokenizer
from rlcompress.structured import is_json
from rlcompress.text.protect import protected_spans
from tests.rlcompress.small_models import TEXTS, WORDS, small_scorer
from tests.rlcompress.test_artifact import manifest
from tests.rlcompress.test_selection import slow_text

READER = train_tokenizer(TEXTS * 3, 420)
PROTECT = ["numbers", "code", "urls", "again"]
PIECES = st.sampled_from(
    [*TEXTS, *WORDS.split(), "\n\n", " ", "日本", "👩‍👩‍👧", "e\u0301", "12.5", "`a = 1`", "https://x.org/a b"]
)
ANY = st.lists(st.lists(PIECES | st.text(max_size=6), max_size=8).map(" ".join), min_size=1, max_size=4)
RATES = st.floats(0.02, 1.0)
QUESTIONS = st.sampled_from([None, "Who paid?", "What is extraordinary?"])


class Noting(Compressor):
    """Notes the account of every text that is compressed."""

    noted: list[Compressed]

    def compress(self, text: Any, *args: Any, **how: Any) -> Any:
        result = super().compress(text, *args, **how)
        self.noted += [result] if isinstance(text, str) else result
        return result


def noting() -> Noting:
    one = Noting(manifest(protect=()), small_scorer(READER), READER)
    one.noted = []
    return one


def as_messages(compressor: Compressor, texts: list[str], rate: float, **how: Any) -> list[str]:
    """A user's words, a tool's, and parts beside an image, in turn."""
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    shapes: list[Callable[[str], dict[str, Any]]] = [
        lambda text: {"role": "user", "content": text},
        lambda text: {"role": "tool", "tool_call_id": "c", "content": text},
        lambda text: {"role": "user", "content": [image, {"type": "text", "text": text}]},
    ]
    messages = [shapes[i % 3](text) for i, text in enumerate(texts)]
    done = compressor.compress_messages(messages, rate, **how).messages
    return [m["content"] if isinstance(m["content"], str) else m["content"][1]["text"] for m in done]


def document(texts: list[str]) -> dict[str, Any]:
    return {"n": 1.50, "rows": [{"id": i, "text": text} for i, text in enumerate(texts)]}


def as_value(compressor: Compressor, texts: list[str], rate: float, **how: Any) -> list[str]:
    return [row["text"] for row in compressor.compress_json(document(texts), rate, **how)["rows"]]


def as_json(compressor: Compressor, texts: list[str], rate: float, **how: Any) -> list[str]:
    made = compressor.compress_json(json.dumps(document(texts), indent=1), rate, **how)
    return [row["text"] for row in json.loads(made)["rows"]]


Form = Callable[..., list[str]]
FORMS: dict[str, Form] = {
    "text": lambda compressor, texts, *rate, **how: [compressor.compress(one, *rate, **how).text for one in texts],
    "list": lambda compressor, texts, *rate, **how: [one.text for one in compressor.compress(texts, *rate, **how)],
    "messages": as_messages,
    "value": as_value,
    "json": as_json,
}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def plain_choice(compressor: Compressor, one: Compressed, rate: float, protect: list[str]) -> list[int]:
    """Which units stay, read aloud: the protected ones, then the best while they fit; the first that does not, ends."""
    units = compressor.segmenter(one.source, protect)
    costs, protected = units.costs_N.tolist(), units.protected_N.tolist()
    left = round(rate * sum(costs)) - sum(cost for cost, stays in zip(costs, protected, strict=True) if stays)
    kept = {u for u, stays in enumerate(protected) if stays}
    for u in sorted(set(range(len(costs))) - kept, key=lambda u: (-one.scores[u], u)):
        if costs[u] > left:
            break
        left -= costs[u]
        kept.add(u)
    return sorted(kept)


@forms
@settings(max_examples=15)
@given(ANY, RATES, QUESTIONS, st.sampled_from([[], PROTECT]))
def test_budgets_spans_and_abstaining(
    form: Form, texts: list[str], rate: float, question: str | None, protect: list[str]
) -> None:
    """Each text is what the plain rule makes of its scores (P1), joined from spans of it (P3), or stays whole (P7)."""
    compressor = noting()
    made = form(compressor, texts, rate, question=question, protect=protect, min_tokens=1)
    accounts = {one.source: one for one in compressor.noted}
    for source, text in zip(texts, made, strict=True):
        assert source == text or source in accounts or is_json(source)
        assert source not in accounts or accounts[source].text == text or texts.count(source) > 1
    for one in compressor.noted:
        units, kept = compressor.segmenter(one.source, protect), plain_choice(compressor, one, rate, protect)
        plain = slow_text(units, kept)
        saves = len(kept) == len(units) or compressor.count_tokens(plain) < one.original_tokens
        helps = saves and (plain.strip() != "" or one.source.strip() == "") and one.original_tokens > 0
        assert (one.text, one.status == "unchanged") == (plain if helps else one.source, not helps)
        assert one.text == "".join(one.source[a:b] for a, b in one.spans)
        assert [place for span in one.spans for place in span] == sorted({p for span in one.spans for p in span})


@forms
@settings(max_examples=15)
@given(ANY, RATES, RATES, QUESTIONS)
def test_a_higher_rate_loses_no_word(
    form: Form, texts: list[str], low: float, high: float, question: str | None
) -> None:
    """P2: what stays at a rate stays at a higher one, but for texts that came back whole at the lower."""
    low, high = sorted((low, high))
    compressor = noting()
    few = form(compressor, texts, low, question=question, protect=[], min_tokens=1)
    noted, compressor.noted = compressor.noted, []
    many = form(compressor, texts, high, question=question, protect=[], min_tokens=1)
    assert len(noted) == len(compressor.noted)
    for a, b in zip(noted, compressor.noted, strict=True):
        assert a.source == b.source
        assert a.scores == b.scores
        assert a.status == "unchanged" or all(stays or not before for before, stays in zip(a.kept, b.kept, strict=True))
    for source, small, large in zip(texts, few, many, strict=True):
        rest = iter(large)
        assert small == source or all(c in rest for c in small if not c.isspace()), "a subsequence"


@forms
@settings(max_examples=15)
@given(ANY, RATES, QUESTIONS)
def test_what_is_protected_stays(form: Form, texts: list[str], rate: float, question: str | None) -> None:
    """P4: every protected span of a text is in what became of it, byte for byte, as often and in that order."""
    made = form(noting(), texts, rate, question=question, protect=PROTECT, min_tokens=1)
    for source, text in zip(texts, made, strict=True):
        at = 0
        for start, end in protected_spans(source, PROTECT):
            at = text.index(source[start:end], at) + end - start


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "artifact"
    save_artifact(folder, manifest(protect=()), small_scorer(READER).network, READER)
    return folder


@forms
@settings(max_examples=8)
@given(ANY, RATES, QUESTIONS)
def test_a_saved_copy_gives_the_same(
    form: Form, saved: Path, texts: list[str], rate: float, question: str | None
) -> None:
    """P9: what was written and loaded again compresses to the same bytes."""
    how: dict[str, Any] = {"question": question, "protect": ["numbers"], "min_tokens": 1}
    copy = Compressor.from_pretrained(saved, device="cpu")
    assert form(copy, texts, rate, **how) == form(noting(), texts, rate, **how)


@forms
def test_two_threads_give_what_one_gives(form: Form, saved: Path) -> None:
    """Rates, questions and protection take turns in both threads; scores, spans and bytes are those of one thread."""
    generator = np.random.default_rng(0)
    jobs: list[tuple[list[str], float, dict[str, Any]]] = [
        (
            [" ".join(generator.permutation(TEXTS).tolist()) for _ in range(1 + i % 3)],
            (0.2, 0.5, 0.8, 0.35)[i % 4],
            {"question": (None, "Who paid?", "What is it?")[i % 3], "protect": [[], PROTECT][i % 2], "min_tokens": 1},
        )
        for i in range(24)
    ]

    def work(job: tuple[list[str], float, dict[str, Any]]) -> list[str]:
        texts, rate, how = job
        return form(shared, texts, rate, **how)

    shared = Compressor.from_pretrained(saved, device="cpu")
    serial = [work(job) for job in jobs]
    assert len({text for texts in serial for text in texts}) > 24
    shared = Compressor.from_pretrained(saved, device="cpu")  # with nothing remembered
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, jobs * 2)) == serial * 2


@settings(max_examples=15)
@given(ANY, RATES, QUESTIONS)
def test_messages_and_json_do_what_compress_does(texts: list[str], rate: float, question: str | None) -> None:
    """Each text of a conversation is compressed as if alone, those of a document as a list: scores, spans, bytes."""
    how: dict[str, Any] = {"question": question, "protect": ["numbers"], "min_tokens": 1}
    prose = [text for text in texts if not is_json(text)]
    words = [text for text in prose if not text.isascii() or len(text.split()) > 1]  # what may become shorter in JSON

    def done(form: str, texts: list[str]) -> tuple[list[str], list[Compressed]]:
        compressor = noting()
        return FORMS[form](compressor, texts, rate, **how), compressor.noted

    assert done("messages", prose) == done("text", prose)
    assert done("value", words) == done("list", words)
    assert done("json", texts) == done("value", texts)
