"""Texts drawn at random from an evaluation, with what was kept or written of them and what became of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlcompress.measuring.metrics import answer_retention, answer_span
from rlcompress.measuring.results import read_jsonl
from rlcompress.measuring.summary import Row

KEPT = "answer kept"


def drawn_samples(folder: Path, document: Row, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` texts, each with what the reference method (or else the first) made of it at every rate; highest first.

    A version's `verdict` is green where it is `good`. A rewritten text stands whole in `before`, and its answer is left
    out: it is a whole solution. Empty where the folder has no texts or outputs.
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
    shown = []
    for item in chosen:
        outputs = sorted(kept[item], key=lambda output: -output["rate"])
        rewritten = any(output["spans"] is None for output in outputs)
        version = _rewritten if rewritten else _struck
        before = texts[item]["text"] if rewritten else None
        versions = [{"rate": output["rate"], **version(texts[item], output)} for output in outputs]
        shown.append({**texts[item], "method": method, "before": before, "versions": versions})
    return shown


def _struck(text: Row, output: Row) -> dict[str, Any]:
    verdict = survival(text["answer"], output["text"])
    return {"pieces": struck(text["text"], output["spans"]), "verdict": verdict, "good": verdict == KEPT}


def _rewritten(text: Row, output: Row) -> dict[str, Any]:
    """What was written, whole; `good` where the evaluator solves it and no gate is shut."""
    solved = {True: "solved", False: "not solved", None: "the evaluator failed"}
    words = [solved[output["right"]]]
    words += ["nor was the original"] if output["right"] is False and output["right_original"] is False else []
    words += [f"shuts {', '.join(output['shut'])}"] if output["shut"] else []
    words += [] if output["finished"] else ["did not end: the original is served"]
    good = bool(output["right"] and output["finished"] and not output["shut"])
    return {"pieces": [(True, output["text"])], "verdict": ", ".join(words), "good": good}


def survival(answer: str | None, kept: str) -> str:
    """What became of the answer in the kept text; empty where there is none."""
    if not answer:
        return ""
    if answer_span(answer, kept):
        return KEPT
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
