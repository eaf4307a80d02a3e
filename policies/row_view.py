"""A masking environment as RLlib sees it: numbers instead of texts, and episodes that somebody has asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from policies.rollouts import Task

SEEN = ("rate", "alive", "progress", "budget_left")  # handed on as they are
Observation = dict[str, NDArray[Any]]


class RowView(VectorEnv[Any, Any, Any]):
    """A progressive `TokenMaskingVector` whose texts are replaced by their row in the training split.

    Episodes are those of the tasks that were handed out last: RLlib resets without saying what to. `paid` is the sum
    of the rewards so far, for the critic: what serves a text has no judge, so the environment does not show it.
    Infos: `task`, `sample` and `units` (their number) after a reset; `status`, `terms`, `achieved_rate` and
    `judge_version` after a step.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, texts: VectorEnv[Any, Any, Any]) -> None:
        self.texts = texts
        self.num_envs = texts.num_envs
        single = texts.single_observation_space
        row = spaces.Box(0, np.iinfo(np.int64).max, (1,), np.int64)
        paid = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.single_observation_space = spaces.Dict({"row": row, "paid": paid, **{name: single[name] for name in SEEN}})
        self.single_action_space = texts.single_action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = texts.action_space
        self._asked: list[tuple[Task, int]] = []
        self._row_B1 = np.zeros((self.num_envs, 1), np.int64)
        self._paid_B1 = np.zeros((self.num_envs, 1))

    def hand_out(self, asked: Sequence[tuple[Task, int]]) -> None:
        """The next reset starts these episodes, each a task and which of its samples."""
        self._asked = list(asked)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Any]:
        if len(self._asked) != self.num_envs:
            raise gym.error.ResetNeeded(f"{self.num_envs} episodes start together: hand out as many, then reset")
        tasks = [task for task, _ in self._asked]
        columns = {name: [getattr(t, name) for t in tasks] for name in ("example", "rate", "price")}
        picked = {"indices": columns["example"], "rates": columns["rate"], "prices": columns["price"]}
        observed, infos = self.texts.reset(seed=seed, options=picked)
        self._row_B1 = np.asarray(infos["index"], np.int64)[:, None]
        self._paid_B1 = np.zeros((self.num_envs, 1))
        told = {
            "task": _objects(tasks),
            "sample": np.asarray([sample for _, sample in self._asked]),
            "units": np.asarray([len(units) for units in infos["units"]]),
        }
        return self._numbers(observed), told

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, Any]:
        observed, reward_B, terminated_B, truncated_B, infos = self.texts.step(actions)
        # a failed verdict is NaN: its episode leaves the loss whole, and the critic's other rows stay numbers
        self._paid_B1 = np.nan_to_num(self._paid_B1 + np.asarray(reward_B, np.float64)[:, None])
        told = {
            "status": infos["status"],
            "terms": infos["reward_terms"],
            "achieved_rate": infos["achieved_rate"],
            "judge_version": _objects([judgement.version for judgement in infos["judgement"]]),
        }
        return self._numbers(observed), reward_B, terminated_B, truncated_B, told

    def close_extras(self, **kwargs: Any) -> None:
        self.texts.close()

    def _numbers(self, observed: Observation) -> Observation:
        return {"row": self._row_B1.copy(), "paid": self._paid_B1.copy(), **{name: observed[name] for name in SEEN}}


def _objects(values: Sequence[object]) -> NDArray[np.object_]:
    return np.fromiter(values, np.object_)
