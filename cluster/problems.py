"""The data of a run that rewrites: prompts with their answers, split, and the checks that come before everything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rlcompress.config.rewriting_run import BUILTIN, RewritingRun
from rlcompress.data.dataset import load_split
from rlcompress.data.manifest import Manifest
from rlcompress.data.prepare import cached_folder, prepare
from rlcompress.generation.lora import is_adapter
from rlcompress.machine.device import choose_device
from rlcompress.models.presence import require_model
from rlcompress.problems.pairs import evaluation_hashes
from rlcompress.problems.problem import WordProblem, problem_of
from rlcompress.rewards.rewritten import RewriteReward


@dataclass(frozen=True)
class Problems:
    """Prepared data of a run: where it lies and what it is."""

    folder: Path
    manifest: Manifest

    def split(self, name: str) -> list[WordProblem]:
        """
        Raises:
            UserError: a row without an answer.
        """
        return [problem_of(example) for example in load_split(self.folder, name)]

    @cached_property
    def evaluated(self) -> frozenset[str]:
        """Hashes of the rows that are validated or tested on: nothing is ever learned from one of them."""
        return evaluation_hashes([row for name in ("validation", "test") for row in load_split(self.folder, name)])


def prepared_problems(config: RewritingRun) -> Problems:
    """Prepare the data of `config`, or find it as an earlier run left it under `<runs>/cache/data`."""
    folder = cached_folder(config)
    return Problems(folder, prepare(config, folder))


def checked_problems(config: RewritingRun) -> Problems:
    """The data of a run whose device, models and reward are there too: what can be wrong with it is said here."""
    choose_device(config.device)
    named = {"policy.model": config.policy.model, "evaluator.model": config.evaluator.model}
    if config.sft.teacher is not None:
        named["sft.teacher.model"] = config.sft.teacher.model
    for key, model in named.items():
        if not is_adapter(model):
            require_model(key, model, () if key == "sft.teacher.model" else (BUILTIN,))
    RewriteReward.of(config.reward)
    problems = prepared_problems(config)
    for name in ("train", "validation", "test"):
        problems.split(name)
    return problems
