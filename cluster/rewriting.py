"""A run of prompt rewriting: evaluator, fine-tuning, GRPO across Ray actors, evaluation. Read it top to bottom."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ray
import torch

from cluster import finetuning
from cluster.assembly import build_rewriting_algorithm
from cluster.finetuning import manifest_fields, start_of
from cluster.loop import Metrics, iterate
from cluster.problems import Problems, checked_problems
from cluster.rewriting_evaluation import evaluate_run, require_methods
from cluster.rewriting_validation import RewritingValidation
from cluster.services import RemoteJudge, wait_until_ready
from cluster.solving import READER, evaluator_folder, ready_evaluator, start_evaluator
from policies.algorithm import CompressorAlgorithm
from policies.text_grpo import TextGRPO
from rlcompress.config.rewriting_run import RewritingRun
from rlcompress.data.dataset import split_tokens
from rlcompress.generation.lora import set_learned_state
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.meters import Meter, memory
from rlcompress.recording.publish import publishing
from rlcompress.recording.resuming import Rewound
from rlcompress.rewriter import PromptRewriter
from rlcompress.rewriter_artifact import load_rewriter, rewriter_manifest, save_rewriter

START = finetuning.SFT
finish = evaluate_run


def checked_data(config: RewritingRun) -> Problems:
    """The data of a run whose methods, models and reward are there too."""
    require_methods(config)
    return checked_problems(config)


def before_learning(run: RunDirectory[RewritingRun], problems: Problems) -> None:
    """The evaluator, held to its gate, and the policy after supervised fine-tuning."""
    started = time.monotonic()
    share = ready_evaluator(run.config, problems, evaluator_folder(run))
    seconds = time.monotonic() - started
    print(f"evaluator  solves {share:.1%} of the validation problems as they are  ({seconds:.0f} s)", flush=True)
    started = time.monotonic()
    tuned = finetuning.start(run, problems)
    seconds, steps = time.monotonic() - started, len(tuned["losses"])
    reached = dict(tuned["validation"]).get(tuned["best"], tuned["losses"][-1])
    print(
        f"sft        {reached:.3f} nats a token after {tuned['best']} of {steps} updates  ({seconds:.0f} s)", flush=True
    )


def learn(run: RunDirectory[RewritingRun], problems: Problems, rewound: Rewound | None = None) -> None:
    """The reinforcement learning of a run whose evaluator and fine-tuned policy lie in its folder.

    `rewound` is where an interrupted run goes on; None begins.
    """
    config = run.config
    job = ray.get_runtime_context().get_job_id()  # a killed driver's actor may still be ending under its own name
    evaluator, actor = start_evaluator(f"{config.name}-evaluator-{run.path.resolve()}-{job}", run)
    algorithm: CompressorAlgorithm[Any] | None = None
    try:
        wait_until_ready(evaluator)
        prompts = problems.manifest.splits["train"].rows
        algorithm = build_rewriting_algorithm(
            config, problems.folder, prompts, evaluator, evaluator_folder(run) / READER, start_of(run)
        )
        if rewound is not None:
            print(f"resumed    {rewound}", flush=True)
            if rewound.checkpoint is not None:
                algorithm.restore_from_path(str(rewound.checkpoint.resolve()))
        after = None if rewound is None else rewound.step
        iterate(run, RewritingCourse(run, problems, algorithm, evaluator, after), after, None)
    finally:
        if algorithm is not None:
            algorithm.stop()
        ray.kill(actor)


class RewritingCourse:
    """Validation by the runners themselves, so that no process holds one model more; what it all cost."""

    def __init__(
        self,
        run: RunDirectory[RewritingRun],
        problems: Problems,
        algorithm: CompressorAlgorithm[Any],
        evaluator: RemoteJudge,
        after: int | None,
    ) -> None:
        assert isinstance(algorithm, TextGRPO)
        self.run, self.problems, self.algorithm, self.evaluator = run, problems, algorithm, evaluator
        self.validation = RewritingValidation(run, problems, evaluator, algorithm.rewrite, after)
        self.validated = self.validation.validated
        self.meter = Meter(split_tokens(problems.folder, "train"))

    def after_iteration(self, step: int, began: float) -> Metrics:
        metrics = self.meter.speeds(time.perf_counter() - began, self.algorithm.last_rollout)
        stats = self.evaluator.stats()
        return {**metrics, **self.meter.judged(stats), **memory(self.algorithm.rollouts.resident)}

    def validate(self, step: int) -> Metrics:
        metrics = self.validation.measure(step)
        stats = self.evaluator.stats()
        self.meter.judged(stats)  # what the validation asked is in no figure of an iteration
        return metrics | {f"judge/{name}": float(value) for name, value in stats.items() if name != "pid"}

    def watch(self, step: int, metrics: Metrics, after_validation: bool) -> Metrics:
        return {}

    def save(self, folder: Path) -> None:
        """All there is, is in the algorithm's state."""

    def export(self) -> None:
        _, language, reader = load_rewriter(self.run.path / START, learn=True)
        set_learned_state(language.model, {k: torch.as_tensor(v) for k, v in self.algorithm.weights().items()})
        fields = manifest_fields(self.run, self.problems, stage="rl", iteration=self.algorithm.iteration)
        with publishing(self.run.artifact) as folder:
            save_rewriter(folder, rewriter_manifest(language, **fields), language, reader)


def sample(run: RunDirectory[RewritingRun], problems: Problems) -> None:
    """Prints what was learned on one held-out prompt."""
    text = problems.split("test")[0].text
    [found] = PromptRewriter.from_pretrained(run.artifact, run.config.device).rewrite([text], 0.5)
    print(f"\nbefore     {text}\nafter      {found.text}")
    print(f"           ({found.compressed_tokens} of {found.original_tokens} tokens)\n")
