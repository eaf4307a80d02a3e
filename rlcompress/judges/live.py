"""The live judge of co-training: it starts as the reward judge and goes on learning on the policy's own masks.

It learns at barriers only, and each time becomes a new version. A version (weights, optimizer, number, what was
measured) is on disk, whole, before anybody is judged by it; it follows to the bit from the version before, the masks
and (seed, number). So whoever asks again after a process died gets the same version, and nothing is learned twice.
Beside it stands its frozen twin, the reward judge as it was: it measures what one judge can measure over a whole run.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlcompress.config.schema import CotrainConfig
from rlcompress.data.dataset import load_split
from rlcompress.errors import UserError
from rlcompress.judges.adapt import masked_rows
from rlcompress.judges.build import judge_settings, load_judge
from rlcompress.judges.reconstruction import ReconstructionJudge
from rlcompress.models.descent import Descent
from rlcompress.models.reconstructor import weights_hash
from rlcompress.models.training import TokenTable, keep_range, random_kept, seeded
from rlcompress.models.training_state import load_state, read_record, save_state
from rlcompress.recording.publish import publishing, remove, sweep, why_torn
from rlcompress.text.segment import Segmenter
from rlcompress.words import Judgement, JudgeRequest, Status

_STREAM = 5  # of the run's seed: what chance draws at barriers
_MEASURED = 32  # masks of an iteration on which live and frozen bits are compared
_KEPT = 2  # versions on disk: the newest, and the one that it came from


class LiveJudge:
    """A `Judge` with versions, and its frozen twin. Verdicts of a version are cached as long as it is the newest.

    `versions` is a folder of its own. What lies there is gone on from: the newest whole version is served.
    """

    def __init__(
        self,
        frozen: Path,
        versions: Path,
        data: Path,
        config: CotrainConfig,
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        self.frozen = load_judge(frozen, device)
        self.versions, self.data, self.config, self.seed = versions, data, config, seed
        model: Any = copy.deepcopy(self.frozen.model)
        if any(parameter.dtype != torch.float32 for parameter in model.parameters()):
            raise UserError(
                f"cotrain: the weights of {self.frozen.version} are half precision and would lose what they learn: set "
                "judges.reward.finetune, which makes them float32, or cotrain.steps to 0"
            )
        settings = judge_settings(frozen)
        self.descent = Descent(model, config.learning_rate, precision=settings.precision, rows=settings.micro_batch)
        self._texts: TokenTable | None = None  # the training split, where random masks are drawn
        versions.mkdir(parents=True, exist_ok=True)
        sweep(versions)
        self._live = self._judge(0)
        newest = newest_version(versions)
        if newest is None:
            self._publish(0, {})
        self._serve(newest or 0)

    # -- judging --------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        return self._live.version

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        """Verdicts of the newest version, which each of them names."""
        return self._live.judge(requests)

    def judge_frozen(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        """Verdicts of the judge that the live one was at the start."""
        return self.frozen.judge(requests)

    @property
    def asked(self) -> int:
        return self._live.asked

    @property
    def computed(self) -> int:
        return self._live.computed

    # -- learning -------------------------------------------------------------------------------------------------

    def advance(self, number: int, requests: Sequence[JudgeRequest]) -> dict[str, float]:
        """Become version `number` by learning on these masks, and say what changed.

        A version that is on disk is only loaded, with what was measured when it was made. Bits are of a dropped token:
        `live_bits` of the version that judged the masks, `live_bits_after` of the new one (which has learned on them),
        `frozen_bits` of the twin; all on the same masks, at most 32 of them. Without masks, random ones teach alone.

        Raises:
            ValueError: `number` is neither the version that is served nor the next.
        """
        if number not in (self.number, self.number + 1):
            raise ValueError(f"version {number} of a live judge cannot follow version {self.number}")
        if why_torn(self.folder(number)) is not None:
            try:
                self._learn(number, list(requests))
            except BaseException:
                self._serve(self.number)  # no half-learned weights behind an old name
                raise
        if number != self.number:
            self._serve(number)
        metrics: dict[str, float] = read_record(self.folder(number))["metrics"]
        return metrics

    def folder(self, number: int) -> Path:
        return self.versions / f"version-{number:06d}"

    def _learn(self, number: int, requests: list[JudgeRequest]) -> None:
        """Train on the masks and publish what comes of it, measured."""
        shown = requests[:: math.ceil(len(requests) / _MEASURED)] if requests else []
        verdicts = {"live_bits": self._live.judge(shown), "frozen_bits": self.frozen.judge(shown)}
        share = self._descend(number, requests)
        verdicts["live_bits_after"] = self._judge(number).judge(shown)
        bits = {name: bits_a_dropped_token(found) for name, found in verdicts.items()}
        measured = {name: value for name, value in bits.items() if math.isfinite(value)}
        self._publish(number, {"version": float(number), "random_share": share, **measured})

    def _descend(self, number: int, requests: list[JudgeRequest]) -> float:
        """All updates of one version, drawn from (seed, number) alone; returns the share of random masks in each."""
        config, texts = self.config, self._training_texts()
        randoms = math.ceil(config.random_share * config.batch) if requests else config.batch
        table, own_BT = texts, torch.zeros(0, texts.ids_BT.shape[1], dtype=torch.bool)
        if requests:
            own, kept_BT = masked_rows(requests, self.frozen)
            table, own_BT = own.followed_by(texts), kept_BT
        draw = int(np.random.SeedSequence([self.seed, _STREAM, number]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(draw)
        self.descent.model.train()
        with seeded(draw, self.descent.device):
            for _ in range(config.steps):
                mine = torch.randint(max(1, len(own_BT)), (config.batch - randoms,), generator=generator)
                others = len(own_BT) + torch.randint(len(texts), (randoms,), generator=generator)
                rows = table.rows(torch.cat([mine, others]))
                kept = random_kept(rows, *keep_range(1.0), generator)
                kept[: len(mine)] = _fit(own_BT[mine], kept.shape[1])
                self.descent.step(rows.ids_BT, kept, rows.valid_BT, config.learning_rate)
        self.descent.model.eval()
        return randoms / config.batch

    def _training_texts(self) -> TokenTable:
        if self._texts is None:
            segmenter = Segmenter(self.frozen.tokenizer)
            texts = [segmenter(example.text) for example in load_split(self.data, "train")]
            self._texts = TokenTable.of(texts, self.frozen.tokenizer, self.frozen.window)
        return self._texts

    # -- versions -------------------------------------------------------------------------------------------------

    def _publish(self, number: int, metrics: dict[str, float]) -> None:
        with publishing(self.folder(number)) as folder:
            save_state(folder, self.descent.model, self.descent.optimizer, {"number": number, "metrics": metrics})

    def _serve(self, number: int) -> None:
        """Load a version from disk, always: what is judged by is what lies there."""
        load_state(self.folder(number), self.descent.model, self.descent.optimizer)
        self.number, before = number, self._live
        self._live = self._judge(number)
        self._live.asked, self._live.computed = before.asked, before.computed
        for old in version_folders(self.versions)[:-_KEPT]:
            remove(old)

    def _judge(self, number: int) -> ReconstructionJudge:
        frozen, model = self.frozen, self.descent.model.eval()
        version = f"{frozen.version}+live-{number}@{weights_hash(model)}"
        return ReconstructionJudge(
            model, frozen.tokenizer, version, window=frozen.window, chunk=frozen.chunk, device=frozen.device
        )


def version_folders(versions: Path) -> list[Path]:
    """Versions on disk, oldest first."""
    return sorted(path for path in versions.glob("version-*") if path.is_dir())


def newest_version(versions: Path) -> int | None:
    """The number of the newest whole version; None where there is none."""
    whole = (path for path in reversed(version_folders(versions)) if why_torn(path) is None)
    return next((int(path.name.removeprefix("version-")) for path in whole), None)


def bits_a_dropped_token(verdicts: Sequence[Judgement]) -> float:
    """Sum of bits over sum of dropped tokens; NaN where nothing was dropped."""
    judged = [verdict for verdict in verdicts if verdict.status is Status.OK]
    dropped = sum(verdict.dropped for verdict in judged)
    return sum(verdict.score for verdict in judged) / dropped if dropped else math.nan


def _fit(kept_BT: Tensor, width: int) -> Tensor:
    """Masks cut or padded to `width`: what is added stands for padding, and padding counts as nothing."""
    return torch.nn.functional.pad(kept_BT, (0, max(0, width - kept_BT.shape[1])))[:, :width]
