"""A rollout actor that owns whole groups: one policy forward for P prompts, G samples each, one judge call."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from policies.group_sampling import NOISE, GroupSampling
from policies.groups import Group
from policies.module import SCORES
from policies.rollouts import Task
from rlcompress.learning.samplers import SAMPLERS
from rlcompress.learning.sampling import pack_rankings
from rlcompress.models.features import Features
from rlcompress.selection import Ranking
from rlcompress.words import FloatArray, Status, Units


class GroupRunner(GroupSampling[Group]):
    """Samples groups for GRPO: masks of texts, all from one forward."""

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.sampler = SAMPLERS[config.env_config["sampler"]]

    def sample_chunk(self, tasks: list[Task]) -> list[Group]:
        G, wanted = self.group_size, len(tasks)
        copies = [task for task in self.filled(tasks) for _ in range(G)]
        observed, infos = self.env.reset(
            options={
                "indices": [task.example for task in copies],
                "rates": [task.rate for task in copies],
                "prices": [task.price for task in copies],
            }
        )
        texts: list[Units] = list(infos["units"][::G])[:wanted]
        questions: list[str | None] = [text or None for text in observed["question"][::G]][:wanted]
        features = self.module.features(texts, questions)
        tensors = {name: torch.from_numpy(value).to(self.device) for name, value in features.items()}
        with torch.no_grad():
            scores_PN: torch.Tensor = self.module.forward_inference(tensors)[SCORES].cpu()
        scores = [scores_PN[p, : len(units)].double().numpy() for p, units in enumerate(texts)]
        priorities = [
            [
                self.sampler.priorities(scores[p], task.tau, np.random.default_rng([task.seed, NOISE, task.serial, g]))
                for g in range(G)
            ]
            for p, task in enumerate(tasks)
        ]
        rankings = [
            [self.sampler.rank(texts[p], values, task.rate) for values in priorities[p]] for p, task in enumerate(tasks)
        ]
        served = [self.sampler.served(texts[p], scores[p], task.rate).kept_tokens for p, task in enumerate(tasks)]
        _, rewards, _, _, outcome = self.env.step(self._actions(priorities))
        totals = [(kept, units.total_cost) for kept, units in zip(served, texts, strict=True)]
        return self._groups(tasks, features, scores_PN, rankings, totals, rewards, outcome)

    def _actions(self, priorities: list[list[FloatArray]]) -> np.ndarray[Any, Any]:
        width = self.env.single_action_space.shape[0]
        actions = np.zeros((self.prompts * self.group_size, width), np.float64)
        for p, group in enumerate(priorities):
            for g, values in enumerate(group):
                actions[p * self.group_size + g, : len(values)] = values
        return actions

    def _groups(
        self,
        tasks: list[Task],
        features: Features,
        scores_PN: torch.Tensor,
        rankings: list[list[Ranking]],
        served: list[tuple[int, int]],
        rewards: Any,
        outcome: dict[str, Any],
    ) -> list[Group]:
        G = self.group_size
        order_PGN, draws_PG, free_P = pack_rankings(rankings, scores_PN.shape[1])
        kept_PG = np.array([[ranking.kept for ranking in group] for group in rankings], np.int64)
        columns = {"order_PGN": order_PGN, "draws_PG": draws_PG, "kept_PG": kept_PG, "free_P": free_P}
        tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
        tensors["tau_P"] = torch.tensor([t.tau for t in tasks])
        logp_PGN = self.sampler.logp(scores_PN, tensors).numpy()
        groups = []
        for p, task in enumerate(tasks):
            rows = slice(p * G, (p + 1) * G)
            groups.append(
                Group(
                    task=task,
                    features={name: value[p : p + 1] for name, value in features.items()},
                    order_GN=order_PGN[p],
                    draws_G=draws_PG[p],
                    chosen_G=kept_PG[p],
                    free=int(free_P[p]),
                    logp_GN=logp_PGN[p],
                    reward_G=np.asarray(rewards[rows], np.float64),
                    status_G=tuple(Status(s) for s in outcome["status"][rows]),
                    terms={name: np.asarray(values[rows]) for name, values in outcome["reward_terms"].items()},
                    achieved_rate_G=np.asarray(outcome["achieved_rate"][rows], np.float64),
                    kept_GN=np.stack([compression.kept_N for compression in outcome["compression"][rows]]),
                    judge_version_G=tuple(judgement.version for judgement in outcome["judgement"][rows]),
                    served=served[p],
                )
            )
        return groups
