"""`make bench-reader_speed`: a language model on original and compressed prompts, from which length compressing pays.

The compressor has the quickstart's sizes and untrained weights, the readers are GPT-2s with random ones: the work is
that of trained ones, and nothing is said of quality. The second reader has the shape of GPT-2 small.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlcompress import __version__
from rlcompress.artifact import Manifest, save_artifact
from rlcompress.config.schema import RunConfig
from rlcompress.measuring.speed import FILE, speed
from rlcompress.models.scorer import build_scorer
from rlcompress.models.tokenizer import TextTokenizer
from tests.benchmarks.setting import quickstart, record, texts

READERS = ("random:4x256", "random:12x768")
LENGTHS = (64, 256, 1024, 4096)


def main() -> None:
    record("reader_speed", {"readers": measured(READERS, lengths=LENGTHS)})


def measured(readers: Sequence[str], **asked: Any) -> list[dict[str, Any]]:
    """The `speed.json` of each reader in front of one untrained compressor; `asked` are keys of `speed`."""
    config = quickstart()
    _, reader = texts(1)
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "artifact"
        _untrained(artifact, config, reader)
        found = [
            speed(artifact, data="builtin:docs", out=Path(folder) / str(n), device="cpu", reader=name, **asked)
            for n, name in enumerate(readers)
        ]
        return [json.loads((out / FILE).read_text(encoding="utf-8")) for out in found]


def _untrained(artifact: Path, config: RunConfig, reader: TextTokenizer) -> None:
    network, _ = build_scorer(config.policy.model_dump(), reader)
    manifest = Manifest(
        name="untrained",
        created_by=__version__,
        policy=config.policy,
        granularity=config.env.granularity,
        rates=config.env.rates,
        seed=config.seed,
        iteration=0,
        stage="prior",
        data={"source": config.data.source},
    )
    save_artifact(artifact, manifest, network, reader)


if __name__ == "__main__":
    main()
