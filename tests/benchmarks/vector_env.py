"""`make bench-vector_env`: one judge call for a vector of samples, against one environment and one call a sample."""

from __future__ import annotations

import numpy as np
import torch

from envs.masking import TokenMasking
from envs.masking_vector import TokenMaskingVector
from rlcompress.judges.reconstruction import ReconstructionJudge
from rlcompress.text.segment import Segmenter
from tests.benchmarks.setting import alternate, judge, median_ratio, quickstart, record, texts

SAMPLES, RUNS = 128, 5


def main() -> None:
    torch.set_num_threads(1)
    config = quickstart()
    examples, reader = texts(64)
    segmenter = Segmenter(reader)

    def fresh_judge() -> ReconstructionJudge:
        return judge(reader, config)

    # one call a sample has no company, so its judge is given chunks of one row and wastes nothing on filling
    alone = fresh_judge()
    alone.chunk = 1
    single = TokenMasking(examples=examples, segmenter=segmenter, judge=alone)
    vector = TokenMaskingVector(SAMPLES, examples=examples, segmenter=segmenter, judge=fresh_judge())
    rng = np.random.default_rng(0)
    indices = [i % len(examples) for i in range(SAMPLES)]

    def one_by_one() -> None:
        for index in indices:
            single.reset(options={"index": index, "rate": 0.5})
            single.step(rng.normal(size=single.world.n_max))

    def together() -> None:
        vector.reset(options={"indices": indices, "rates": [0.5] * SAMPLES})
        vector.step(rng.normal(size=(SAMPLES, vector.world.n_max)))

    slow, fast = alternate(one_by_one, together, RUNS)
    record(
        "vector_env",
        {
            "baseline": "one TokenMasking, one judge call a sample",
            "samples": SAMPLES,
            "runs": RUNS,
            "samples_per_second_baseline": SAMPLES / float(np.median(slow)),
            "samples_per_second": SAMPLES / float(np.median(fast)),
            "speed_up": median_ratio(slow, fast),
        },
    )


if __name__ == "__main__":
    main()
