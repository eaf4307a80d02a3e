"""`TokenMaskingVector`: many masking episodes in lockstep, judged by one call a step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.dealing import Passage
from envs.masking_world import MaskingWorld, Outcome, Priorities, State
from rlcompress.errors import UserError
from rlcompress.words import BoolArray, FloatArray

BatchedObservation = dict[str, Any]
Infos = dict[str, Any]
Step = tuple[BatchedObservation, FloatArray, BoolArray, BoolArray, Infos]


class TokenMaskingVector(VectorEnv[BatchedObservation, Any, FloatArray]):
    """`num_envs` times `TokenMasking`, one step or `passes` steps long, with the keyword arguments of `MaskingWorld`.

    Every episode has the same length, so all end together; the step after that resets all of them, ignores its actions
    and pays 0 (NEXT_STEP autoreset, as RLlib expects). `reset(options={"indices": [...], "rates": [...]})` picks one
    example and rate for each environment, and `prices` of their tokens where the reward asks for one; what is not
    picked is drawn, each example once before any twice.

    Infos hold arrays of length num_envs, or dictionaries of them, as Gymnasium's `DictInfoToList` wants. After a
    reset: `index`, `id`, `rate`, `units`. After a step: `status`, `reward_terms`, `reward_gates`, `rate`,
    `achieved_rate`, `kept_tokens`, `compression`, `judgement` (the objects), with NaN for terms that were not computed.
    Rewards are NaN where there was no verdict; see `TokenMasking`. All arrays are fresh: callers may keep them.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, num_envs: int = 1, *, render_mode: None = None, **world: Any) -> None:
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.world = MaskingWorld(**world)
        self.single_observation_space = self.world.observation_space()
        self.single_action_space = self.world.action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.judge_calls = 0
        self._passage = Passage(len(self.world.examples))
        self._states: list[State] = []
        self._over = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[BatchedObservation, Infos]:
        super().reset(seed=seed)
        if seed is not None:
            self._passage.restart()
        picked = options or {}
        columns = [self._column(picked, name) for name in ("indices", "rates", "prices")]
        self._states = [self.world.initial(self.np_random, self._passage, *row) for row in zip(*columns, strict=True)]
        self._over = False
        return self._observations(), self._reset_infos()

    def step(self, actions: FloatArray | Sequence[Priorities]) -> Step:
        if self._over:
            observations, infos = self.reset()
            return observations, np.zeros(self.num_envs), self._all(False), self._all(False), infos
        outcomes = self.world.outcomes(self._states, list(actions))
        self.judge_calls += 1
        self._states = [outcome.state for outcome in outcomes]
        self._over = self.world.over(self._states[0])
        rewards_B = np.asarray([outcome.reward for outcome in outcomes], np.float64)
        return self._observations(), rewards_B, self._all(self._over), self._all(False), self._step_infos(outcomes)

    def _column(self, options: dict[str, Any], name: str) -> Sequence[Any]:
        values: Sequence[Any] = options.get(name, [None] * self.num_envs)
        if len(values) != self.num_envs:
            raise UserError(f"reset option {name} has {len(values)} entries: give one for each of {self.num_envs} envs")
        return values

    def _all(self, value: bool) -> BoolArray:
        return np.full(self.num_envs, value, np.bool_)

    def _observations(self) -> BatchedObservation:
        rows = [self.world.observation(state) for state in self._states]
        texts = {name: tuple(row[name] for row in rows) for name in ("text", "question")}
        numbers = {name: np.stack([row[name] for row in rows]) for name in rows[0] if name not in texts}
        return {**texts, **numbers}

    def _reset_infos(self) -> Infos:
        return {
            "index": np.asarray([state.index for state in self._states], np.int64),
            "id": _objects(self.world.examples[state.index].id for state in self._states),
            "rate": np.asarray([state.rate for state in self._states], np.float64),
            "units": _objects(self.world.units[state.index] for state in self._states),
        }

    def _step_infos(self, outcomes: list[Outcome]) -> Infos:
        breakdowns = [outcome.breakdown for outcome in outcomes]
        compressions = [outcome.compression for outcome in outcomes]
        return {
            "status": _objects(outcome.status for outcome in outcomes),
            "reward_terms": {
                name: np.asarray([breakdown.terms.get(name, math.nan) for breakdown in breakdowns], np.float64)
                for name in self.world.reward.terms
            },
            "reward_gates": {
                name: np.asarray([breakdown.gates[name] for breakdown in breakdowns], np.bool_)
                for name in breakdowns[0].gates
            },
            "rate": np.asarray([state.rate for state in self._states], np.float64),
            "achieved_rate": np.asarray([compression.achieved_rate for compression in compressions], np.float64),
            "kept_tokens": np.asarray([compression.kept_tokens for compression in compressions], np.int64),
            "compression": _objects(compressions),
            "judgement": _objects(outcome.judgement for outcome in outcomes),
        }


def _objects(values: Iterable[object]) -> NDArray[np.object_]:
    return np.fromiter(values, np.object_)
