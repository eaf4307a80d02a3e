"""Built-in models from scratch: their tokenizer, what they are taught, that they learn, and who reads their folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcompress.config.generating import (
    DecodingConfig,
    EvaluatorConfig,
    FineTuningConfig,
    LanguageConfig,
    ScratchConfig,
)
from rlcompress.errors import UserError
from rlcompress.generation.builtin import from_scratch, train_evaluator, train_policy
from rlcompress.generation.loading import load_language
from rlcompress.generation.prompting import RewritingTemplate
from rlcompress.generation.rewriting import rewriter
from rlcompress.judges.solvers import build_evaluator
from rlcompress.models.reconstructor import weights_hash
from rlcompress.problems.generated import generated_problems
from rlcompress.problems.lexicon import REGISTERS
from rlcompress.words import Solve, Status

SMALL = ScratchConfig(width=32, layers=1, vocabulary=500, window=320)
QUICK = FineTuningConfig(steps=80, batch=8, learning_rate=1e-2, warmup=4, validate_every=40)
PROBLEMS = generated_problems(40, registers=REGISTERS, distractors=(0, 1))
VALIDATION = generated_problems(6, "validation", distractors=(0, 1))


def evaluator_config(folder: Path) -> EvaluatorConfig:
    return EvaluatorConfig(
        model=str(folder),
        calculator="rlcompress.problems.calculator:insertion",
        decoding=DecodingConfig(temperature=0.0, max_new_tokens=48),
    )


def test_a_digit_is_a_token_and_any_text_survives(tmp_path):
    from_scratch(tmp_path, [problem.text for problem in PROBLEMS], SMALL)
    language = load_language(LanguageConfig(model=str(tmp_path)))
    for text in ("He has 1234 apples.", "日本語 1,234.50 👩🏽", "<<80+110=190>>190\n#### 190"):
        ids = language.encode(text)
        assert language.decode(ids) == text
        assert sum(language.decode([i]).strip().isdigit() for i in ids) == sum(c.isdigit() for c in text)
    assert len(language.encode(PROBLEMS[0].text)) < len(PROBLEMS[0].text) / 2
    assert language.window == 320


def test_weights_are_decided_by_their_seed(tmp_path):
    hashes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        from_scratch(tmp_path / name, ["a text"], SMALL.model_copy(update={"seed": seed}))
        hashes.append(weights_hash(load_language(LanguageConfig(model=str(tmp_path / name))).model))
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_evaluator_learns_solutions_and_is_asked_like_any_other(tmp_path):
    config = evaluator_config(tmp_path)
    learned = train_evaluator(config, PROBLEMS, VALIDATION, SMALL, QUICK)
    assert learned.validation[-1][1] < 0.6 * learned.validation[0][1]
    evaluator = build_evaluator(config)
    [verdict] = evaluator.judge([Solve(PROBLEMS[0].text, str(PROBLEMS[0].answer))])
    assert verdict.status is Status.OK
    assert verdict.tokens == len(str(PROBLEMS[0].answer))


def test_the_policy_learns_rewrites_and_rewrites(tmp_path):
    learned = train_policy(LanguageConfig(model=str(tmp_path)), PROBLEMS, VALIDATION, SMALL, QUICK)
    assert learned.validation[-1][1] < 0.8 * learned.validation[0][1]
    language = load_language(LanguageConfig(model=str(tmp_path)))
    template = RewritingTemplate().prompt("", 0.5).text
    assert len(language.encode(template)) <= len(template.split()) + 12, "words of the template are tokens"
    rewrite = rewriter(language, RewritingTemplate(), DecodingConfig(max_new_tokens=8))
    assert len(rewrite([VALIDATION[0].text] * 2, [0.5, 0.7])) == 2


def test_trained_twice_is_the_same(tmp_path):
    few = QUICK.model_copy(update={"steps": 3})
    hashes = []
    for name in "ab":
        train_evaluator(evaluator_config(tmp_path / name), PROBLEMS[:8], [], SMALL, few)
        hashes.append(build_evaluator(evaluator_config(tmp_path / name)).solver.version.rpartition("/")[2])
    assert hashes[0] == hashes[1]


def test_no_pair_is_of_a_validation_problem(tmp_path):
    with pytest.raises(UserError, match="stands in the evaluation"):
        train_policy(LanguageConfig(model=str(tmp_path)), PROBLEMS[:4], PROBLEMS[:4], SMALL, QUICK)
