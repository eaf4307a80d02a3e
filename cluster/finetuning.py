"""Supervised fine-tuning of a rewriting policy under Ray Train: workers share each batch and make the same step."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from ray.train import RunConfig as TrainRun
from ray.train import ScalingConfig, get_context
from ray.train.torch import TorchTrainer, get_device

from cluster.problems import Problems
from cluster.solving import evaluator_folder, reader_of
from rlcompress import __version__
from rlcompress.config.generating import (
    DecodingConfig,
    FineTuningConfig,
    LanguageConfig,
    LoraConfig,
    RewritingTemplateConfig,
    ScratchConfig,
)
from rlcompress.config.rewriting_run import BUILTIN, RewritingRun
from rlcompress.data.dataset import trained_hashes
from rlcompress.generation.builtin import from_scratch
from rlcompress.generation.finetuning import encoded, fine_tune
from rlcompress.generation.loading import load_language
from rlcompress.generation.lora import add_adapter
from rlcompress.generation.prompting import RewritingTemplate
from rlcompress.generation.rewriting import rewriter
from rlcompress.machine.device import choose_device
from rlcompress.problems.pairs import Pair, checked_pairs, pairs_by_rule, pairs_by_teacher, pairs_from_file
from rlcompress.problems.problem import WordProblem
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.publish import publishing, why_torn
from rlcompress.rewriter_artifact import MODEL, rewriter_manifest, save_rewriter

BASE, SFT, CONTINUED = "base", "sft", "continued_sft"  # artifacts of a run: before, after, and after some more
_RECORD = "fine_tuning.json"
S = TypeVar("S", FineTuningConfig, LoraConfig, ScratchConfig)
Row = dict[str, Any]  # a prompt, a shorter one, and the rate that came of it in the evaluator's tokens


def start(run: RunDirectory[RewritingRun], problems: Problems) -> dict[str, Any]:
    """Write `sft/`, where reinforcement learning starts, for a built-in model `base/`, and where the configuration asks
    for it `continued_sft/`; how the tuning went.

    What lies there whole, from before the run was interrupted, is taken as it is.

    Raises:
        UserError: no pair is left to learn from, or one does not fit the model's window.
    """
    folder, sft = run.path / SFT, run.config.sft
    whole = why_torn(folder) is None
    if whole and (not sft.continued or why_torn(run.path / CONTINUED) is None):
        return record(folder)
    rows = {name: _rows(run, problems, name) for name in ("train", "validation")}
    if run.config.policy.model == BUILTIN and why_torn(run.path / BASE) is not None:
        _begin(run, problems, rows["train"])
    if not whole:
        fine_tuned(run, problems, rows, base_of(run), folder, sft.learning, stage="sft", adapt=True)
    if sft.continued:
        further = sft.learning.model_copy(update={"steps": sft.continued, "patience": sft.continued})
        fine_tuned(
            run, problems, rows, start_of(run), run.path / CONTINUED, further, stage="continued_sft", adapt=False
        )
    return record(folder)


def fine_tuned(
    run: RunDirectory[RewritingRun],
    problems: Problems,
    rows: dict[str, list[Row]],
    base: LanguageConfig,
    folder: Path,
    learning: FineTuningConfig,
    *,
    stage: str,
    adapt: bool,
) -> None:
    """Learn the pairs of `rows["train"]`, stop by those of `rows["validation"]`, and write an artifact to `folder`.

    `adapt` adds the adapters that the configuration asks for; a `base` that has some goes on with them.
    """
    config = run.config
    made = run.path / ".fine_tuning"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    (made / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    sft, lora = config.sft, config.policy.lora if adapt else None
    given = {
        "folder": str(made.resolve()),
        "language": base.model_dump(mode="json"),
        "lora": None if lora is None else _seeded(lora, config.seed).model_dump(mode="json"),
        "template": config.policy.template.model_dump(mode="json"),
        "learning": _seeded(learning, config.seed).model_dump(mode="json"),
        "threads": max(1, math.ceil(sft.cpus)),
        "device": config.device if sft.gpus else "cpu",
        "manifest": manifest_fields(run, problems, stage=stage, iteration=0),
        "evaluator": str(evaluator_folder(run).resolve()),
    }
    resources = {"CPU": sft.cpus, "GPU": sft.gpus}
    trainer = TorchTrainer(
        _work,
        train_loop_config=given,
        scaling_config=ScalingConfig(num_workers=sft.workers, use_gpu=sft.gpus > 0, resources_per_worker=resources),
        run_config=TrainRun(name="train", storage_path=str(made.resolve())),
    )
    trainer.fit()
    with publishing(folder) as published:
        shutil.copytree(made / "artifact", published, dirs_exist_ok=True)
    shutil.rmtree(made)


def _work(given: dict[str, Any]) -> None:
    """One worker of Ray Train."""
    torch.set_num_threads(given["threads"])
    device = get_device() if given["device"] != "cpu" else torch.device("cpu")
    language = load_language(LanguageConfig.model_validate(given["language"]), device, learn=True)
    if given["lora"] is not None and not hasattr(language.model, "peft_config"):
        language = add_adapter(language, LoraConfig.model_validate(given["lora"]))
    template = RewritingTemplate(RewritingTemplateConfig.model_validate(given["template"]))
    folder = Path(given["folder"])
    rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    lessons = {
        name: [
            (template.prompt(row["prompt"], row["rate"], language.tokenizer), template.completion(row["compressed"]))
            for row in some
        ]
        for name, some in rows.items()
    }
    known = encoded(language, lessons["validation"]) if lessons["validation"] else []
    learning = FineTuningConfig.model_validate(given["learning"])
    result = fine_tune(language, encoded(language, lessons["train"]), known, learning)
    if get_context().get_world_rank() == 0:
        manifest = rewriter_manifest(language, **given["manifest"])
        save_rewriter(folder / "artifact", manifest, language, reader_of(Path(given["evaluator"])))
        (folder / "artifact" / _RECORD).write_text(json.dumps(asdict(result)), encoding="utf-8")


def manifest_fields(
    run: RunDirectory[RewritingRun], problems: Problems, *, stage: str, iteration: int
) -> dict[str, Any]:
    """What the artifact of a policy of this run says about itself, as plain data."""
    config = run.config
    return {
        "name": config.name,
        "created_by": __version__,
        "template": config.policy.template.model_dump(mode="json"),
        "decoding": {"temperature": 0.0, "max_new_tokens": config.policy.max_new_tokens},
        "rates": list(config.env.rates),
        "seed": config.seed,
        "iteration": iteration,
        "stage": stage,
        "data": {"source": config.data.source, "hash": problems.manifest.hash},
        "trained_rows": list(trained_hashes(problems.folder)),
    }


def base_of(run: RunDirectory[RewritingRun]) -> LanguageConfig:
    """The model that fine-tuning starts from, as it is loaded."""
    policy = run.config.policy
    named = LanguageConfig.model_validate(policy.model_dump(include=set(LanguageConfig.model_fields)))
    own = {"model": str((run.path / BASE / MODEL).resolve())} if policy.model == BUILTIN else {}
    return named.model_copy(update=own)


def start_of(run: RunDirectory[RewritingRun]) -> LanguageConfig:
    """The fine-tuned policy, as it is loaded."""
    return base_of(run).model_copy(update={"model": str((run.path / SFT / MODEL).resolve())})


def record(folder: Path) -> dict[str, Any]:
    """How the fine-tuning went whose artifact lies in a folder: `losses`, `validation` and `best`, in nats a token."""
    found: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    return found


def _begin(run: RunDirectory[RewritingRun], problems: Problems, rows: Sequence[Row]) -> None:
    """Write `base/`, a model with random weights and a tokenizer of the training pairs."""
    config = run.config
    template = RewritingTemplate(config.policy.template)
    read = chain.from_iterable((template.prompt(row["prompt"], 1.0).text, row["compressed"]) for row in rows)
    reader = reader_of(evaluator_folder(run))
    with publishing(run.path / BASE) as made:
        from_scratch(made / MODEL, read, _seeded(config.policy.scratch, config.seed))
        language = load_language(LanguageConfig(model=str(made / MODEL), chunk=config.policy.chunk))
        fields = manifest_fields(run, problems, stage="base", iteration=0)
        save_rewriter(made, rewriter_manifest(language, **fields), language, reader)


def _rows(run: RunDirectory[RewritingRun], problems: Problems, split: str) -> list[Row]:
    """The checked pairs of a split. Those of a file are for training alone, and none stands in the evaluation."""
    reader = reader_of(evaluator_folder(run))

    def count(text: str) -> int:
        return len(reader.encode(text)[0])

    learned = split == "train"
    pairs = _pairs(run.config, problems.split(split), split)
    checked = checked_pairs(pairs, problems.evaluated if learned else ()).pairs if pairs else ()
    return [
        {"prompt": pair.prompt, "compressed": pair.compressed, "rate": count(pair.compressed) / count(pair.prompt)}
        for pair in checked
    ]


def _pairs(config: RewritingRun, problems: Sequence[WordProblem], split: str) -> list[Pair]:
    sft = config.sft
    if sft.teacher is not None:
        language = load_language(sft.teacher, choose_device(config.device if sft.gpus else "cpu"))
        decoding = DecodingConfig(temperature=0.0, max_new_tokens=config.policy.max_new_tokens)
        teacher = rewriter(language, RewritingTemplate(config.policy.template), decoding)
        return list(pairs_by_teacher(teacher, problems, config.env.rates))
    if sft.pairs == "rules":
        return list(pairs_by_rule(problems))
    return pairs_from_file(sft.pairs) if split == "train" else list(pairs_by_rule(problems))


def _seeded(section: S, seed: int) -> S:
    """A section whose own seed is a part of the run's."""
    return section.model_copy(update={"seed": seed + section.seed})
