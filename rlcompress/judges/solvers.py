"""Engines behind an evaluator, by name: Hugging Face's own, and vLLM where it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from rlcompress.config.generating import DecodingConfig, EvaluatorConfig
from rlcompress.errors import UserError
from rlcompress.generation.loading import load_language
from rlcompress.generation.prompting import Prompt
from rlcompress.generation.teacher_forcing import given_logp
from rlcompress.generation.writing import Insert, write
from rlcompress.judges.evaluator import Evaluator, Said, Solver
from rlcompress.judges.vllm_solver import VllmSolver
from rlcompress.models.reconstructor import weights_hash
from rlcompress.words import FloatArray


class TransformersSolver:
    """A language model of Hugging Face, frozen: no parameter of it asks for a gradient."""

    def __init__(self, config: EvaluatorConfig, device: torch.device | None = None) -> None:
        self.language = load_language(config, device)
        self.language.model.requires_grad_(False)
        self.version = f"{config.model}@{config.revision}/{self.weights()}"

    @property
    def tokenizer(self) -> Any:
        return self.language.tokenizer

    def weights(self) -> str:
        """Content hash of the parameters as they are now: equal before and after whatever was done with them."""
        return weights_hash(self.language.model)

    def say(
        self, prompts: Sequence[Prompt], decoding: DecodingConfig, seeds: Sequence[int], insert: Insert | None
    ) -> list[Said]:
        ids = [self.language.prompt_ids(prompt) for prompt in prompts]
        return [Said(w.text, w.ending) for w in write(self.language, ids, decoding, seeds=seeds, insert=insert)]

    def logp(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[FloatArray]:
        rows = [(self.language.prompt_ids(p), self.language.encode(a)) for p, a in zip(prompts, answers, strict=True)]
        fitting = [i for i, (prompt, answer) in enumerate(rows) if len(prompt) + len(answer) <= self.language.window]
        found = [np.full(1, np.nan) for _ in rows]
        logps = given_logp(self.language, [rows[i][0] for i in fitting], [rows[i][1] for i in fitting])
        for i, logp_O in zip(fitting, logps, strict=True):
            found[i] = logp_O
        return found


BACKENDS: dict[str, Callable[[EvaluatorConfig, torch.device | None], Solver]] = {
    "transformers": TransformersSolver,
    "vllm": VllmSolver,
}


def build_evaluator(config: EvaluatorConfig, device: torch.device | None = None) -> Evaluator:
    """The evaluator that a configuration names, which crosses processes in its place.

    Raises:
        UserError: no such model or calculator, or the backend is not installed.
    """
    insert = None if config.calculator is None else named_insert(config.calculator)
    return Evaluator(BACKENDS[config.backend](config, device), config, insert)


def named_insert(name: str) -> Insert:
    """The function `package.module:function`.

    Raises:
        UserError: there is none.
    """
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name or module_name, None)
    except (ImportError, ValueError) as error:
        raise UserError(f"evaluator.calculator {name!r} cannot be imported ({error}): check the Python path") from error
    if not callable(function):
        raise UserError(f"evaluator.calculator {name!r} is no function: give package.module:function")
    found: Insert = function
    return found
