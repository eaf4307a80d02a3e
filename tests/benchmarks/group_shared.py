"""`make bench-group_shared`: one forward and backward a prompt for its G samples, against one row a sample."""

from __future__ import annotations

import numpy as np
import torch

from policies.grpo_learner import grpo_terms
from policies.learner import DECISIONS
from rlcompress.learning.sampling import draw_logp, gumbel_priorities, pack_rankings
from rlcompress.models.scorer import build_scorer
from rlcompress.selection import budget_tokens, rank
from rlcompress.text.segment import Segmenter
from tests.benchmarks.setting import alternate, median_ratio, quickstart, record, texts

PROMPTS, SAMPLES, RUNS = 16, 8, 15
BY_PROMPT = ("free_P", "tau_P", DECISIONS)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = quickstart()
    examples, reader = texts(PROMPTS)
    network, featurise = build_scorer(config.policy.model_dump(), reader)
    segmenter = Segmenter(reader)
    units = [segmenter(example.text) for example in examples]
    features = featurise(units, [None] * PROMPTS)
    inputs = {name: torch.from_numpy(value) for name, value in features.items()}
    rng = np.random.default_rng(0)
    rankings = [
        [rank(u, gumbel_priorities(np.zeros(len(u)), 1.0, rng), budget_tokens(u, 0.5)) for _ in range(SAMPLES)]
        for u in units
    ]
    order, draws, free = (torch.from_numpy(a) for a in pack_rankings(rankings, inputs["exists_PN"].shape[1]))
    batch = {
        "order_PGN": order,
        "draws_PG": draws,
        "free_P": free,
        "tau_P": torch.ones(PROMPTS),
        "ok_PG": torch.ones(PROMPTS, SAMPLES, dtype=torch.bool),
        "advantage_PG": torch.randn(PROMPTS, SAMPLES),
        DECISIONS: torch.full((PROMPTS,), float(draws.sum())),
    }
    with torch.no_grad():
        batch["logp_PGN"] = draw_logp(network(inputs), order, draws, free, batch["tau_P"])
    repeated_inputs = {name: value.repeat_interleave(SAMPLES, 0) for name, value in inputs.items()}
    repeated_batch = {
        name: value.repeat_interleave(SAMPLES, 0) if name in BY_PROMPT else value.flatten(0, 1)[:, None]
        for name, value in batch.items()
    }
    settings = config.learner.model_dump()
    gradients: list[torch.Tensor] = []

    def learn(given: dict[str, torch.Tensor], columns: dict[str, torch.Tensor]) -> None:
        network.zero_grad(set_to_none=True)
        grpo_terms(network(given), columns, settings, None)["loss"].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
        del gradients[:-2]

    slow, fast = alternate(lambda: learn(repeated_inputs, repeated_batch), lambda: learn(inputs, batch), RUNS)
    rows = PROMPTS * SAMPLES
    record(
        "group_shared",
        {
            "baseline": "every sample a row of its own",
            "prompts": PROMPTS,
            "samples_per_prompt": SAMPLES,
            "runs": RUNS,
            "samples_per_second_baseline": rows / float(np.median(slow)),
            "samples_per_second": rows / float(np.median(fast)),
            "speed_up": median_ratio(slow, fast),
            "largest_gradient_difference": float((gradients[0] - gradients[1]).abs().max()),
        },
    )


if __name__ == "__main__":
    main()
