"""Texts drawn at random from an evaluation, with what was kept of them and whether their answers survived."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlcompress.measuring.metrics import answer_retention, answer_span
from rlcompress.measuring.results import read_jsonl
from rlcompress.measuring.summary import Row


def drawn_samples(folder: Path, document: Row, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` texts, each with what the reference method (or else the first) kept at every rate; highest rate first.

    Empty where the folder has no texts or outputs.
    """
    if not all((folder / name).exists() for name in ("outputs.jsonl", "texts.jsonl")):
        return []
    texts = list(read_jsonl(folder / "texts.jsonl"))
    methods = [row["method"] for row in document["results"]]
    reference = document["settings"]["reference"]
    method = reference if reference in methods else next(iter(methods), "")
    chosen = np.random.default_rng([seed, len(texts)]).permutation(len(texts))[:count].tolist()
    kept: dict[int, list[Row]] = {item: [] for item in chosen}
    for output in read_jsonl(folder / "outputs.jsonl"):
        if output["method"] == method and output["item"] in kept and output["seed"] == document["settings"]["seed"]:
            kept[output["item"]].append(output)
    return [
        {
            **texts[item],
            "method": method,
            "versions": [
                {
                    "rate": output["rate"],
                    "pieces": struck(texts[item]["text"], output["spans"]),
                    "survival": survival(texts[item]["answer"], output["text"]),
                }
                for output in sorted(kept[item], key=lambda output: -output["rate"])
            ],
        }
        for item in chosen
    ]


def survival(answer: str | None, kept: str) -> str:
    """What became of the answer in the kept text; empty where there is none."""
    if not answer:
        return ""
    if answer_span(answer, kept):
        return "answer kept"
    return "answer kept in pieces" if answer_retention(answer, kept) else "answer lost"


def struck(text: str, spans: Sequence[Sequence[int]]) -> list[tuple[bool, str]]:
    """The whole text as (kept, piece) in order; pieces outside `spans` were dropped."""
    pieces: list[tuple[bool, str]] = []
    position = 0
    for start, end in spans:
        pieces += [(False, text[position:start]), (True, text[start:end])]
        position = end
    pieces.append((False, text[position:]))
    return [(kept, piece) for kept, piece in pieces if piece]
