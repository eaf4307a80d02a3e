"""vLLM's side of the evaluator, over a fake package with the calls that are made of the real one.

The fake generates with a real small model, so what comes back is compared with the other backend.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlcompress.config.generating import DecodingConfig, EvaluatorConfig, LanguageConfig
from rlcompress.errors import UserError
from rlcompress.generation.language import LanguageModel, load_base
from rlcompress.generation.prompting import Prompt
from rlcompress.generation.teacher_forcing import given_logp
from rlcompress.generation.writing import Ending, write
from rlcompress.judges.evaluator import Solve
from rlcompress.judges.solvers import TransformersSolver, build_evaluator
from rlcompress.judges.vllm_solver import VllmSolver
from tests.rlcompress.language_models import TEXTS, save_language

PROMPTS = [Prompt("", text, "\n") for text in TEXTS[:3]]


class SamplingParams:
    def __init__(
        self,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_tokens: int = 16,
        seed: int | None = None,
        stop: list[str] | None = None,
        stop_token_ids: list[int] | None = None,
        include_stop_str_in_output: bool = False,
        prompt_logprobs: int | None = None,
    ) -> None:
        assert max_tokens > 0
        self.__dict__.update(locals())


class LLM:
    """Greedy, one token after the other, with stop strings as vLLM has them."""

    def __init__(self, model: str, *, revision: Any, dtype: str, max_model_len: Any, seed: int, **more: Any) -> None:
        assert more == {"trust_remote_code": False, "enable_prefix_caching": True}
        self.language: LanguageModel = load_base(LanguageConfig(model=model, window=max_model_len))
        settings = types.SimpleNamespace(max_model_len=self.language.window)
        self.llm_engine = types.SimpleNamespace(model_config=settings)
        self.rounds = 0

    def get_tokenizer(self) -> Any:
        return self.language.tokenizer

    def generate(self, prompts: list[dict[str, list[int]]], sampling: Any, *, use_tqdm: bool) -> list[Any]:
        self.rounds += 1
        each = sampling if isinstance(sampling, list) else [sampling] * len(prompts)
        return [self._one(p["prompt_token_ids"], s) for p, s in zip(prompts, each, strict=True)]

    def _one(self, ids: list[int], params: Any) -> Any:
        logprobs = None
        if params.prompt_logprobs is not None:
            found = given_logp(self.language, [ids[:1]], [ids[1:]])[0]
            logprobs = [None, *({i: types.SimpleNamespace(logprob=x)} for i, x in zip(ids[1:], found, strict=True))]
        done = write(self.language, [ids], DecodingConfig(max_new_tokens=params.max_tokens, temperature=0))[0]
        text, new, reason, stopped = done.text, done.ids, "length", None
        if done.ending is Ending.ENDED:
            reason = "stop"
        for stop in params.stop or []:
            for n in range(1, len(done.ids) + 1):
                if stop in (so_far := self.language.decode(done.ids[:n])):
                    text, new, reason, stopped = so_far[: so_far.index(stop) + len(stop)], done.ids[:n], "stop", stop
                    break
        piece = types.SimpleNamespace(text=text, token_ids=new, finish_reason=reason, stop_reason=stopped)
        return types.SimpleNamespace(outputs=[piece], prompt_logprobs=logprobs)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluatorConfig:
    fake = types.ModuleType("vllm")
    fake.__dict__.update(LLM=LLM, SamplingParams=SamplingParams, __version__="0.0")
    monkeypatch.setitem(sys.modules, "vllm", fake)
    decoding = DecodingConfig(max_new_tokens=12, temperature=0)
    return EvaluatorConfig(model=str(save_language(tmp_path, "gpt2")), backend="vllm", decoding=decoding)


def test_it_says_what_the_other_backend_says(config: EvaluatorConfig) -> None:
    ours, theirs = VllmSolver(config), TransformersSolver(config)
    assert ours.say(PROMPTS, config.decoding, [0] * 3, None) == theirs.say(PROMPTS, config.decoding, [0] * 3, None)
    answers = ["190", "the man", "7"]
    for one, other in zip(ours.logp(PROMPTS, answers), theirs.logp(PROMPTS, answers), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_it_stops_for_the_calculator_and_goes_on(config: EvaluatorConfig) -> None:
    said = VllmSolver(config).say(PROMPTS[:1], config.decoding, [0], None)[0].text
    mark = said[4]
    solver = VllmSolver(config.model_copy(update={"calculator_after": mark}))
    asked: list[str] = []

    def insert(text: str) -> str | None:
        asked.append(text)
        return "190>>" if len(asked) == 1 else None

    found = solver.say(PROMPTS[:1], config.decoding, [0], insert)[0]
    assert asked[0] == said[: said.index(mark) + 1]
    assert found.text.startswith(asked[0] + "190>>")
    assert found.ending is Ending.TRUNCATED
    assert solver._engine.rounds == len(asked) + (asked[-1] != found.text)
    assert len(solver._vocabulary.encode(found.text)) <= config.decoding.max_new_tokens + 8


def test_windows_and_settings(config: EvaluatorConfig) -> None:
    small = VllmSolver(config.model_copy(update={"window": 40}))
    prompts = [PROMPTS[0], Prompt("", "zq" * 60, "")]
    assert [s.ending is Ending.TOO_LONG for s in small.say(prompts, config.decoding, [0, 0], None)] == [False, True]
    logps = small.logp(prompts, ["7", "7"])
    assert np.isfinite(logps[0]).all()
    assert np.isnan(logps[1]).all()
    with pytest.raises(UserError, match="takes weights that are quantised already"):
        VllmSolver(config.model_copy(update={"quantise": "4bit"}))


def test_verdicts_name_the_engine(config: EvaluatorConfig) -> None:
    one = build_evaluator(config)
    other = build_evaluator(config.model_copy(update={"backend": "transformers"}))
    asked = [Solve("One", "7")]
    assert one.version != other.version
    assert one.judge(asked)[0].detail == other.judge(asked)[0].detail
    assert one.judge(asked)[0].score == pytest.approx(other.judge(asked)[0].score, abs=1e-3)
