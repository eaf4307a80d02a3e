"""Published rewards by name: what `reward.preset` fills in; see `rewards/published.py` and `rewards/recipes.py`.

A preset is a partial `reward` section. It goes over the defaults and under everything that a file or `--set` says, so
`config show` prints the terms, weights and gates that a run will use. `distortion: 0.0` keeps the share of the bits in
the log and pays nothing for it. Every preset has the gates that close what its source leaves open (`leak`, `bare`, a
floor), and none knows a reward for a failed reader: that is a status, and the sample leaves the loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlcompress.config.merging import merge

_GATES = {"floor": 0.05, "leak": True, "bare": True, "order": True}

PRESETS: dict[str, dict[str, Any]] = {
    # Jung & Kim 2023, "Discrete Prompt Compression with Reinforcement Learning" (PCRL)
    "pcrl": {
        "terms": {"distortion": 0.0, "pcrl": 1.0},
        "similarity": {"kind": "rouge_l"},
        "gates": _GATES,
    },
    # Shandilya et al. 2025, "TACO-RL: Task Aware Prompt Compression Optimization with Reinforcement Learning"
    "taco_rl": {
        "terms": {"distortion": 0.0, "taco_rl": 1.0},
        "similarity": {"kind": "bleu"},
        "gates": _GATES,
    },
    # CORE-RAG: exact match and F1 of the reader's answer, the length as a cap
    "core_rag": {"terms": {"distortion": 0.0, "core_rag": 1.0}, "gates": _GATES},
    # Cmprsr (arXiv 2511.12281): quality and a one-sided price of the length
    "cmprsr": {"terms": {"distortion": 0.0, "cmprsr": 1.0}, "gates": _GATES},
    # TaC-C (arXiv 2605.28713): utility and format behind a budget and a leak gate
    "tac_c": {
        "terms": {"distortion": 0.0, "tac_c": 1.0},
        "length": {"slope": 0.1},
        "gates": _GATES,
    },
    # ours: the reader's answer times a two-sided length
    "guarded": {"terms": {"distortion": 0.0, "guarded": 1.0}, "gates": _GATES},
}


def over_preset(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` of a `reward` section over those of the preset: mappings key by key, all else replaces."""
    return merge(PRESETS[name], values)
