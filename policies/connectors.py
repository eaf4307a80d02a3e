"""RLlib connectors of PPO: rows become features, scores become drawn priorities, rewards become advantages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.connectors.learner import GeneralAdvantageEstimation
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from torch import Tensor

from policies.module import SCORES
from policies.texts import Texts
from rlcompress.learning.advantages import beyond_others, generalised, normalised
from rlcompress.learning.sampling import draw_logp, gumbel_priorities, pack_rankings
from rlcompress.selection import Ranking, budget_tokens, pass_rate, rank
from rlcompress.words import FloatArray

Episodes = Sequence[SingleAgentEpisode]

# columns of a learner's batch beside the features, one row a step
ORDER, DRAWS, FREE, TAU, LOGP = "order_PN", "draws_P", "free_P", "tau_P", "logp_PN"
ADVANTAGE, TARGET, VALUE = "advantage_P", "target_P", "value_P"

_NUMBERS = {"progress_P": "progress", "left_P": "budget_left", "rate_P": "rate", "paid_P": "paid"}  # column: observed
_NOISE = 2  # which stream of the run's seed this is, as in the group runner


class RowFeatures(ConnectorV2):
    """Observations of rows as the columns that the module takes; the same in runners and learners.

    Adds the features of the texts and `alive_PN`, `progress_P`, `left_P`, `rate_P`, `paid_P`: of the newest
    observation of each episode, or, for a learner, of all that were acted on.
    """

    def __init__(self, texts: Texts, *, as_learner: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = texts()
        self.as_learner = as_learner

    def __call__(self, *, rl_module: Any, batch: dict[str, Any], episodes: Episodes, **kwargs: Any) -> dict[str, Any]:
        module = rl_module[DEFAULT_MODULE_ID] if isinstance(rl_module, MultiRLModule) else rl_module
        lengths = [len(episode) if self.as_learner else 1 for episode in episodes]
        seen = [self._seen(episode) for episode in episodes]
        together = {name: np.concatenate([one[name] for one in seen]) for name in seen[0]}
        columns = self.table.features(together["row"][:, 0].tolist(), module.unwrapped())
        columns["alive_PN"] = together["alive"][:, : columns["exists_PN"].shape[1]].astype(np.bool_)
        for column, name in _NUMBERS.items():
            columns[column] = together[name][:, 0].astype(np.float32)
        start = 0
        for episode, length in zip(episodes, lengths, strict=True):
            for name, values in columns.items():
                self.add_n_batch_items(batch, name, values[start : start + length], length, episode)
            start += length
        return batch

    def _seen(self, episode: SingleAgentEpisode) -> dict[str, NDArray[Any]]:
        if self.as_learner:
            seen: dict[str, NDArray[Any]] = episode.get_observations(slice(0, len(episode)))
            return seen
        return {name: value[None] for name, value in episode.get_observations(-1).items()}


class DrawPriorities(ConnectorV2):
    """Scores plus Gumbel noise are the action; what was drawn is stored with its log-probability and temperature.

    The noise follows from the task, the sample and the step alone, so it is the same in whatever process.
    """

    def __init__(self, texts: Texts, passes: int, n_max: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = texts()
        self.passes, self.n_max = passes, n_max

    def __call__(
        self, *, batch: dict[str, Any], episodes: Episodes, explore: bool | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        scores = batch.pop(SCORES)
        score_BN = np.stack([scores[(episode.id_,)][0] for episode in episodes])
        drawn = [
            self._draw(score_N, episode, explore is not False)
            for score_N, episode in zip(score_BN, episodes, strict=True)
        ]
        order_BGN, draws_BG, free_B = pack_rankings([[ranking] for _, ranking in drawn], score_BN.shape[1])
        tau_B = np.asarray([episode.get_infos(0)["task"].tau for episode in episodes], np.float32)
        tensors = (torch.from_numpy(x) for x in (score_BN, order_BGN, draws_BG, free_B, tau_B))
        logp_BN = draw_logp(*tensors)[:, 0].numpy()
        stored = {
            Columns.ACTIONS: _widened(np.stack([self._action(values) for values, _ in drawn]), self.n_max),
            ORDER: _widened(order_BGN[:, 0], self.n_max),
            LOGP: _widened(logp_BN, self.n_max),
            DRAWS: draws_BG[:, 0],
            FREE: free_B,
            TAU: tau_B,
        }
        for b, episode in enumerate(episodes):
            for name, values in stored.items():
                self.add_batch_item(batch, name, values[b], episode)
        return batch

    def _draw(self, score_N: FloatArray, episode: SingleAgentEpisode, explore: bool) -> tuple[FloatArray, Ranking]:
        """Priorities of the text's units as the environment will read them, in float32, and their order."""
        begun, seen, t = episode.get_infos(0), episode.get_observations(-1), len(episode)
        task = begun["task"]
        units = self.table.units(task.example)
        scores = score_N[: len(units)].astype(np.float64)
        if explore:
            rng = np.random.default_rng([task.seed, _NOISE, task.serial, int(begun["sample"]), t])
            scores = gumbel_priorities(scores, task.tau, rng)
        priorities_N = scores.astype(np.float32).astype(np.float64)
        budget = budget_tokens(units, pass_rate(task.rate, t + 1, self.passes))
        return priorities_N, rank(units, priorities_N, budget, seen["alive"][: len(units)].astype(np.bool_))

    def _action(self, priorities_N: FloatArray) -> NDArray[np.float32]:
        action = np.zeros(self.n_max, np.float32)
        action[: len(priorities_N)] = priorities_N
        return action


def _widened(values: NDArray[Any], width: int) -> NDArray[Any]:
    """Zeros on the right of the last axis, up to `width`; what is there beyond it is padding too."""
    values = values[..., :width]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])])


class WholeEpisodeAdvantages(GeneralAdvantageEstimation):
    """GAE of episodes that are whole and end by themselves, with a value pass in chunks and without gradients.

    RLlib's own piece, where this one stands in the pipeline, wants every episode made one step longer for a value to
    bootstrap from, sends the whole batch through the critic at once and keeps its graph (ray#52432). Here nothing
    follows the last step, so there is nothing to bootstrap from and no row to add.
    """

    def __init__(self, *, gamma: float, lambda_: float, against_others: bool, chunk: int) -> None:
        super().__init__(gamma=gamma, lambda_=lambda_)
        self.against_others = against_others
        self.chunk = chunk

    def __call__(self, *, rl_module: Any, episodes: Episodes, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        columns = batch[DEFAULT_MODULE_ID]
        length = len(episodes[0])
        assert all(len(e) == length and e.is_terminated for e in episodes), "episodes must be whole and of equal length"
        with torch.no_grad():
            value_P = self._values(rl_module[DEFAULT_MODULE_ID].unwrapped(), columns)
        reward_BT = columns[Columns.REWARDS].double().view(-1, length)
        value_BT = value_P.double().view(-1, length)
        advantage_BT = generalised(reward_BT, value_BT, gamma=self.gamma, lam=self.lambda_)
        columns[VALUE] = value_P
        columns[TARGET] = (advantage_BT + value_BT).flatten().to(value_P.dtype)
        if self.against_others:
            group_B = torch.tensor([episode.get_infos(0)["task"].serial for episode in episodes], device=value_P.device)
            advantage_BT = beyond_others(advantage_BT, group_B)
        columns[ADVANTAGE] = normalised(advantage_BT.flatten(), columns[DRAWS] > 0).to(value_P.dtype)
        return batch

    def _values(self, module: Any, columns: dict[str, Any]) -> Tensor:
        rows = len(columns["alive_PN"])
        flat = {name: value for name, value in columns.items() if isinstance(value, Tensor)}
        return torch.cat(
            [
                module.compute_values({name: value[start : start + self.chunk] for name, value in flat.items()})
                for start in range(0, rows, self.chunk)
            ]
        )
