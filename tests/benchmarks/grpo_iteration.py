"""`make bench-grpo_iteration`: one GRPO iteration on RLlib and Ray actors, against the same loop in plain torch."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from cluster.assembly import build_algorithm
from cluster.services import RemoteJudge, start_judge, wait_until_ready
from cluster.session import ray_session
from cluster.stages import prepared_data
from envs.masking_vector import TokenMaskingVector
from policies.grpo_learner import grpo_terms
from policies.learner import DECISIONS
from rlcompress.artifact import WEIGHTS
from rlcompress.config.schema import RunConfig
from rlcompress.data.dataset import PromptOrder
from rlcompress.judges.build import load_judge
from rlcompress.learning.advantages import ADVANTAGES
from rlcompress.learning.sampling import draw_logp, gumbel_priorities, pack_rankings
from rlcompress.models.reconstructor import MaskedReconstructor
from rlcompress.models.scorer import build_scorer
from rlcompress.selection import budget_tokens, rank
from rlcompress.text.segment import Segmenter
from tests.benchmarks.setting import alternate, median_ratio, quickstart, record

RUNS, PER_RUN = 10, 3


class PlainLoop:
    """The same prompts, sampler, environment, judge, loss and optimiser in one process, without Ray."""

    def __init__(self, config: RunConfig, data: Any, judge_folder: Path) -> None:
        self.config, self.data = config, data
        self.examples = data.examples("train")
        self.G, self.P = config.learner.samples_per_prompt, config.learner.prompts_per_step
        segmenter = Segmenter(data.reader)
        self.env = TokenMaskingVector(
            self.P * self.G, examples=self.examples, segmenter=segmenter, judge=load_judge(judge_folder)
        )
        self.network, self.featurise = build_scorer(config.policy.model_dump(), data.reader)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=config.learner.lr, weight_decay=0.0)
        self.order, self.position = PromptOrder(len(self.examples), config.seed), 0
        self.tau = config.learner.temperature.start

    def iterate(self) -> None:
        G, P, rng = self.G, self.P, np.random.default_rng([self.config.seed, self.position])
        chosen = self.order.take(self.position, P)
        self.position += P
        rates = [self.config.env.rates[i] for i in rng.integers(len(self.config.env.rates), size=P)]
        _, infos = self.env.reset(
            options={"indices": list(np.repeat(chosen, G)), "rates": [r for r in rates for _ in range(G)]}
        )
        units = list(infos["units"][::G])
        features = self.featurise(units, [None] * P)
        inputs = {name: torch.from_numpy(value) for name, value in features.items()}
        with torch.no_grad():
            scores_PN = self.network(inputs)
        actions = np.zeros((P * G, self.env.world.n_max))
        rankings = []
        for p, u in enumerate(units):
            drawn = [gumbel_priorities(scores_PN[p, : len(u)].double().numpy(), self.tau, rng) for _ in range(G)]
            rankings.append([rank(u, values, budget_tokens(u, rates[p])) for values in drawn])
            for g, values in enumerate(drawn):
                actions[p * G + g, : len(values)] = values
        _, rewards, *_ = self.env.step(actions)
        order, draws, free = (torch.from_numpy(a) for a in pack_rankings(rankings, scores_PN.shape[1]))
        ok_PG = draws > 0
        reward_PG = torch.from_numpy(rewards.reshape(P, G))
        batch = {
            "order_PGN": order,
            "draws_PG": draws,
            "free_P": free,
            "tau_P": torch.full((P,), self.tau),
            "ok_PG": ok_PG,
            "advantage_PG": ADVANTAGES[self.config.learner.algorithm](reward_PG, ok_PG).float(),
            DECISIONS: torch.full((P,), float(draws.sum())),
        }
        batch["logp_PGN"] = draw_logp(scores_PN, order, draws, free, batch["tau_P"])
        loss = grpo_terms(self.network(inputs), batch, self.config.learner.model_dump(), None)["loss"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.learner.grad_clip)
        self.optimizer.step()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ray_session(RunConfig()):
        config = quickstart().model_copy(update={"runs": folder})
        torch.set_num_threads(config.judges.reward.threads)
        data = prepared_data(config)
        judge_folder = Path(folder) / "judge"
        settings = config.judges.reward
        assert data.reader.mask_id is not None
        model = MaskedReconstructor(
            "attention", data.reader.vocabulary, data.reader.mask_id, settings.width, settings.layers
        )
        model.save(judge_folder)
        data.reader.save(judge_folder / "tokenizer")
        (judge_folder / "judge.json").write_text(
            json.dumps({"settings": settings.model_dump(), "version": "untrained"})
        )
        plain = PlainLoop(config, data, judge_folder)
        weights = Path(folder) / WEIGHTS
        _save(plain.network, weights)
        judge = RemoteJudge("benchmark-judge", settings.timeout)
        actor = start_judge(judge.name, judge_folder, settings, "cpu", restarts=0)
        wait_until_ready(judge)
        algorithm = build_algorithm(config, data.folder, len(plain.examples), judge, weights)
        slow, fast = alternate(
            lambda: [algorithm.train() for _ in range(PER_RUN)], lambda: [plain.iterate() for _ in range(PER_RUN)], RUNS
        )
        algorithm.stop()
        ray.kill(actor)
        record(
            "grpo_iteration",
            {
                "baseline": "the same loop in plain torch, one process",
                "prompts_per_step": config.learner.prompts_per_step,
                "samples_per_prompt": config.learner.samples_per_prompt,
                "runs": RUNS,
                "iterations_per_run": PER_RUN,
                "seconds_per_iteration_baseline": float(np.median(fast)) / PER_RUN,
                "seconds_per_iteration": float(np.median(slow)) / PER_RUN,
                "times_the_baseline": median_ratio(slow, fast),
            },
        )


def _save(network: torch.nn.Module, file: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: value.contiguous().clone() for name, value in network.state_dict().items()}, str(file))


if __name__ == "__main__":
    main()
