"""Real language models on both sides: one writes, another solves, and the environment stands between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.rewriting_vector import PromptRewritingVector
from rlcompress.config.generating import DecodingConfig, EvaluatorConfig, LanguageConfig
from rlcompress.generation.language import LanguageModel, load_base
from rlcompress.generation.prompting import RewritingTemplate
from rlcompress.generation.rewriting import rewriter
from rlcompress.judges.evaluator import Evaluator
from rlcompress.judges.solvers import build_evaluator
from rlcompress.models.tokenizer import load_tokenizer
from rlcompress.problems.problem import WordProblem
from rlcompress.words import Status, Unfinished
from tests.rlcompress.language_models import save_language

PROBLEMS = [
    WordProblem("a", "Tom has 80. He buys 110. How many?", "<<80+110=190>>190\n#### 190", "rows"),
    WordProblem("b", "Mia has 7. She buys 2. How many?", "#### 9", "rows"),
]
G = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture
def evaluator(folder: Path) -> Evaluator:
    decoding = DecodingConfig(temperature=0.0, max_new_tokens=4)
    return build_evaluator(EvaluatorConfig(model=str(folder), template="{text}", decoding=decoding, chunk=4))


@pytest.fixture
def policy(folder: Path) -> LanguageModel:
    return load_base(LanguageConfig(model=str(folder), chunk=4))


@pytest.fixture
def vector(evaluator: Evaluator, folder: Path) -> PromptRewritingVector:
    return PromptRewritingVector(
        num_envs=2 * G,
        samples=G,
        examples=PROBLEMS,
        evaluator=evaluator,
        tokenizer=load_tokenizer(str(folder)),
        reward={"terms": {"likelihood": 1.0}, "gates": []},
    )


def test_what_one_model_writes_another_solves(vector, evaluator, policy):
    template = RewritingTemplate()
    observations, infos = vector.reset(options={"indices": [0, 1], "rates": [0.5, 0.7]})
    write = rewriter(policy, template, DecodingConfig(max_new_tokens=6))
    texts: list[str] = write(observations["text"], observations["rate"][:, 0].tolist())
    assert infos["tokens"].tolist() == [len(policy.encode(text)) for text in observations["text"]]
    texts[0], texts[3] = Unfinished("cut o"), str(texts[3])  # one at least of each kind
    _, rewards_B, terminated_B, _, infos = vector.step(texts)
    cut_B = np.asarray([isinstance(text, Unfinished) for text in texts])
    assert terminated_B.all()
    assert np.isnan(rewards_B[cut_B]).all()
    assert (infos["status"] == np.where(cut_B, Status.UNFINISHED, Status.OK)).all()
    assert ((rewards_B[~cut_B] >= 0) & (rewards_B[~cut_B] <= 1)).all()
    assert infos["tokens"].tolist() == [len(policy.encode(text)) for text in texts]


def test_the_original_itself_is_half_as_likely_and_solved_once(vector, evaluator):
    """p(a | rewrite) / (p(a | rewrite) + p(a | original)) of the original is 1/2; its verdict is computed once."""
    observations, _ = vector.reset(options={"indices": [0, 1]})
    for _ in range(2):
        _, rewards_B, *_ = vector.step(observations["text"])
        assert rewards_B.tolist() == [0.5] * (2 * G)
        vector.reset(options={"indices": [0, 1]})
    assert evaluator.computed == 2
    assert vector.world.calls == 2


def test_a_prompt_beyond_the_window_is_no_wrong_answer(vector):
    vector.reset(options={"indices": [0, 1]})
    _, rewards_B, *_, infos = vector.step(["80 " * 400, *["short"] * (2 * G - 1)])
    assert infos["status"].tolist() == [Status.JUDGE_FAILED, *[Status.OK] * (2 * G - 1)]
    assert np.isnan(rewards_B).tolist() == [True, *[False] * (2 * G - 1)]
