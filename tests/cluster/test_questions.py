"""A query-aware policy through all stages, where answers stand beside the sentence that matches the question."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cluster.training import train
from envs.dealing import Passage
from envs.masking_world import MaskingWorld
from rlcompress.compressor import Compressor
from rlcompress.config.files import load_config
from rlcompress.data.dataset import load_split
from rlcompress.judges.silent import SilentJudge
from rlcompress.measuring.results import load_results
from rlcompress.models.features import TOKENS, TOLD
from rlcompress.recording.directory import RunDirectory

pytestmark = [pytest.mark.ray, pytest.mark.learning]

_WORDS = """
kettle lamp ladder saddle barrel mirror bucket carpet shovel basket hammer trumpet
Berta Otto Clara Hugo Irma Emil Frieda Karl Lotte Max Paula Rudi
from under near over behind again later early there quickly slowly alone often never along across away inside outside
"""
THINGS, NAMES, FILLERS = (line.split() for line in _WORDS.strip().splitlines())
CONFIG = Path(__file__).parents[2] / "tune_configs" / "masking" / "context_qa.yaml"
SMALL = [
    "data.min_tokens=1",
    "data.near_duplicates=false",
    "reader.vocabulary=400",
    "policy.width=24",
    "embedder.model=builtin:lsa",
    "embedder.dimension=8",
    "env.rates=[0.2]",
    "evaluate.rates=[0.2]",
    "evaluate.methods=[prior,supervised,mix_sentences,bm25_sentences]",
    "evaluate.bootstrap=100",
    "supervised.teacher=answers",
    "supervised.steps=60",
    "learner.iterations=60",
    "learner.prompts_per_step=8",
    "learner.samples_per_prompt=12",
    "learner.lr=5e-3",
    "checkpoint.validate_every=20",
]


def row(rng: np.random.Generator) -> dict[str, str]:
    """Who has a thing stands in the sentence after the one that tells of it, among others of the same form."""
    things, names = rng.permutation(THINGS)[:6], rng.permutation(NAMES)[:6]
    told = [
        " ".join(["Somebody took the", thing, *rng.choice(FILLERS, 6)])
        + ". "
        + " ".join(["The name", *rng.choice(FILLERS, 2), name])
        + "."
        for thing, name in zip(things, names, strict=True)
    ]
    asked = int(rng.integers(6))
    return {"context": " ".join(told), "question": f"Who has the {things[asked]}?", "answer": str(names[asked])}


@pytest.fixture(scope="module")
def run(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("questions")
    rng = np.random.default_rng(0)
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(row(rng)) + "\n" for _ in range(160)), encoding="utf-8")
    config = load_config(CONFIG, [*SMALL, f"data.source={source}", f"runs={folder / 'runs'}"])
    return train(config, command="the test")


def retention(run: RunDirectory) -> dict[str, float]:
    rows = load_results(run.path / "evaluation" / "results.json")["results"]
    return {row["method"]: row["mean"] for row in rows if row["metric"] == "answer_retention"}


def test_it_learns_what_no_match_of_sentences_tells(run: RunDirectory) -> None:
    kept = retention(run)
    assert kept["prior"] == kept["mix_sentences"], "an untrained policy is the mix"
    assert kept["mix_sentences"] < 0.6
    assert kept["rl"] > 0.9
    assert kept["supervised"] > 0.9


def test_nobody_was_asked_and_the_reward_chose_the_checkpoint(run: RunDirectory) -> None:
    assert not list(run.judges.glob("*"))
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    costs = {row["step"]: row["validation/cost"] for row in rows if "validation/cost" in row}
    assert list(costs) == [0, 20, 40, 60]
    assert all(costs[step] == pytest.approx(-rows[step]["validation/reward@0.2"]) for step in costs)
    assert (run.checkpoints / "best").read_text().strip() == f"iteration-{min(costs, key=lambda s: (costs[s], s)):06d}"
    assert not any("distortion" in name for name in rows[-1] if name.startswith("validation/"))


def test_what_is_served_hears_the_question_and_needs_nothing_else(run: RunDirectory, tmp_path: Path) -> None:
    [data] = (Path(run.config.runs) / "cache" / "data").iterdir()
    (run.artifact).rename(tmp_path / "artifact")
    compressor = Compressor.from_pretrained(tmp_path / "artifact")
    (tmp_path / "artifact").rename(run.artifact)
    kept = []
    for example in load_split(data, "test"):
        kept.append(str(example.answer) in compressor.compress(example.text, 0.2, question=example.question).text)
    assert np.mean(kept) == pytest.approx(retention(run)["rl"])
    text = load_split(data, "test")[0].text
    assert compressor.compress(text, 0.2).kept_tokens <= compressor.compress(text, 0.2).original_tokens * 0.2 + 0.5


def test_no_answer_is_an_input(run: RunDirectory) -> None:
    """Neither of the features of the policy nor of what the environment shows."""
    [data] = (Path(run.config.runs) / "cache" / "data").iterdir()
    example = load_split(data, "test")[0]
    for stage in ("prior", "supervised", "artifact"):
        compressor = Compressor.from_pretrained(run.path / stage)
        seen = compressor._scorer.features([compressor.segmenter(example.text)], [example.question])
        assert set(seen) == {*TOKENS, *TOLD}
    env = MaskingWorld([example], judge=SilentJudge(), reward=run.config.reward, rates=[0.2])
    shown = env.observation(env.initial(np.random.default_rng(0), Passage(1)))
    assert shown.keys() == {"text", "question", "rate"}
    assert (shown["text"], shown["question"]) == (example.text, example.question)
