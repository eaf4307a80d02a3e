"""A frozen language model behind vLLM, which schedules prompts by itself; imported where it is asked for.

It works ahead in larger batches than Hugging Face's own engine and may differ from it by float noise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rlcompress.config.generating import DecodingConfig, EvaluatorConfig
from rlcompress.errors import UserError
from rlcompress.generation.prompting import Prompt
from rlcompress.generation.vocabulary import Vocabulary
from rlcompress.generation.writing import Ending, Insert
from rlcompress.judges.evaluator import Said
from rlcompress.models.presence import fingerprint
from rlcompress.words import FloatArray

_SEEDS = 2**31  # vLLM's are 32 bits wide


@dataclass(slots=True)
class _Row:
    prompt_ids: list[int]
    seed: int
    text: str = ""
    tokens: int = 0
    ending: Ending | None = None


class VllmSolver:
    """Args are those of `TransformersSolver`.

    Raises:
        UserError: vLLM is not installed, or something is asked of it that it is not used for here.
    """

    def __init__(self, config: EvaluatorConfig, device: torch.device | None = None) -> None:
        try:
            import vllm
        except ImportError as error:
            raise UserError(
                "evaluator.backend vllm needs vllm: pip install 'rlcompress[vllm]', or set backend to transformers"
            ) from error
        from transformers import AutoConfig, GenerationConfig

        if config.quantise != "none":
            raise UserError("evaluator.quantise: backend vllm takes weights that are quantised already: set it to none")
        self._vllm = vllm
        self._engine = vllm.LLM(
            model=config.model,
            revision=config.revision,
            dtype=config.precision,
            max_model_len=config.window,
            seed=config.seed,
            trust_remote_code=False,
            enable_prefix_caching=True,
        )
        self.tokenizer = self._engine.get_tokenizer()
        settings = [AutoConfig.from_pretrained(config.model, revision=config.revision)]
        with contextlib.suppress(OSError):  # many models have none
            settings.append(GenerationConfig.from_pretrained(config.model, revision=config.revision))
        self._vocabulary = Vocabulary(self.tokenizer, config.model, settings)
        self._window = int(config.window or self._engine.llm_engine.model_config.max_model_len)
        self._after = config.calculator_after
        weights = config.revision or fingerprint(config.model)
        self.version = f"vllm {vllm.__version__}/{config.precision}/{config.model}@{weights}"

    def say(
        self, prompts: Sequence[Prompt], decoding: DecodingConfig, seeds: Sequence[int], insert: Insert | None
    ) -> list[Said]:
        """Generation stops where the calculator is to be asked, and goes on behind what it says."""
        rows = [_Row(self._vocabulary.prompt_ids(p), seed) for p, seed in zip(prompts, seeds, strict=True)]
        for row in rows:
            if len(row.prompt_ids) + decoding.max_new_tokens > self._window:
                row.ending = Ending.TOO_LONG
        while going := [row for row in rows if row.ending is None]:
            outputs = self._engine.generate(
                [{"prompt_token_ids": self._so_far(row)} for row in going],
                [self._sampling(row, decoding, insert) for row in going],
                use_tqdm=False,
            )
            for row, output in zip(going, outputs, strict=True):
                self._take(row, output.outputs[0], decoding, insert)
        return [Said(row.text, row.ending or Ending.FAILED) for row in rows]

    def _so_far(self, row: _Row) -> list[int]:
        return [*row.prompt_ids, *(self._vocabulary.encode(row.text) if row.text else [])]

    def _sampling(self, row: _Row, decoding: DecodingConfig, insert: Insert | None) -> Any:
        return self._vllm.SamplingParams(
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            max_tokens=decoding.max_new_tokens - row.tokens,
            seed=(row.seed + row.tokens) % _SEEDS,  # another piece of the output, other random numbers
            stop=[self._after] if insert else None,
            include_stop_str_in_output=True,
            stop_token_ids=sorted(self._vocabulary.end_ids),
        )

    def _take(self, row: _Row, piece: Any, decoding: DecodingConfig, insert: Insert | None) -> None:
        row.text += piece.text
        row.tokens += len(piece.token_ids)
        if piece.finish_reason == "length":
            row.ending = Ending.TRUNCATED
        elif insert is None or piece.stop_reason != self._after:
            row.ending = Ending.ENDED
        else:
            inserted = insert(row.text) or ""
            row.text += inserted
            row.tokens += len(self._vocabulary.following_ids(inserted)) if inserted else 0
            row.ending = Ending.TRUNCATED if row.tokens >= decoding.max_new_tokens else None

    def logp(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[FloatArray]:
        encode = self._vocabulary
        rows = [(encode.prompt_ids(p), encode.encode(a)) for p, a in zip(prompts, answers, strict=True)]
        found = [np.full(1, np.nan) for _ in rows]
        # one token is always generated: it needs a place as well
        fitting = [i for i, (prompt, answer) in enumerate(rows) if len(prompt) + len(answer) < self._window]
        outputs = self._engine.generate(
            [{"prompt_token_ids": [*rows[i][0], *rows[i][1]]} for i in fitting],
            self._vllm.SamplingParams(max_tokens=1, prompt_logprobs=0, temperature=0.0),
            use_tqdm=False,
        )
        for i, output in zip(fitting, outputs, strict=True):
            before, answer = rows[i]
            given = output.prompt_logprobs[len(before) :]
            found[i] = np.array([place[token].logprob for place, token in zip(given, answer, strict=True)], np.float64)
        return found
