"""Who is asked about a compression beside the shared judge, and what is found: quantities that metrics are made of.

A probe is asked only where a metric needs it. What it cannot tell is NaN with the status of a failure, never a 0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rlcompress.errors import JudgeUnavailable
from rlcompress.measuring.metrics import METRICS, Source
from rlcompress.questions.sentences import Embedder
from rlcompress.rewards.similarity import exact, f1
from rlcompress.text.bare import bare_words
from rlcompress.text.ngrams import bleu, rouge_l, rouge_n
from rlcompress.words import Judge, Judgement, JudgeRequest, Status

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """The probe's quantities of one compression; 0 / 0 where there is nothing to ask, NaN where it failed."""

    quantities: dict[str, float]
    status: Status = Status.OK


class Probe(Protocol):
    """Asked in batches: a list in, a list of the same length and order out."""

    @property
    def source(self) -> Source:
        """Metrics of this source are made of its quantities."""
        ...

    @property
    def version(self) -> str:
        """Names the exact models that are asked."""
        ...

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of what every finding has, of `FURTHER`."""
        ...

    def ask(self, requests: Sequence[JudgeRequest], batch: int) -> list[Finding]: ...


class ReaderProbe:
    """A reader's own answers to the rows' questions, from what was kept, against the rows' answers.

    `reader_exact` and `reader_f1` compare bare words, as in Rajpurkar et al. (2016) but with articles; `reads` is 1
    where the reader was asked: rows with a question and an answer.

    Args:
        reader: a judge of answers that says its own (`detail["said"]`); by its cache equal texts are read once.
    """

    source: Source = "reader"
    quantities = ("reader_exact", "reader_f1", "reads")

    def __init__(self, reader: Judge) -> None:
        self.reader = reader
        self._warned = False

    @property
    def version(self) -> str:
        return self.reader.version

    def ask(self, requests: Sequence[JudgeRequest], batch: int) -> list[Finding]:
        asked = [i for i, request in enumerate(requests) if request.question and bare_words(request.answer or "")]
        findings = [Finding(dict.fromkeys(self.quantities, 0.0))] * len(requests)
        for i, verdict in zip(asked, judged(self.reader, [requests[i] for i in asked], batch), strict=True):
            findings[i] = self._finding(verdict, requests[i].answer or "")
        return findings

    def _finding(self, verdict: Judgement, answer: str) -> Finding:
        if verdict.status is not Status.OK:
            if not self._warned:
                log.warning("the reader gave no answer to some texts, which are left out: %s", verdict.detail["why"])
            self._warned = True
            return Finding(dict.fromkeys(self.quantities, float("nan")), verdict.status)
        words, said = bare_words(answer), bare_words(verdict.detail["said"])
        return Finding({"reader_exact": exact(words, said), "reader_f1": f1(words, said), "reads": 1.0})


class FillsIn(Protocol):
    """A judge that guesses what was dropped, as `ReconstructionJudge` does."""

    @property
    def version(self) -> str: ...

    def reconstruct(self, requests: Sequence[JudgeRequest]) -> list[tuple[str, str]]:
        """Each original and its reconstruction."""
        ...


WORDS: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "bleu": bleu,
    "rouge1": lambda original, filled: rouge_n(original, filled, 1),
    "rouge2": lambda original, filled: rouge_n(original, filled, 2),
    "rougeL": rouge_l,
}


class ReconstructionProbe:
    """How like its original a text is in whose gaps a model has filled in the likeliest tokens.

    Args:
        judge: who fills in.
        metrics: what to find out; those of other sources are left to others.
        embedder: needed for `semantic_similarity`, the cosine of both texts' vectors: 0 where it knows nothing of one.
    """

    source: Source = "reconstruction"

    def __init__(self, judge: FillsIn, metrics: Sequence[str], embedder: Embedder | None = None) -> None:
        self.judge = judge
        self.metrics = tuple(name for name in metrics if METRICS[name].source == self.source)
        self.embedder = embedder
        assert embedder is not None or "semantic_similarity" not in self.metrics

    @property
    def version(self) -> str:
        return self.judge.version if self.embedder is None else f"{self.judge.version}, {self.embedder.version}"

    @property
    def quantities(self) -> tuple[str, ...]:
        return (*self.metrics, "reconstructions")

    def ask(self, requests: Sequence[JudgeRequest], batch: int) -> list[Finding]:
        findings = []
        for start in range(0, len(requests), batch):
            pairs = self.judge.reconstruct(requests[start : start + batch])
            if "semantic_similarity" in self.metrics and self.embedder is not None:
                self.embedder.sentences([text for pair in pairs for text in pair])  # full batches, remembered by it
            findings += [self._finding(*pair) for pair in pairs]
        return findings

    def _finding(self, original: str, filled: str) -> Finding:
        words = bare_words(original), bare_words(filled)
        alike = {name: WORDS[name](*words) for name in self.metrics if name in WORDS}
        if "semantic_similarity" in self.metrics:
            alike["semantic_similarity"] = self._cosine(original, filled)
        return Finding({**alike, "reconstructions": 1.0})

    def _cosine(self, original: str, filled: str) -> float:
        if original == filled:
            return 1.0
        assert self.embedder is not None
        first_D, second_D = self.embedder.sentences([original, filled])
        return float(first_D @ second_D)


def judged(judge: Judge, requests: Sequence[JudgeRequest], batch: int) -> list[Judgement]:
    """Verdicts in batches; a batch that the judge did not answer counts as failed, item by item."""
    verdicts: list[Judgement] = []
    for start in range(0, len(requests), batch):
        asked = requests[start : start + batch]
        try:
            answers = judge.judge(asked)
        except JudgeUnavailable as why:
            answers = [Judgement.failed(str(why), judge.version) for _ in asked]
        assert len(answers) == len(asked), f"the judge answered {len(answers)} of {len(asked)} requests"
        verdicts.extend(answers)
    return verdicts
