"""The stages before reinforcement learning: prepared data, judges that read, a policy that starts from its prior."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cluster import placement
from cluster import reading as readers
from cluster.encoders import embedder_folder
from cluster.judges import ready_judges
from cluster.session import ray_session
from rlcompress import __version__
from rlcompress.artifact import Manifest as ArtifactManifest
from rlcompress.artifact import save_artifact
from rlcompress.baselines import require_baselines, teacher_order
from rlcompress.config.schema import RunConfig
from rlcompress.data.dataset import load_split, trained_hashes
from rlcompress.data.manifest import Manifest
from rlcompress.data.prepare import prepare
from rlcompress.device import choose_device
from rlcompress.judges.build import bits_saved, load_judge
from rlcompress.judges.reading import BUILTIN as BUILTIN_READERS
from rlcompress.judges.silent import NONE
from rlcompress.models.causal import BUILTIN as BUILTIN_LANGUAGE_MODEL
from rlcompress.models.embedder import BUILTIN as BUILTIN_EMBEDDER
from rlcompress.models.imitation import imitate
from rlcompress.models.presence import require_model
from rlcompress.models.scorer import BUILTIN_ENCODERS, TextScorer, build_scorer, load_channels
from rlcompress.models.tokenizer import TextTokenizer, load_tokenizer
from rlcompress.publish import publishing, why_torn
from rlcompress.rewards.reward import Reward
from rlcompress.runs import RunDirectory
from rlcompress.text.protect import protected_spans
from rlcompress.text.segment import Segmenter
from rlcompress.words import Example, Units

BUILTIN_JUDGES = ("builtin:attention", "builtin:convolution", NONE)
STARTS = ("prior", "warm_start")  # artifacts of a run that are evaluated beside the trained one


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
    named = json.dumps([config.data.model_dump(mode="json"), config.reader.model_dump(mode="json")], sort_keys=True)
    folder = Path(config.runs) / "cache" / "data" / hashlib.blake2b(named.encode(), digest_size=8).hexdigest()
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
    return prepared


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


def warm_start(run: RunDirectory, prepared: Prepared) -> list[float]:
    """Write the policy's two starting points as artifacts, `prior/` and `warm_start/`; losses of the imitation.

    None where both lie there whole, from before the run was interrupted.
    """
    if all(why_torn(run.path / name) is None for name in STARTS):
        return []
    config = run.config
    device = choose_device(config.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        settings = {**config.policy.model_dump(), "trust_remote_code": config.trust_remote_code}
        channels = load_channels(embedder(run, prepared))
        network, features = build_scorer(settings, prepared.reader, passes=config.env.steps, channels=channels)
    train = prepared.examples("train")
    counts_V = np.zeros(len(network.get_buffer("bits_V")))
    for text in {example.text for example in train}:  # a context of several questions is one text
        np.add.at(counts_V, features.tokenizer.encode(text)[0], 1)
    network.fit_prior(torch.from_numpy(counts_V))
    scorer = TextScorer(network, features, device)
    export(run, prepared, scorer, run.path / "prior", stage="prior", iteration=0)
    losses: list[float] = []
    if config.warm_start.steps:
        rng = np.random.default_rng([config.seed, 3])
        chosen = [train[i] for i in rng.permutation(len(train))[: config.warm_start.texts]]
        units = prepared.units(chosen)
        rate = min(1.0, max(config.env.rates) + 0.1)
        judge = load_judge(run.judges / "reward", device)
        orders = teacher_order(judge, units, chosen, config.warm_start.passes, rate)
        losses = imitate(scorer, units, chosen, orders, rate=rate, config=config.warm_start, seed=config.seed)
    export(run, prepared, scorer, run.path / "warm_start", stage="warm_start", iteration=0)
    return losses


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
