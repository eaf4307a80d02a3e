"""The stages before reinforcement learning: prepared data, judges that read, a policy that starts from its prior."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cluster import placement
from cluster import reading as readers
from cluster.encoders import embedder_folder, told_folder
from cluster.judges import ready_judges
from cluster.session import ray_session
from rlcompress import __version__
from rlcompress.artifact import Manifest as ArtifactManifest
from rlcompress.artifact import load_scorer, save_artifact
from rlcompress.baselines import require_baselines, teacher_order
from rlcompress.config.schema import ImitationConfig, RunConfig
from rlcompress.data.dataset import load_split, trained_hashes
from rlcompress.data.manifest import Manifest
from rlcompress.data.prepare import cached_folder, prepare
from rlcompress.judges.build import bits_saved, load_judge
from rlcompress.judges.reading import BUILTIN as BUILTIN_READERS
from rlcompress.judges.silent import NONE
from rlcompress.machine.device import choose_device
from rlcompress.measuring.metrics import Source, chosen_metrics
from rlcompress.models.causal import BUILTIN as BUILTIN_LANGUAGE_MODEL
from rlcompress.models.embedder import BUILTIN as BUILTIN_EMBEDDER
from rlcompress.models.imitation import imitate
from rlcompress.models.presence import require_model
from rlcompress.models.scorer import BUILTIN_ENCODERS, TextScorer, build_scorer, load_channels
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer
from rlcompress.questions.answers import answer_units
from rlcompress.recording.directory import RunDirectory
from rlcompress.recording.publish import publishing, why_torn
from rlcompress.rewards.reward import Reward
from rlcompress.selection import Ranking, budget_tokens, rank
from rlcompress.text.protect import protected_spans
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, Units

BUILTIN_JUDGES = ("builtin:attention", "builtin:convolution", NONE)
IMITATED = ("warm_start", "supervised")
STARTS = ("prior", *IMITATED)  # artifacts of a run that are evaluated beside the trained one


@dataclass(frozen=True, slots=True)
class Prepared:
    """Data of a run: where it lies, what it is, and the tokenizer that counts its budgets."""

    folder: Path
    manifest: Manifest
    reader: TextTokenizer
    segmenter: Segmenter

    def examples(self, split: str) -> list[Example]:
        return load_split(self.folder, split)

    def units(self, examples: list[Example]) -> list[Units]:
        return [self.segmenter(example.text) for example in examples]


def prepared_data(config: RunConfig) -> Prepared:
    """Prepare the data of `config`, or find it as an earlier run left it under `<runs>/cache/data`."""
    folder = cached_folder(config)
    manifest = prepare(config, folder)
    reader = load_tokenizer(str(folder / "tokenizer"))
    return Prepared(folder, manifest, reader, Segmenter(reader, config.env.granularity, config.env.protect))


def checked_data(config: RunConfig) -> Prepared:
    """The data of a run whose device and models are there too: what can be wrong with it is said here."""
    choose_device(config.device)
    require_model("policy.encoder", config.policy.encoder, BUILTIN_ENCODERS, config.trust_remote_code)
    for key, judge in (("judges.reward.model", config.judges.reward), ("judges.heldout.model", config.judges.heldout)):
        require_model(key, judge.model, BUILTIN_JUDGES, config.trust_remote_code)
    if readers.wanted(config):
        require_model("judges.reader.model", config.judges.reader.model, BUILTIN_READERS, config.trust_remote_code)
    asked = config.baselines.language_model.model
    require_model("embedder.model", config.embedder.model, (BUILTIN_EMBEDDER,), config.trust_remote_code)
    require_model("baselines.language_model.model", asked, (BUILTIN_LANGUAGE_MODEL,), config.trust_remote_code)
    require_baselines([name for name in config.evaluate.methods if name not in ("rl", *STARTS)], "evaluate.methods")
    protected_spans("", config.env.protect)
    terms = Reward(config.reward.model_copy(update={"importance": "none"}))
    prepared = prepared_data(config)
    terms.check(prepared.examples("train"))
    require_measures(config, prepared.examples("test")[: config.evaluate.texts])
    return prepared


def require_measures(config: RunConfig, examples: list[Example]) -> None:
    """Refuse a listed metric that could not be computed of these rows, and a reader that is not there.

    Raises:
        UserError: naming the metric or the key, and what to do.
    """
    readers.require_named(config)
    asked: dict[Source, bool] = {
        "judge": not config.judges.heldout.silent,
        "reconstruction": not config.judges.heldout.silent,
        "adapted judge": bool(config.evaluate.adapt_steps) and not config.judges.heldout.silent,
        "reader": config.evaluate.reader is not None or readers.wanted(config),
    }
    chosen_metrics(config.evaluate.metrics, examples, {source for source, there in asked.items() if there})


def judged(run: RunDirectory, prepared: Prepared) -> dict[str, float]:
    """Both judges in the run's folder; the share of bits that reading saves each. Whole ones are taken as they lie."""
    roles = {"reward": run.config.judges.reward, "heldout": run.config.judges.heldout}
    folders = {role: run.judges / role for role, judge in roles.items() if not judge.silent}
    if readers.wanted(run.config):
        folders[readers.ROLE] = run.judges / readers.ROLE
    if all(why_torn(folder) is None for folder in folders.values()):
        return {role: bits_saved(folder) for role, folder in folders.items()}
    return ready_judges(run.config, prepared.folder, prepared.manifest.hash, run.judges)


def train_judges(config: RunConfig, out: str | Path | None = None) -> Path:
    """The judges of a run alone: trained or taken from the cache, held to their gate, and what they read printed.

    Returns the folder with `reward/` and `heldout/`: `out`, or `<runs>/judges/<name>`.

    Raises:
        UserError: a mistake in the configuration or the data, or a judge that does not read.
    """
    prepared = checked_data(config)
    folder = Path(out) if out else Path(config.runs) / "judges" / config.name
    with ray_session(config):
        placement.require(config)
        ready_judges(config, prepared.folder, prepared.manifest.hash, folder)
    for role in ("reward", "heldout"):
        if (folder / role).is_dir():
            print(f"{role:<9}{reading(folder / role)}", flush=True)
    return folder


def reading(folder: Path) -> str:
    """What the judge in `folder` gets from reading held-out texts half of whose words were dropped."""
    record = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
    before, after = record["before"], record["reads"]
    was = f" (before training {before['right']:.3f}, {before['accuracy']:.1%})" if before else ""
    return (
        f"{after['right']:.3f} bits a dropped token, {after['accuracy']:.1%} guessed right{was}; "
        f"saves {after['gain']:.1%} of the bits by reading"
    )


def starts(run: RunDirectory, prepared: Prepared) -> dict[str, list[float]]:
    """Write the policy before reinforcement learning as artifacts; the losses of what was imitated, by name.

    `prior/` is untrained, `warm_start/` is where learning starts, `supervised/` (where `supervised.steps` asks for it)
    is imitation alone. What lies there whole, from before the run was interrupted, is taken as it is.
    """
    losses: dict[str, list[float]] = {}
    if why_torn(run.path / "prior") is not None:
        export(run, prepared, untrained(run, prepared), run.path / "prior", stage="prior", iteration=0)
    for name in IMITATED:
        config: ImitationConfig = getattr(run.config, name)
        if why_torn(run.path / name) is not None and (config.steps or name == "warm_start"):
            scorer = load_scorer(run.path / "prior", choose_device(run.config.device))[1]
            if config.steps:
                losses[name] = imitate(scorer, *taught(run, prepared, config), config=config, seed=run.config.seed)
            export(run, prepared, scorer, run.path / name, stage=name, iteration=0)
    return losses


def untrained(run: RunDirectory, prepared: Prepared) -> TextScorer:
    """A fresh policy whose prior was fitted on the training texts."""
    config = run.config
    device = choose_device(config.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        settings = {**config.policy.model_dump(), "trust_remote_code": config.trust_remote_code}
        channels = load_channels(embedder(run, prepared), told_folder(config))
        network, features = build_scorer(settings, prepared.reader, passes=config.env.steps, channels=channels)
    train = prepared.examples("train")
    counts_V = np.zeros(len(network.get_buffer("bits_V")))
    for text in {example.text for example in train}:  # a context of several questions is one text
        np.add.at(counts_V, features.tokenizer.encode(text)[0], 1)
    network.fit_prior(torch.from_numpy(counts_V))
    return TextScorer(network, features, device)


def taught(
    run: RunDirectory, prepared: Prepared, config: ImitationConfig
) -> tuple[list[Units], list[Example], list[Ranking]]:
    """Training texts, drawn by seed, and what the teacher would keep of each first."""
    train = prepared.examples("train")
    rng = np.random.default_rng([run.config.seed, 3])
    chosen = [train[i] for i in rng.permutation(len(train))[: config.texts]]
    units = prepared.units(chosen)
    if config.teacher == "answers":
        return units, chosen, [answer_first(u, e) for u, e in zip(units, chosen, strict=True)]
    rate = min(1.0, max(run.config.env.rates) + 0.1)
    judge = load_judge(run.judges / "reward", choose_device(run.config.device))
    orders = teacher_order(judge, units, chosen, config.passes, rate)
    return units, chosen, [rank(u, order, budget_tokens(u, rate)) for u, order in zip(units, orders, strict=True)]


def answer_first(units: Units, example: Example) -> Ranking:
    """A ranking whose only draws are the units of the answer; none where it is not in the text."""
    marked_N = answer_units(units, example.answer or "") & ~units.protected_N
    order_M = rank(units, marked_N.astype(np.float64), units.total_cost).order_M
    size = int(marked_N.sum())
    return Ranking(order_M, kept=size, draws=size, over_budget=False)


def told(run: RunDirectory, prepared: Prepared) -> int:
    """Let each question tell of its text before anybody waits for it; the number of rows that are ready."""
    channels = load_channels(embedder(run, prepared), told_folder(run.config))
    if channels is None:
        return 0
    rows = [example for split in prepared.manifest.splits for example in prepared.examples(split)]
    channels.prepare(prepared.units(rows), [example.question for example in rows])
    return len(rows)


def export(
    run: RunDirectory, prepared: Prepared, scorer: TextScorer, folder: Path, *, stage: str, iteration: int
) -> None:
    """Save a scorer as an artifact that says what it is and what it was trained on."""
    config = run.config
    manifest = ArtifactManifest(
        name=config.name,
        created_by=__version__,
        policy=config.policy,
        granularity=config.env.granularity,
        protect=config.env.protect,
        rates=config.env.rates,
        sampler=config.env.sampler if stage == "rl" else "exact",
        passes=config.env.steps,
        nested=config.env.steps == 1,
        seed=config.seed,
        iteration=iteration,
        stage=stage,
        data={"source": config.data.source, "hash": prepared.manifest.hash},
        trained_rows=tuple(trained_hashes(prepared.folder)),
    )
    with publishing(folder) as made:
        save_artifact(made, manifest, scorer.network, prepared.reader, embedder(run, prepared))


def embedder(run: RunDirectory, prepared: Prepared) -> Path | None:
    """Where the encoder behind the policy's channels lies; None for a policy without them."""
    if run.config.policy.channels == "none":
        return None
    return embedder_folder(run.config, prepared.folder, prepared.manifest.hash)
