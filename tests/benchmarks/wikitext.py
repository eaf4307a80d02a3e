"""`make study-wikitext`: the study of masking on Wikipedia articles, beside every baseline that needs no question.

Trains `tune_configs/masking/wikitext.yaml` with seeds 0, 1 and 2 on one split by article of `wikitext-2/valid.txt` in
the folder that `RLCOMPRESS_TEST_DATA` names, and keeps figures and per-item scores under
`tests/benchmarks/results/wikitext/`.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.benchmarks.masking import study

if __name__ == "__main__":
    source = Path(os.environ["RLCOMPRESS_TEST_DATA"]) / "wikitext-2" / "valid.txt"
    local = [f"data.source={source}", "data.hub_config=null", "data.hub_split=train"]
    study("wikitext", "tune_configs/masking/wikitext.yaml", __doc__, local)
