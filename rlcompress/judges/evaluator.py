"""The evaluator of rewritten prompts: a frozen language model that must still solve them.

`score` is −log2 p(gold answer | prompt), in bits over `tokens` tokens; `detail["said"]` is what the model wrote and
`detail["ending"]` how that ended. Whether it is right is read elsewhere (`rlcompress.rewards.solving`). A model that
fails, or a prompt that does not fit its window, is a failure and never a wrong answer.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rlcompress.config.generating import DecodingConfig, EvaluatorConfig
from rlcompress.errors import JudgeUnavailable
from rlcompress.generation.prompting import Prompt, frame
from rlcompress.generation.writing import Ending, Insert
from rlcompress.machine.memory import give_back_memory, is_out_of_memory
from rlcompress.words import FloatArray, Judgement
from rlcompress.words import Solve as Solve

_AWAY = "away"  # version of what was not answered: asked again the next time


@dataclass(frozen=True, slots=True)
class Said:
    """What a model wrote, and how that ended."""

    text: str
    ending: Ending


class Solver(Protocol):
    """A frozen language model behind some engine; every list is as long as the one that went in.

    What it says of a prompt depends on that prompt alone.
    """

    @property
    def version(self) -> str:
        """Model, revision and weights."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Of Hugging Face, for its chat template."""
        ...

    def say(
        self, prompts: Sequence[Prompt], decoding: DecodingConfig, seeds: Sequence[int], insert: Insert | None
    ) -> list[Said]: ...

    def logp(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[FloatArray]:
        """Nats log p [O] of each token of each answer after its prompt; NaN where both do not fit the window."""
        ...


class Evaluator:
    """Verdicts on prompts by a `Solver`, each computed once.

    Args:
        solver: the frozen model.
        config: template, decoding, measures, size of the cache.
        insert: the calculator, if there is one.
    """

    def __init__(self, solver: Solver, config: EvaluatorConfig, insert: Insert | None = None) -> None:
        self.solver = solver
        self.config = config
        asked = config.model_dump(mode="json", include={"template", "answer", "chat", "decoding", "measures", "seed"})
        asked |= {"calculator": [config.calculator, config.calculator_after] if insert else None}
        self.version = _digest([solver.version, asked])
        self.asked = 0
        self.computed = 0  # verdicts that needed the model
        self._insert = insert
        self._verdicts: OrderedDict[str, Judgement] = OrderedDict()
        self._originals: dict[str, Judgement] = {}

    def judge(self, requests: Sequence[Solve]) -> list[Judgement]:
        """Verdicts on rewritten prompts; the least recently asked for are forgotten."""
        return self._judge(requests, keep=False)

    def judge_originals(self, requests: Sequence[Solve]) -> list[Judgement]:
        """Verdicts on original prompts; they are never forgotten."""
        return self._judge(requests, keep=True)

    def key(self, request: Solve) -> str:
        """Names a verdict by model, revision, template, prompt, decoding and gold answer."""
        prompt = self._prompt(request)
        return _digest([self.version, prompt.before, prompt.content, prompt.after, request.answer])

    def _prompt(self, request: Solve) -> Prompt:
        return frame(self.config.template, request.text, self.solver.tokenizer if self.config.chat else None)

    def _judge(self, requests: Sequence[Solve], keep: bool) -> list[Judgement]:
        keys = [self.key(request) for request in requests]
        known = {key: self._known(key) for key in keys}
        fresh = {key: r for key, r in zip(keys, requests, strict=True) if known[key] is None}
        found = dict(zip(fresh, self._compute(fresh), strict=True))
        self.asked += len(requests)
        self.computed += len(fresh)
        kept: dict[str, Judgement] = self._originals if keep else self._verdicts
        for key in dict.fromkeys(keys):
            verdict = found.get(key) or known[key]
            if verdict is not None and verdict.version != _AWAY:
                kept[key] = verdict
        while len(self._verdicts) > self.config.cache:
            self._verdicts.popitem(last=False)
        return [found.get(key) or known[key] or Judgement.failed("no verdict", _AWAY) for key in keys]

    def _known(self, key: str) -> Judgement | None:
        if key in self._originals:
            return self._originals[key]
        if key in self._verdicts:
            self._verdicts.move_to_end(key)
        return self._verdicts.get(key)

    def _compute(self, requests: dict[str, Solve]) -> list[Judgement]:
        try:
            return self._ask(requests) if requests else []
        except JudgeUnavailable as error:
            why = str(error)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            why = "the evaluator ran out of memory: lower its chunk"
        give_back_memory()
        return [Judgement.failed(why, _AWAY) for _ in requests]

    def _ask(self, requests: dict[str, Solve]) -> list[Judgement]:
        prompts = [self._prompt(request) for request in requests.values()]
        details: list[dict[str, Any]] = [{} for _ in prompts]
        bits: list[FloatArray | None] = [None] * len(prompts)
        if "said" in self.config.measures:
            seeds = [self.config.seed ^ int(key[:12], 16) for key in requests]  # of the request, not of its place
            for detail, said in zip(details, self._say(prompts, seeds), strict=True):
                detail |= {"said": said.text, "ending": said.ending}
        if "logp" in self.config.measures:
            gold = [(i, r.answer) for i, r in enumerate(requests.values()) if r.answer]
            answers = [self.config.answer.replace("{answer}", answer) for _, answer in gold]
            logps = self.solver.logp([prompts[i] for i, _ in gold], answers)
            for (i, _), logp_O in zip(gold, logps, strict=True):
                bits[i] = -logp_O / math.log(2)
        return [self._verdict(detail, bits_O) for detail, bits_O in zip(details, bits, strict=True)]

    def _say(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Said]:
        insert, after = self._insert, self.config.calculator_after

        def asked(text: str) -> str | None:
            return insert(text) if insert is not None and text.endswith(after) else None

        return self.solver.say(prompts, self.config.decoding, seeds, asked if insert else None)

    def _verdict(self, detail: dict[str, Any], bits_O: FloatArray | None) -> Judgement:
        if detail.get("ending") is Ending.TOO_LONG:
            return Judgement.failed("prompt and answer do not fit the evaluator's window", self.version)
        if detail.get("ending") is Ending.FAILED:
            return Judgement.failed("the evaluator's probabilities are not finite", self.version)
        if bits_O is None:
            return Judgement(0.0, version=self.version, detail=detail)
        total = float(bits_O.sum())
        if not math.isfinite(total):
            return Judgement.failed("the answer does not fit the evaluator's window, or is not finite", self.version)
        return Judgement(total, version=self.version, tokens=len(bits_O), detail=detail)


def _digest(parts: Any) -> str:
    """Equal in every process."""
    written = json.dumps(parts, sort_keys=True).encode()  # ASCII: lone surrogates are escaped
    return hashlib.blake2b(written, digest_size=16).hexdigest()
