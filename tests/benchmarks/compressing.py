"""`make bench-compressing`: what compressing costs beside the forward pass of the same network on the same tokens.

The baseline reads the text's tokens once, in windows side by side that were cut and padded before the clock started.
Compressing also tokenises, cuts, reads windows that overlap, sums up, selects and tokenises what is left. Weights are
untrained: the work is that of trained ones. Every round has a text of its own, so nothing is remembered.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from rlcompress import __version__
from rlcompress.artifact import Manifest, save_artifact
from rlcompress.compressor import Compressor
from rlcompress.config.schema import RunConfig
from rlcompress.models.scorer import TextScorer, build_scorer
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.words import Units
from tests.benchmarks.setting import long_texts, quickstart, record, small_bert, texts

LENGTHS = (128, 512, 2048, 8192, 32768)
ROUNDS = 7


def main() -> None:
    figures = {kind: measured(kind, LENGTHS, ROUNDS) for kind in ENCODERS}
    record(
        "compressing",
        {"baseline": "forward of the same network on the same tokens, windows side by side", "encoders": figures},
    )


ENCODERS = {
    "builtin:scorer": "the quickstart's: 2 layers of 128",
    "hub": "a BERT of 6 layers of 384 (the shape of MiniLM)",
}


def measured(kind: str, lengths: Sequence[int], rounds: int) -> dict[str, Any]:
    """Figures of each length: medians over rounds of seconds and of ratios within a round."""
    _, reader = texts(1)
    with tempfile.TemporaryDirectory() as folder:
        compressor = untrained(Path(folder), kind, reader)
        return {
            "what": ENCODERS[kind],
            "lengths": {str(length): summed_up(list(timed(compressor, length, rounds)), length) for length in lengths},
        }


def summed_up(found: Sequence[dict[str, float]], length: int) -> dict[str, Any]:
    middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
    return {
        "tokens_per_second": length / middle["compress_s"],
        "share_outside_the_network": statistics.median(1 - one["inside_s"] / one["compress_s"] for one in found),
        "of_the_baseline": statistics.median(one["baseline_s"] / one["compress_s"] for one in found),
        "rounds": list(found),
    }


def timed(compressor: Compressor, length: int, rounds: int) -> Iterator[dict[str, float]]:
    """Seconds of compressing a text of so many tokens, of its network within, and of the baseline."""
    bare = Compressor.from_pretrained(compressor.path or "", "cpu")  # a copy that remembers texts for itself
    network = compressor._scorer.network
    for i, text in enumerate(long_texts(bare.segmenter.tokenizer, length, rounds + 1)):
        raw = side_by_side(bare._scorer, bare.segmenter(text))
        with torch.no_grad():
            started = time.perf_counter()
            bare._scorer.network(raw)
            baseline = time.perf_counter() - started
        with Inside(network) as inside:
            started = time.perf_counter()
            compressor.compress(text, 0.5)
            seconds = time.perf_counter() - started
        if i:  # the first round warms up
            yield {"compress_s": seconds, "inside_s": inside.seconds, "baseline_s": baseline}


class Inside:
    """The seconds that a network's forward passes take."""

    def __init__(self, network: nn.Module) -> None:
        self.seconds = 0.0
        self._started = 0.0
        self._hooks = [network.register_forward_pre_hook(self._start), network.register_forward_hook(self._stop)]

    def _start(self, *_: object) -> None:
        self._started = time.perf_counter()

    def _stop(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()


def side_by_side(scorer: TextScorer, units: Units) -> dict[str, Tensor]:
    """The network's input for a text in windows that do not overlap."""
    room = scorer.features.window
    ids_T, _ = scorer.features.tokenizer.encode(units.text)
    bounds = list(pairwise([*range(0, len(ids_T), room), len(ids_T)]))
    shape = (1, len(bounds), min(room, len(ids_T)))
    ids, valid = np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    for w, (a, b) in enumerate(bounds):
        ids[0, w, : b - a], valid[0, w, : b - a] = ids_T[a:b], True
    unit = np.minimum(np.cumsum(valid).reshape(shape), len(units)) - 1
    arrays = {"ids_PWT": ids, "valid_PWT": valid, "own_PWT": valid, "unit_PWT": unit, "segment_PWT": 0 * ids}
    arrays["exists_PN"] = np.ones((1, len(units)), np.bool_)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def untrained(folder: Path, kind: str, reader: TextTokenizer) -> Compressor:
    config: RunConfig = quickstart()
    policy = config.policy
    if kind == "hub":
        saved = small_bert(folder / "encoder", layers=6, width=384)
        policy = policy.model_copy(update={"encoder": str(saved)})
    network, _ = build_scorer(policy.model_dump(), reader)
    manifest = Manifest(
        name="untrained",
        created_by=__version__,
        policy=policy,
        granularity=config.env.granularity,
        rates=config.env.rates,
        seed=config.seed,
        iteration=0,
        stage="prior",
        data={"source": config.data.source},
    )
    save_artifact(folder / "artifact", manifest, network, reader)
    return Compressor.from_pretrained(folder / "artifact", "cpu")


if __name__ == "__main__":
    main()
