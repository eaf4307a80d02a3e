"""The evaluator of a run that rewrites: trained here or named, held to its gate, and served as one frozen actor."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayTaskError

from cluster.problems import Problems
from cluster.services import JudgeService, RemoteJudge, start_service
from rlcompress.config.generating import EvaluatorConfig
from rlcompress.config.rewriting_run import BUILTIN, RewritingRun, SolverConfig
from rlcompress.data.manifest import Manifest
from rlcompress.data.readers import problem_count
from rlcompress.errors import UserError
from rlcompress.generation.builtin import train_evaluator
from rlcompress.judges.evaluator import Evaluator
from rlcompress.judges.solvers import build_evaluator
from rlcompress.machine.device import choose_device
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer
from rlcompress.problems.calculator import plain
from rlcompress.problems.generated import generated_problems
from rlcompress.problems.lexicon import REGISTERS
from rlcompress.problems.problem import WordProblem
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.publish import publishing, why_torn
from rlcompress.rewards.solving import Outcome, tally
from rlcompress.words import Solve

ROLE = "evaluator"  # its folder among the run's judges
_RECORD, _MODEL, READER = "evaluator.json", "model", "reader"
_VALIDATED = 200  # problems that a built-in evaluator is validated on while it learns
_GATED = 200  # validation problems, at most, that an evaluator is held to its gate with


class EvaluatorService(JudgeService):
    """What runs inside the actor: a frozen language model that solves prompts."""

    def __init__(self, settings: dict[str, Any], threads: int, device: str) -> None:
        torch.set_num_threads(threads)
        self.judge_model = build_evaluator(EvaluatorConfig.model_validate(settings), choose_device(device))


def evaluator_folder(run: RunDirectory[RewritingRun]) -> Path:
    return run.judges / ROLE


def settings_of(folder: Path) -> EvaluatorConfig:
    """How the evaluator in a folder is loaded and asked."""
    record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    own = folder / _MODEL
    return EvaluatorConfig.model_validate(record["settings"] | ({"model": str(own.resolve())} if own.is_dir() else {}))


def reader_of(folder: Path) -> TextTokenizer:
    """The evaluator's tokenizer, which counts the lengths of prompts and rewrites."""
    return load_tokenizer(str(folder / READER))


def solved_share(folder: Path) -> float:
    """Share of the validation problems that the evaluator solves as they are."""
    return float(json.loads((folder / _RECORD).read_text(encoding="utf-8"))["solves"])


def ready_evaluator(config: RewritingRun, problems: Problems, folder: Path) -> float:
    """Write `folder`: settings, tokenizer, and a built-in model's weights; the share of the problems that it solves.

    A built-in evaluator is cached under `<runs>/cache/evaluators`, by everything that decides its weights.

    Raises:
        UserError: the model cannot be loaded, or it misses `evaluator.gate`.
    """
    if not folder.is_dir() or why_torn(folder) is not None:
        cached = _cache(config.evaluator, config, problems) if config.evaluator.model == BUILTIN else None
        given = (config, problems.folder.resolve(), cached and cached.resolve(), folder.resolve())
        settings = config.evaluator
        task = ray.remote(_make).options(num_cpus=max(1, math.ceil(settings.cpus)), num_gpus=settings.gpus)
        try:
            ray.get(task.remote(*given))
        except RayTaskError as error:
            raise error.cause from None  # a user's mistake stays one, with its own message
    share = solved_share(folder)
    if share < config.evaluator.gate:
        raise UserError(
            f"the evaluator solves only {share:.1%} of the validation problems as they are, evaluator.gate asks for "
            f"{config.evaluator.gate:.0%}: take another evaluator.model, train builtin:llama longer "
            "(evaluator.learning.steps), or set evaluator.gate to 0"
        )
    return share


def _cache(solver: SolverConfig, config: RewritingRun, problems: Problems) -> Path:
    decisive = solver.model_dump(
        mode="json", include={"template", "calculator", "calculator_after", "scratch", "problems", "learning"}
    )
    named = json.dumps([decisive, config.data.source, problems.manifest.hash], sort_keys=True)
    name = hashlib.blake2b(named.encode(), digest_size=8).hexdigest()
    return Path(config.runs) / "cache" / "evaluators" / name


def _make(config: RewritingRun, data: Path, cached: Path | None, folder: Path) -> None:
    solver = config.evaluator
    torch.set_num_threads(max(1, math.ceil(solver.cpus)))
    problems = Problems(data, Manifest.load(data))
    if cached is not None and (not cached.is_dir() or why_torn(cached) is not None):
        shutil.rmtree(cached, ignore_errors=True)
        cached.parent.mkdir(parents=True, exist_ok=True)
        with publishing(cached) as made:
            _train(config, problems, made)
    bare = EvaluatorConfig.model_validate(solver.model_dump(include=set(EvaluatorConfig.model_fields)))
    asked = bare.model_copy(update={"model": str(cached)}) if cached else bare
    evaluator = build_evaluator(asked, choose_device(config.device if solver.gpus else "cpu"))
    with publishing(folder) as made:
        if cached is not None:
            shutil.copytree(cached, made / _MODEL)
        load_tokenizer(asked.model).save(made / READER)
        share = solves(evaluator, problems.split("validation")[:_GATED])
        record = {"settings": bare.model_dump(mode="json"), "solves": share}
        (made / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")


def _train(config: RewritingRun, problems: Problems, folder: Path) -> None:
    """A built-in evaluator, from generated problems in every register or, for other data, from its training rows."""
    solver = config.evaluator
    learn, check = problems.split("train"), problems.split("validation")[:_VALIDATED]
    if problem_count(config.data.source) is not None:
        learn = generated_problems(
            solver.problems, "train", seed=config.data.seed, registers=REGISTERS, distractors=(0, 3)
        )
        check = generated_problems(_VALIDATED, "validation", seed=config.data.seed, registers=REGISTERS)
    asked = EvaluatorConfig.model_validate(solver.model_dump(include=set(EvaluatorConfig.model_fields)))
    train_evaluator(
        asked.model_copy(update={"model": str(folder)}),
        learn[: solver.problems],
        check,
        solver.scratch,
        solver.learning,
    )


def solves(evaluator: Evaluator, problems: list[WordProblem]) -> float:
    """Share of the problems, as they are, that get the right answer in the strict form; what failed counts as not."""
    verdicts = evaluator.judge([Solve(p.text, plain(p.answer) or str(p.answer)) for p in problems])
    found = tally([Outcome.of(verdict) for verdict in verdicts], [p.answer for p in problems])
    return found.right / len(problems)


def start_evaluator(name: str, run: RunDirectory[RewritingRun]) -> tuple[RemoteJudge, Any]:
    """The evaluator's actor, started or found, and who asks it."""
    config = run.config.evaluator
    settings = settings_of(evaluator_folder(run)).model_dump(mode="json")
    device = run.config.device if config.gpus else "cpu"
    restarts = run.config.resources.restarts
    actor = start_service(EvaluatorService, name, config, restarts, settings, config.threads, device)
    return RemoteJudge(name, config.timeout, key="evaluator.timeout"), actor
