"""A rollout actor for texts: it writes G outputs for each prompt and asks the environment about all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import gymnasium as gym
import numpy as np

from policies.group_sampling import NOISE, GroupSampling, make_env
from policies.rollouts import Task
from policies.text_groups import TextGroup
from rlcompress.errors import UserError
from rlcompress.generation.rewriting import rewritten
from rlcompress.generation.writing import Written
from rlcompress.words import Status


class TextRunner(GroupSampling[TextGroup]):
    """Samples groups of texts for GRPO."""

    def sample_chunk(self, tasks: list[Task]) -> list[TextGroup]:
        G, asked = self.group_size, self.filled(tasks)
        observed, _ = self.env.reset(
            options={"indices": [task.example for task in asked], "rates": [task.rate for task in asked]}
        )
        originals = list(observed["text"][::G])[: len(tasks)]
        rates = observed["rate"][::G, 0].tolist()[: len(tasks)]
        prompts = self.module.prompt_ids(originals, rates)
        written = self._write(tasks, prompts)
        texts = [rewritten(output, self.module.template) for output in written]
        texts += texts[-G:] * (len(asked) - len(tasks))  # nothing is written for repeated tasks
        _, rewards, _, _, outcome = self.env.step(texts)
        return [
            _group(task, originals[p], prompts[p], written, slice(p * G, (p + 1) * G), rewards, outcome)
            for p, task in enumerate(tasks)
        ]

    def rewrite(self, texts: Sequence[str], rates: Sequence[float]) -> list[str]:
        """Each text as the policy rewrites it when it is served; `Unfinished` where its output does not end."""
        prompts = self.module.prompt_ids(texts, rates)
        written = self.module.write(prompts, 0.0, [[0]] * len(prompts))
        return [rewritten(output, self.module.template) for output in written]

    def _write(self, tasks: Sequence[Task], prompts: Sequence[Sequence[int]]) -> list[Written]:
        """G outputs for each task, in one call for all that share a temperature."""
        written: list[Written] = []
        for tau, some in groupby(zip(tasks, prompts, strict=True), key=lambda pair: pair[0].tau):
            rows = [(task, ids, g) for task, ids in some for g in range(self.group_size)]
            seeds = [[task.seed, NOISE, task.serial, g] for task, _, g in rows]
            written += self.module.write([ids for _, ids, _ in rows], tau, seeds)
        return written


def _group(
    task: Task,
    original: str,
    prompt: Sequence[int],
    written: Sequence[Written],
    rows: slice,
    rewards: Any,
    outcome: dict[str, Any],
) -> TextGroup:
    outputs = written[rows]
    return TextGroup(
        task=task,
        original=original,
        prompt=list(prompt),
        outputs=tuple(output.ids for output in outputs),
        logp=tuple(output.sampling_logp_T for output in outputs),
        ending_G=tuple(output.ending for output in outputs),
        text_G=tuple(str(text) for text in outcome["text"][rows]),
        reward_G=np.asarray(rewards[rows], np.float64),
        status_G=tuple(Status(s) for s in outcome["status"][rows]),
        terms={name: np.asarray(values[rows]) for name, values in outcome["reward_terms"].items()},
        gates={name: np.asarray(values[rows]) for name, values in outcome["gates"].items()},
        achieved_rate_G=np.asarray(outcome["achieved_rate"][rows], np.float64),
        judge_version_G=tuple(judgement.version for judgement in outcome["judgement"][rows]),
    )


def check_env(config: Any) -> None:
    """Make and close one environment here.

    Raises:
        UserError: its episodes have several steps; whatever the environment raises.
    """
    env: gym.vector.VectorEnv[Any, Any, Any] = make_env(config, 0)
    several = "left" in env.single_observation_space.spaces
    env.close()
    if several:
        raise UserError("env.form iterative: this learner takes one rewrite an episode: set it to single")
