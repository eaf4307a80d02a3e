"""The README's table of what is often claimed of prompt compression, with the figures of committed results beside it.

`python -m tests.benchmarks.claims` prints it. What survives of answers is counted on contexts that no training saw; no
reader was asked, so the points that are lost are those that a reader which copies its answer must lose at least.
"""

from __future__ import annotations

import json
from typing import Any

from rlcompress.measuring.results import pooled_splits
from tests.benchmarks.tables import RESULTS, without_seed

LONG = (1024, 4096)  # tokens of the prompts whose reading was timed


def markdown() -> str:
    kept = answers_kept()
    points = ", ".join(f"{100 * (1 - kept[rate]):.1f} points at {100 * (1 - rate):.0f} %" for rate in (0.8, 0.65, 0.5))
    shares = ", ".join(f"{100 * kept[rate]:.1f} % at {100 * (1 - rate):.0f} %" for rate in (0.65, 0.5))
    rows = [
        ("30 to 50 % fewer tokens cost less than 3 points", f"answers lost: {points} fewer tokens"),
        ("35 to 50 % fewer tokens preserve more than 90 %", f"answers with every word there: {shares} fewer tokens"),
        ("the reader answers 2 to 3 times faster", faster()),
        ("60 to 90 % of the problems of MBPP are solved", "not measured yet"),
    ]
    return "\n".join(["| claimed | measured here |", "|---|---|", *(f"| {claim} | {found} |" for claim, found in rows)])


def answers_kept() -> dict[float, float]:
    """Share of the answers whose every word survives, by rate, over all seeds of the study of questions."""
    folders = sorted((RESULTS / "context_qa" / "curve").glob("seed-*"))
    rows = pooled_splits(folders, without_seed)["results"]
    mine = [row for row in rows if (row["method"], row["metric"]) == ("context_qa", "answer_retention")]
    return {row["rate"]: row["mean"] for row in mine}


def faster() -> str:
    """How many times sooner the larger of the timed readers is done at half the tokens, compressing included."""
    document: dict[str, Any] = json.loads((RESULTS / "reader_speed.json").read_text(encoding="utf-8"))["readers"][-1]
    halved = {row["length"]: row for row in document["results"] if row["rate"] == 0.5}
    times = ", ".join(
        f"{halved[length]['first_token']['ratio']:.2f} times to the first token and "
        f"{halved[length]['total']['ratio']:.2f} to the last of {document['settings']['new_tokens']} at {length} tokens"
        for length in LONG
    )
    return f"at half the tokens: {times}"


if __name__ == "__main__":
    print(markdown())
