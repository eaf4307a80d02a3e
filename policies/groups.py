"""Groups, all G samples of one prompt, and how they become one learner batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.rollouts import Rolled, Task
from rlcompress.models.features import Features
from rlcompress.words import BoolArray, Status


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """G samples of one task, as arrays without padding beyond the prompt's own size."""

    task: Task
    features: Features  # of this prompt: leading axis of size 1
    order_GN: NDArray[np.int64]
    draws_G: NDArray[np.int64]
    chosen_G: NDArray[np.int64]  # free units that stayed: the first so many of the order
    free: int
    logp_GN: NDArray[np.float32]
    reward_G: NDArray[np.float64]
    status_G: tuple[Status, ...]
    terms: dict[str, NDArray[np.float64]]
    achieved_rate_G: NDArray[np.float64]
    kept_GN: BoolArray
    judge_version_G: tuple[str, ...]
    served: tuple[int, int]  # tokens that the policy keeps without noise, and all tokens of the text

    @property
    def ok_G(self) -> NDArray[np.bool_]:  # noqa: N802 -- a shape in a name
        """Samples that may enter a loss: judged, within budget and with something decided."""
        judged = np.array([s == Status.OK for s in self.status_G])
        return judged & (self.draws_G > 0) & np.isfinite(self.reward_G)

    def rolled(self) -> list[Rolled]:
        """Its samples one by one."""
        return [
            Rolled(self.task.serial, g, self.task.example, self.kept_GN[g], status, self.judge_version_G[g])
            for g, status in enumerate(self.status_G)
        ]


def pad_stack(arrays: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Concatenate along the first axis, padding the other axes with zeros to the largest."""
    shape = tuple(max(sizes) for sizes in zip(*(a.shape[1:] for a in arrays), strict=True))
    total = sum(len(a) for a in arrays)
    result = np.zeros((total, *shape), arrays[0].dtype)
    row = 0
    for a in arrays:
        result[(slice(row, row + len(a)), *(slice(0, n) for n in a.shape[1:]))] = a
        row += len(a)
    return result


def learner_columns(groups: Sequence[Group]) -> dict[str, NDArray[np.generic]]:
    """The columns of a learner batch, one row a prompt; advantages are added by the algorithm."""
    columns = {name: pad_stack([g.features[name] for g in groups]) for name in groups[0].features}
    columns["valid_PWT"][:, :, 0] = True  # windows that padding added still need one token to attend to
    columns["order_PGN"] = pad_stack([g.order_GN[None] for g in groups])
    columns["logp_PGN"] = pad_stack([g.logp_GN[None] for g in groups])
    columns["draws_PG"] = np.stack([g.draws_G for g in groups])
    columns["kept_PG"] = np.stack([g.chosen_G for g in groups])
    columns["ok_PG"] = np.stack([g.ok_G for g in groups])
    columns["free_P"] = np.array([g.free for g in groups], np.int64)
    columns["tau_P"] = np.array([g.task.tau for g in groups], np.float32)
    return columns
