"""Evaluation of a rewriting policy on held-out problems: the rewriter that is served, against every baseline.

Baselines that keep words do so at the rate that the trained policy achieved on each problem; those that write are asked
for the same rates as the policy. The evaluator is the run's own, frozen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import ray
from pydantic import ValidationError

from cluster.finetuning import BASE, CONTINUED, SFT, base_of
from cluster.problems import Problems, prepared_problems
from cluster.services import wait_until_ready
from cluster.session import ray_session
from cluster.solving import evaluator_folder, reader_of, start_evaluator
from rlcompress.baselines import build_methods
from rlcompress.baselines.rewriting import WORD_METHODS, Rewriter, keeping
from rlcompress.compressor import Compressor, CompressorMethod
from rlcompress.config.generating import DecodingConfig
from rlcompress.config.rewriting_run import RewritingEvaluateConfig, RewritingRun
from rlcompress.data.dataset import load_split, trained_hashes
from rlcompress.data.readers import read_rows
from rlcompress.errors import UserError
from rlcompress.generation.loading import load_language
from rlcompress.generation.prompting import RewritingTemplate
from rlcompress.generation.rewriting import rewriter
from rlcompress.machine.device import choose_device
from rlcompress.measuring.evaluation import REFERENCE, refuse_trained
from rlcompress.measuring.results import write_results
from rlcompress.measuring.rewrites import MeasuredRewrite, measured
from rlcompress.measuring.rewriting_results import Trial, evaluation_of
from rlcompress.problems.problem import WordProblem, problem_of
from rlcompress.recording.directory import RunDirectory
from rlcompress.rewards.lengths import kept_fraction
from rlcompress.rewriter import PromptRewriter
from rlcompress.text.segment import Segmenter
from rlcompress.words import PromptJudge

ZERO_SHOT, SFT_ONLY, CONTINUED_SFT, MASKING = "zero_shot", "sft_only", "continued_sft", "masking"
WRITING = {ZERO_SHOT: BASE, SFT_ONLY: SFT, CONTINUED_SFT: CONTINUED}  # methods that write, and their folder in a run
METHODS = (*WORD_METHODS, *WRITING, MASKING)


def require_methods(config: RewritingRun) -> None:
    """Refuse a method that there is not, or whose model is not named.

    Raises:
        UserError: naming the key and what to give.
    """
    asked = config.evaluate
    for name in asked.methods:
        if name not in METHODS:
            raise UserError(f"evaluate.methods: {name!r} is unknown: use {', '.join(METHODS)}")
    if MASKING in asked.methods and asked.masking is None:
        raise UserError("evaluate.methods names masking: give a masking run or artifact in evaluate.masking")
    if CONTINUED_SFT in asked.methods and not config.sft.continued:
        raise UserError("evaluate.methods names continued_sft: give its updates in sft.continued")


def evaluate(
    run: RunDirectory[RewritingRun],
    data: str | None = None,
    *,
    rates: Sequence[float] | None = None,
    seeds: int | None = None,
    methods: Sequence[str] | None = None,
    out: str | Path | None = None,
    skip_trained: bool = False,
) -> Path:
    """`rlcompress evaluate RUN`: of its test split, or of the problems of a file; returns the results' folder.

    Args:
        run: a finished run.
        data: a file of rows with an answer.
        rates: instead of `evaluate.rates`.
        seeds: instead of `evaluate.seeds`.
        methods: instead of `evaluate.methods`.
        out: where results go; None is `evaluation/` of the run, or `evaluation-NAME/` for a file.
        skip_trained: drop rows that were trained on instead of refusing.

    Raises:
        UserError: nothing to evaluate, rows that were trained on, an unknown method, a row without an answer.
    """
    asked = {"rates": rates and tuple(rates), "seeds": seeds, "methods": methods and tuple(methods)}
    section = run.config.evaluate.model_dump() | {name: value for name, value in asked.items() if value is not None}
    try:
        config = run.config.model_copy(update={"evaluate": RewritingEvaluateConfig.model_validate(section)})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise UserError(f"--{fault['loc'][0]} is {fault['input']!r}: {fault['msg']}") from None
    require_methods(config)
    problems = prepared_problems(config)
    name = "evaluation" if data is None else f"evaluation-{Path(data).stem}"
    rows = (
        load_split(problems.folder, "test")[: config.evaluate.texts] if data is None else read_rows(data, config.data)
    )
    fresh = refuse_trained(list(rows), trained_hashes(problems.folder), skip_trained)
    with ray_session(config):
        tested = [problem_of(row) for row in fresh]
        folder = Path(out) if out else run.path / name
        return evaluate_rewriting(
            RunDirectory(run.path, config), tested, folder, problems, Path(data) if data else None
        )


def evaluate_run(run: RunDirectory[RewritingRun], problems: Problems) -> Path:
    """The evaluation that ends a training run: its test split, its evaluator, the configured methods."""
    tested = problems.split("test")[: run.config.evaluate.texts]
    return evaluate_rewriting(run, tested, run.path / "evaluation", problems)


def evaluate_rewriting(
    run: RunDirectory[RewritingRun],
    tested: Sequence[WordProblem],
    out: Path,
    problems: Problems,
    data: Path | None = None,
) -> Path:
    """Measure the artifact of a run and all methods on `tested`, and write the results to the folder `out`.

    Args:
        run: whose evaluator judges, and whose policies are measured.
        tested: held-out problems.
        out: made if it is not there.
        problems: of the run; baselines with counts learn from its training split.
        data: the file that the problems came from, for the record.
    """
    config = run.config
    job = ray.get_runtime_context().get_job_id()
    evaluator, actor = start_evaluator(f"{config.name}-judge-{run.path.resolve()}-{job}", run)
    try:
        wait_until_ready(evaluator)
        trials = list(_Bench(run, tested, evaluator, problems).trials())
        version = evaluator.version
    finally:
        ray.kill(actor)
    found = evaluation_of(
        tested, trials, judge=version, bootstrap=config.evaluate.bootstrap, seed=config.seed, path=data
    )
    write_results(found, out)
    print((out / "table.txt").read_text(encoding="utf-8"), flush=True)
    return out


class _Bench:
    """All methods on the same problems."""

    def __init__(
        self,
        run: RunDirectory[RewritingRun],
        tested: Sequence[WordProblem],
        evaluator: PromptJudge,
        problems: Problems,
    ) -> None:
        self.run, self.tested, self.evaluator, self.problems = run, tested, evaluator, problems
        self.segmenter = Segmenter(reader_of(evaluator_folder(run)))

    def trials(self) -> Iterator[Trial]:
        """The trained policy first, for others are asked for what it achieved."""
        config = self.run.config.evaluate
        trained = _served(self.run.artifact, self.run.config.device)
        achieved: dict[float, list[float]] = {}
        for rate in config.rates:
            trial = self._trial(REFERENCE, trained, rate, [rate] * len(self.tested))
            achieved[rate] = [kept_fraction(row.tokens_in, row.tokens_out) for row in trial.rows]
            yield trial
        for name in config.methods:
            if name in WRITING:
                rewrite = self._writing(name)
                yield from (self._trial(name, rewrite, rate, [rate] * len(self.tested)) for rate in config.rates)
            else:
                for rewrite in self._keeping(name):
                    yield from (self._trial(name, rewrite, rate, achieved[rate]) for rate in config.rates)

    def _trial(self, name: str, rewrite: Rewriter, rate: float, targets: Sequence[float]) -> Trial:
        """`rate` is what the policy is asked for, `targets` what this method is."""
        texts = rewrite([problem.text for problem in self.tested], targets)
        rows: list[MeasuredRewrite] = measured(self.tested, texts, targets, self.evaluator, self._count)
        return Trial(name, rate, texts, rows)

    def _count(self, text: str) -> int:
        return len(self.segmenter.tokenizer.encode(text)[0])

    def _writing(self, name: str) -> Rewriter:
        config = self.run.config
        folder = self.run.path / WRITING[name]
        if folder.is_dir():
            return _served(folder, config.device)
        language = load_language(base_of(self.run), choose_device(config.device))  # as it is on the hub
        decoding = DecodingConfig(temperature=0.0, max_new_tokens=config.policy.max_new_tokens)
        return rewriter(language, RewritingTemplate(config.policy.template), decoding)

    def _keeping(self, name: str) -> list[Rewriter]:
        """A method that keeps words, once for each of its seeds."""
        config = self.run.config.evaluate
        if name == MASKING:
            assert config.masking is not None  # looked at in the beginning
            compressor = Compressor.from_pretrained(config.masking, self.run.config.device)
            return [keeping(CompressorMethod(compressor, MASKING), self.segmenter)]
        texts = [problem.text for problem in self.problems.split("train")]
        [method] = build_methods([name], tokenizer=self.segmenter.tokenizer, train_texts=texts)
        seeds = range(config.seeds) if method.stochastic else range(1)
        return [keeping(method, self.segmenter, seed) for seed in seeds]


def _served(folder: Path, device: str) -> Rewriter:
    return PromptRewriter.from_pretrained(folder, device).as_method()
