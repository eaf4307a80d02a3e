"""The reader judge: how well a frozen language model answers the question from what was kept.

`score` is −log2 p(answer | text, question), in bits over `tokens` tokens of the answer. `detail` holds what else was
asked for: `said` (its greedy answer), `embedding` (a vector of the text), `same` (the probability of yes, rather than
no, when it is asked whether the text says the same as its original). A text that the model cannot take whole, with
the question and an answer, gets no verdict: that is a failure, never a wrong answer.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from rlcompress.errors import JudgeUnavailable
from rlcompress.words import FloatArray, Judgement, JudgeRequest

MEASURES = ("bits", "said", "embedding", "same")
_AWAY = "away"  # version of what was not answered: asked again the next time
_CACHED = 100_000


class Answerer(Protocol):
    """A language model as the judge needs it; every list is as long as the one that went in."""

    @property
    def version(self) -> str: ...

    @property
    def window(self) -> int:
        """Most tokens of a prompt and what follows it."""
        ...

    def length(self, text: str) -> int:
        """Tokens of a text."""
        ...

    def bits(self, prompts: Sequence[str], answers: Sequence[str]) -> list[FloatArray]:
        """−log2 p [T] of each token of each answer after its prompt."""
        ...

    def say(self, prompts: Sequence[str], tokens: int) -> list[str]:
        """What it says after each prompt, at most so many tokens."""
        ...

    def embed(self, texts: Sequence[str]) -> list[FloatArray]:
        """A vector [D] of each text."""
        ...


def prompt(text: str, question: str | None) -> str:
    """What the model reads before it answers; a text without a question is simply continued."""
    return f"{text}\n\nQuestion: {question}\nAnswer:" if question else text


def same_prompt(original: str, text: str) -> str:
    """What the model reads before it says yes or no. Texts stand between marks and come before what is asked."""
    return f"<first>\n{original}\n</first>\n<second>\n{text}\n</second>\nDoes the second say the same as the first?"


class ReaderJudge:
    """A `Judge` of answers by an `Answerer`; frozen, so verdicts are cached by content.

    Args:
        answerer: the model.
        measures: what to find out, of `MEASURES`; what is not asked for is not computed.
        answer_tokens: most tokens of its own answer.
    """

    def __init__(
        self, answerer: Answerer, measures: Sequence[str] = ("bits", "said"), *, answer_tokens: int = 16
    ) -> None:
        assert set(measures) <= set(MEASURES), measures
        self.answerer = answerer
        self.measures = tuple(measures)
        self.answer_tokens = answer_tokens
        self.version = f"{answerer.version}/{answer_tokens}"
        self.computed = 0  # verdicts that needed the model
        self.asked = 0
        self._verdicts: OrderedDict[str, Judgement] = OrderedDict()

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        keys = [request.key() for request in requests]
        fresh = {key: request for key, request in zip(keys, requests, strict=True) if key not in self._verdicts}
        found = dict(zip(fresh, self._compute(list(fresh.values())), strict=True))
        result = [found[key] if key in found else self._verdicts[key] for key in keys]
        self.asked += len(requests)
        self.computed += len(fresh)
        self._verdicts.update((key, verdict) for key, verdict in found.items() if verdict.version != _AWAY)
        while len(self._verdicts) > _CACHED:
            self._verdicts.popitem(last=False)
        return result

    def _compute(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        long = [self._too_long(request) for request in requests]
        fitting = [request for request, why in zip(requests, long, strict=True) if not why]
        try:
            read = iter(self._read(fitting))
        except JudgeUnavailable as error:
            return [Judgement.failed(str(error), _AWAY) for _ in requests]
        return [Judgement.failed(why, self.version) if why else next(read) for why in long]

    def _too_long(self, request: JudgeRequest) -> str:
        """Why the model cannot take this request; empty where it can."""
        asked = prompt(request.text, request.question)
        follows = max(self.answer_tokens, self.answerer.length(f" {request.answer or ''}"))
        needed = self.answerer.length(asked) + follows
        if "same" in self.measures:
            needed = max(needed, self.answerer.length(same_prompt(request.source, request.text)) + 2)
        room = self.answerer.window
        return f"{needed} tokens, and judges.reader.window leaves {room}" if needed > room else ""

    def _read(self, requests: Sequence[JudgeRequest]) -> list[Judgement]:
        prompts = [prompt(request.text, request.question) for request in requests]
        details: list[dict[str, Any]] = [{} for _ in requests]
        bits: list[FloatArray | None] = [None] * len(requests)
        if "bits" in self.measures:
            answered = [i for i, request in enumerate(requests) if request.answer]
            given = [f" {requests[i].answer}" for i in answered]
            for i, bits_T in zip(answered, self.answerer.bits([prompts[i] for i in answered], given), strict=True):
                bits[i] = bits_T
        if "said" in self.measures:
            for detail, said in zip(details, self.answerer.say(prompts, self.answer_tokens), strict=True):
                detail["said"] = said
        if "embedding" in self.measures:
            for detail, vector_D in zip(details, self.answerer.embed([r.text for r in requests]), strict=True):
                detail["embedding"] = vector_D
        if "same" in self.measures:
            for detail, same in zip(details, self._same(requests), strict=True):
                detail["same"] = same
        return [self._verdict(bits_T, detail) for bits_T, detail in zip(bits, details, strict=True)]

    def _same(self, requests: Sequence[JudgeRequest]) -> list[float]:
        """p(yes) / (p(yes) + p(no))."""
        prompts = [same_prompt(request.source, request.text) for request in requests]
        yes, no = (
            [float(bits_T.sum()) for bits_T in self.answerer.bits(prompts, [word] * len(prompts))]
            for word in (" Yes", " No")
        )
        return [1.0 / (1.0 + 2.0 ** min(100.0, max(-100.0, y - n))) for y, n in zip(yes, no, strict=True)]

    def _verdict(self, bits_T: FloatArray | None, detail: dict[str, Any]) -> Judgement:
        if bits_T is None:
            return Judgement(0.0, version=self.version, detail=detail)
        total = float(bits_T.sum())
        if not math.isfinite(total):
            return Judgement.failed("the reader's probabilities are not finite", self.version)
        return Judgement(total, version=self.version, tokens=len(bits_T), detail=detail)
