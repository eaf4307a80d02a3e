"""`PromptRewritingVector`: whole groups of rewrites in lockstep, judged by one call a step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.dealing import Passage
from envs.rewriting_world import Outcome, RewritingWorld, State
from envs.text_space import UnicodeText
from rlcompress.errors import UserError
from rlcompress.words import BoolArray, FloatArray

BatchedObservation = dict[str, Any]
Infos = dict[str, Any]
Step = tuple[BatchedObservation, FloatArray, BoolArray, BoolArray, Infos]


class PromptRewritingVector(VectorEnv[BatchedObservation, Sequence[str], FloatArray]):
    """`num_envs` times `PromptRewriting`, with the keyword arguments of `RewritingWorld`.

    `samples` = G environments that follow each other make up a group: they rewrite the same problem at the same rate.
    `reset(options={"indices": [...], "rates": [...]})` picks one problem and rate for each of the P = num_envs / G
    groups; what is not picked is drawn, each problem once before any twice.

    Every episode has the same length, so all end together; the step after that resets all of them, ignores its actions
    and pays 0 (NEXT_STEP autoreset, as RLlib expects).

    Infos hold arrays of length num_envs, or dictionaries of them, as Gymnasium's `DictInfoToList` wants. After a
    reset: `index`, `id`, `rate`, `tokens`, `group`. After a step: what `PromptRewriting` has, with verdicts as objects
    and NaN for terms that were not computed. Rewards are NaN where there was no verdict. All arrays are fresh.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, num_envs: int = 1, *, samples: int = 1, render_mode: None = None, **world: Any) -> None:
        if samples < 1 or num_envs % samples:
            raise UserError(f"{num_envs} environments are no whole groups of {samples} samples: give a multiple")
        self.num_envs = num_envs
        self.samples = samples
        self.render_mode = render_mode
        self.world = RewritingWorld(**world)
        self.single_observation_space = self.world.observation_space()
        self.single_action_space = UnicodeText()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._passage = Passage(len(self.world.problems))
        self._states: list[State] = []
        self._over = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[BatchedObservation, Infos]:
        super().reset(seed=seed)
        if seed is not None:
            self._passage.restart()
        columns = [self._column(options or {}, name) for name in ("indices", "rates")]
        groups = [self.world.initial(self.np_random, self._passage, *row) for row in zip(*columns, strict=True)]
        self._states = [state for state in groups for _ in range(self.samples)]
        self._over = False
        return self._observations(), self._reset_infos()

    def step(self, actions: Sequence[str]) -> Step:
        if self._over:
            observations, infos = self.reset()
            return observations, np.zeros(self.num_envs), self._all(False), self._all(False), infos
        outcomes = self.world.outcomes(self._states, list(actions))
        self._states = [outcome.state for outcome in outcomes]
        self._over = self.world.over(self._states[0])
        rewards_B = np.asarray([outcome.reward for outcome in outcomes], np.float64)
        return self._observations(), rewards_B, self._all(self._over), self._all(False), self._step_infos(outcomes)

    def _column(self, options: Mapping[str, Any], name: str) -> Sequence[Any]:
        groups = self.num_envs // self.samples
        values: Sequence[Any] = options.get(name, [None] * groups)
        if len(values) != groups:
            raise UserError(f"reset option {name} has {len(values)} entries: give one for each of {groups} groups")
        return values

    def _all(self, value: bool) -> BoolArray:
        return np.full(self.num_envs, value, np.bool_)

    def _observations(self) -> BatchedObservation:
        rows = [self.world.observation(state) for state in self._states]
        return {
            name: tuple(row[name] for row in rows) if isinstance(first, str) else np.stack([row[name] for row in rows])
            for name, first in rows[0].items()
        }

    def _reset_infos(self) -> Infos:
        indices = [state.index for state in self._states]
        return {
            "index": np.asarray(indices, np.int64),
            "id": _objects(self.world.problems[index].id for index in indices),
            "rate": np.asarray([state.rate for state in self._states], np.float64),
            "tokens": np.asarray([self.world.tokens[index] for index in indices], np.int64),
            "group": np.arange(self.num_envs) // self.samples,
        }

    def _step_infos(self, outcomes: Sequence[Outcome]) -> Infos:
        terms = [outcome.breakdown.terms for outcome in outcomes]
        return {
            "status": _objects(outcome.state.status for outcome in outcomes),
            "reward_terms": {
                name: np.asarray([values.get(name, math.nan) for values in terms], np.float64)
                for name in self.world.reward.weights
            },
            "reward_gates": _flags([outcome.breakdown.gates for outcome in outcomes]),
            "gates": _flags([outcome.gates for outcome in outcomes]),
            "rate": np.asarray([state.rate for state in self._states], np.float64),
            "achieved_rate": np.asarray([outcome.achieved_rate for outcome in outcomes], np.float64),
            "tokens": np.asarray([outcome.tokens for outcome in outcomes], np.int64),
            "text": _objects(outcome.text for outcome in outcomes),
            "judgement": _objects(outcome.judgement for outcome in outcomes),
            "original": _objects(outcome.original for outcome in outcomes),
        }


def _flags(rows: Sequence[Mapping[str, bool]]) -> dict[str, BoolArray]:
    return {name: np.asarray([row[name] for row in rows], np.bool_) for name in rows[0]}


def _objects(values: Iterable[object]) -> NDArray[np.object_]:
    return np.fromiter(values, np.object_)
