"""A real small model as an evaluator: frozen, in any company, with a calculator; settings that cross processes."""

from __future__ import annotations

import math
import pickle
import sys

import pytest
import torch

from rlcompress.config.generating import DecodingConfig, EvaluatorConfig
from rlcompress.errors import UserError
from rlcompress.judges.evaluator import Solve
from rlcompress.judges.solvers import BACKENDS, TransformersSolver, build_evaluator
from rlcompress.words import Judgement
from tests.rlcompress.language_models import TEXTS, save_language

ASKED = [Solve(text, answer) for text, answer in zip(TEXTS, ("7", "190", "1,234.50", "0", "the man"), strict=True)]


@pytest.fixture(scope="module", params=["llama", "phi3"])
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EvaluatorConfig:
    folder = save_language(tmp_path_factory.mktemp(request.param), request.param)
    return EvaluatorConfig(model=str(folder), chunk=3, decoding=DecodingConfig(max_new_tokens=8, temperature=0.7))


def content(verdict: Judgement) -> tuple[object, ...]:
    return verdict.score, verdict.tokens, verdict.version, verdict.detail


def test_judging_changes_no_byte_of_the_model(config: EvaluatorConfig) -> None:
    solver = TransformersSolver(config)
    parameters = [(p.data_ptr(), p.detach().clone()) for p in solver.language.model.parameters()]
    evaluator = build_evaluator(config)
    assert isinstance(evaluator.solver, TransformersSolver)
    before = evaluator.solver.weights()
    evaluator.judge(ASKED)
    assert evaluator.solver.weights() == before == solver.weights()
    assert not any(p.requires_grad for p in evaluator.solver.language.model.parameters())
    for p, (_, was) in zip(evaluator.solver.language.model.parameters(), parameters, strict=True):
        assert torch.equal(p, was)
    with torch.no_grad():
        next(solver.language.model.parameters())[0, 0] += 1e-3
    assert solver.weights() != before, "a change would be seen"


def test_verdicts_do_not_depend_on_company_or_process(config: EvaluatorConfig) -> None:
    together = build_evaluator(config).judge(ASKED)
    again = build_evaluator(pickle.loads(pickle.dumps(config)))
    for request, verdict in zip(ASKED, together, strict=True):
        assert content(again.judge([request])[0]) == content(verdict)


def test_bits_are_those_of_an_unpadded_forward(config: EvaluatorConfig) -> None:
    evaluator = build_evaluator(config)
    language = evaluator.solver.language  # type: ignore[attr-defined]
    for request, verdict in zip(ASKED, evaluator.judge(ASKED), strict=True):
        prompt = language.prompt_ids(evaluator._prompt(request))
        answer = language.encode(request.answer)
        with torch.no_grad():
            logp = torch.log_softmax(language.model(torch.tensor([[*prompt, *answer]])).logits[0], -1)
        slow = sum(-float(logp[len(prompt) + t - 1, token]) for t, token in enumerate(answer)) / math.log(2)
        assert (verdict.score, verdict.tokens) == (pytest.approx(slow, abs=1e-3), len(answer))


def test_the_calculator_speaks_in_the_output(config: EvaluatorConfig) -> None:
    """Where an output ends in what the first token ends in, it is said again: `html.escape` gives back what it gets."""
    greedy = config.model_copy(update={"decoding": DecodingConfig(max_new_tokens=20, temperature=0.0)})
    short = greedy.model_copy(update={"decoding": DecodingConfig(max_new_tokens=1, temperature=0.0)})
    firsts = [verdict.detail["said"] for verdict in build_evaluator(short).judge(ASKED)]
    request, first = next((r, f) for r, f in zip(ASKED, firsts, strict=True) if f.isalnum() and f.isascii())
    told = greedy.model_copy(update={"calculator": "html:escape", "calculator_after": first[-1]})
    assert build_evaluator(told).judge([request])[0].detail["said"].startswith(first + first)
    assert not build_evaluator(greedy).judge([request])[0].detail["said"].startswith(first + first)


def test_what_does_not_fit_the_window_is_a_failure(config: EvaluatorConfig) -> None:
    small = config.model_copy(update={"window": 40, "decoding": DecodingConfig(max_new_tokens=8, temperature=0.0)})
    verdicts = build_evaluator(small).judge([Solve("One", "7"), Solve("zq" * 60, "7"), Solve("One", "7 " * 40)])
    assert ["window" in v.detail.get("why", "") for v in verdicts] == [False, True, True]


def test_mistakes_are_named(config: EvaluatorConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    for calculator, why in (("no.such:thing", "cannot be imported"), ("math:pie", "is no function")):
        with pytest.raises(UserError, match=f"evaluator.calculator .* {why}"):
            build_evaluator(config.model_copy(update={"calculator": calculator}))
    monkeypatch.setitem(sys.modules, "vllm", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"evaluator.backend vllm needs vllm: pip install 'rlcompress\[vllm\]'"):
        build_evaluator(config.model_copy(update={"backend": "vllm"}))
    assert set(BACKENDS) == set(EvaluatorConfig.model_fields["backend"].annotation.__args__)  # type: ignore[union-attr]
