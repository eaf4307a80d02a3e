"""rlcompress: reinforcement learning on Ray that trains prompt compressors, proves them and serves them.

Importing it loads nothing heavy: what it offers is fetched on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlcompress.compressor import Compressed as Compressed
    from rlcompress.compressor import Compressor as Compressor
    from rlcompress.llmlingua import PromptCompressor as PromptCompressor
    from rlcompress.rewriter import PromptRewriter as PromptRewriter

__version__ = "0.1.0"

_OFFERED = {
    "Compressor": "rlcompress.compressor",
    "Compressed": "rlcompress.compressor",
    "PromptCompressor": "rlcompress.llmlingua",
    "PromptRewriter": "rlcompress.rewriter",
}


def __getattr__(name: str) -> Any:
    if name not in _OFFERED:
        raise AttributeError(f"module 'rlcompress' has no attribute {name!r}")
    return getattr(importlib.import_module(_OFFERED[name]), name)
