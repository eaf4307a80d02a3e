"""Groups of texts, all G samples of one prompt, and how they become one learner batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.rollouts import Task
from rlcompress.generation.teacher_forcing import packed
from rlcompress.generation.writing import Ending
from rlcompress.words import BoolArray, FloatArray, Status


@dataclass(frozen=True, slots=True, eq=False)
class RolledText:
    """One sample of the last iteration, for whoever keeps account of samples; as `Rolled` is of masks."""

    serial: int  # of its task
    sample: int  # 0 to G - 1
    example: int
    text: str
    status: Status
    judge_version: str

    @property
    def content(self) -> bytes:
        """What was written, for the hash in the ledger."""
        text = self.text.encode("utf-8", "surrogatepass")
        return len(text).to_bytes(8, "little") + text


@dataclass(frozen=True, slots=True, eq=False)
class TextGroup:
    """G outputs for one task. `logp` are of each output's tokens, at the temperature that they were drawn at."""

    task: Task
    original: str
    prompt: list[int]
    outputs: tuple[list[int], ...]  # with their end tokens
    logp: tuple[FloatArray, ...]
    ending_G: tuple[Ending, ...]
    text_G: tuple[str, ...]
    reward_G: NDArray[np.float64]
    status_G: tuple[Status, ...]
    terms: dict[str, NDArray[np.float64]]
    gates: dict[str, BoolArray]  # every gate there is -> [G], True: open
    achieved_rate_G: NDArray[np.float64]
    judge_version_G: tuple[str, ...]

    @property
    def ended_G(self) -> NDArray[np.bool_]:  # noqa: N802 -- a shape in a name
        return np.array([ending is Ending.ENDED for ending in self.ending_G])

    @property
    def ok_G(self) -> NDArray[np.bool_]:  # noqa: N802 -- a shape in a name
        """Samples that may enter a loss: whole and judged."""
        judged = np.array([status == Status.OK for status in self.status_G])
        return judged & self.ended_G & np.isfinite(self.reward_G)

    def rolled(self) -> list[RolledText]:
        """Its samples one by one."""
        return [
            RolledText(self.task.serial, g, self.task.example, self.text_G[g], status, self.judge_version_G[g])
            for g, status in enumerate(self.status_G)
        ]


def learner_columns(groups: Sequence[TextGroup]) -> dict[str, NDArray[np.generic]]:
    """The columns of a learner batch, one row a prompt; advantages and weights are added by the algorithm.

    A sequence is a prompt and an output; outputs begin at the same place of all. What may not enter a loss has none.
    """
    shape = (len(groups), len(groups[0].outputs))
    rows = [
        (group.prompt, output if ok else [], logp_O if ok else logp_O[:0])
        for group in groups
        for output, logp_O, ok in zip(group.outputs, group.logp, group.ok_G, strict=True)
    ]
    prompts, outputs, logps = zip(*rows, strict=True)
    tensors = packed(prompts, outputs, pad_id=0)  # any id will do: padding is read by nobody
    ids_PGT, real_PGT, output_PGO = (x.numpy().reshape(*shape, -1) for x in tensors)
    logp_PGO = np.zeros(output_PGO.shape, np.float32)
    logp_PGO[output_PGO] = np.concatenate(logps)
    return {
        "ids_PGT": ids_PGT,
        "real_PGT": real_PGT,
        "output_PGO": output_PGO,
        "logp_PGO": logp_PGO,
        "tau_P": np.array([group.task.tau for group in groups], np.float32),
    }
