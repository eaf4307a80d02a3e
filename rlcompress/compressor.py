"""`Compressor`: text in, shorter text out. Training, evaluation and serving all go through it; it needs no Ray."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from rlcompress import structured
from rlcompress.artifact import Manifest, load_scorer
from rlcompress.compressed import Compressed as Compressed
from rlcompress.compressed import left_whole, nothing_left, nothing_saved, with_pieces
from rlcompress.errors import UserError
from rlcompress.hub import Package, artifact_folder
from rlcompress.machine.device import choose_device
from rlcompress.messages import MIN_TOKENS, PROTECTED, ROLES, CompressedMessages, Message, compress_messages
from rlcompress.models.scorer import TextScorer
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.passes import served_priorities
from rlcompress.selection import select, threshold
from rlcompress.structured import J
from rlcompress.text.segment import Segmenter
from rlcompress.words import Compression, Example, FloatArray, Units

if TYPE_CHECKING:
    from huggingface_hub import HfApi


class Compressor:
    """A trained masking policy with the tokenizer that counts its budget. Safe to share between threads."""

    def __init__(self, manifest: Manifest, scorer: TextScorer, reader: TextTokenizer, path: Path | None = None) -> None:
        self.manifest = manifest
        self.path = path
        self._scorer = scorer
        self._reader = reader
        self._segmenter = Segmenter(reader, manifest.granularity, manifest.protect)
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        device: str = "auto",
        *,
        download: bool = False,
        revision: str | None = None,
        api: HfApi | None = None,
    ) -> Compressor:
        """Load a run directory (its `artifact/`), an artifact folder, or a hub id such as `owner/name`.

        A hub id is looked up in the local cache; the network is used with `download` alone. `api` brings a token or an
        endpoint of its own.

        Raises:
            UserError: nothing there, or an incomplete artifact, or an absent device.
        """
        folder = artifact_folder(path, download=download, revision=revision, api=api)
        manifest, scorer, reader = load_scorer(folder, choose_device(device))
        return cls(manifest, scorer, reader, folder)

    def save_pretrained(self, folder: str | Path, *, license: str | None = None, overwrite: bool = False) -> None:
        """Write an artifact folder with a model card (`README.md`), whole or not at all.

        The card shows the evaluation of the run that this was loaded from. `license` is an identifier of the hub's,
        e.g. `mit`. Paths of this machine are left out of the manifest, but for the last name in them.

        Raises:
            UserError: something is there and `overwrite` is off, or it is no artifact.
        """
        self._package().save(Path(folder), license=license, overwrite=overwrite)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str | None = None,
        private: bool | None = None,
        commit_message: str = "Upload a prompt compressor",
        api: HfApi | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes to the hub, and return the repository's address.

        Raises:
            UserError: no hub id, or the hub refused or is out of reach.
        """
        return self._package().push(repo_id, license=license, private=private, message=commit_message, api=api)

    def _package(self) -> Package:
        return Package(self.manifest, self._scorer.network, self._reader, self.path)

    @overload
    def compress(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too; the first overload wins
        self,
        text: str,
        rate: float | None = ...,
        *,
        target_tokens: int | None = ...,
        question: str | None = ...,
        protect: Sequence[str] = ...,
        min_tokens: int = ...,
        abstain: bool = ...,
        return_tokens: bool = ...,
        return_removed: bool = ...,
    ) -> Compressed: ...
    @overload
    def compress(
        self,
        text: Sequence[str],
        rate: float | None = ...,
        *,
        target_tokens: int | None = ...,
        question: str | None = ...,
        protect: Sequence[str] = ...,
        min_tokens: int = ...,
        abstain: bool = ...,
        return_tokens: bool = ...,
        return_removed: bool = ...,
    ) -> list[Compressed]: ...
    def compress(
        self,
        text: str | Sequence[str],
        rate: float | None = None,
        *,
        target_tokens: int | None = None,
        question: str | None = None,
        protect: Sequence[str] = (),
        min_tokens: int = 0,
        abstain: bool = True,
        return_tokens: bool = False,
        return_removed: bool = False,
    ) -> Compressed | list[Compressed]:
        """Keep `rate` of the reader's tokens (default 0.5), or at most `target_tokens` a text.

        Given neither, a policy that was trained to choose its length (`chooses_length`) keeps what it would rather keep
        than drop: each unit with p >= 1/2, and what is protected.

        `protect` adds patterns (regular expressions, or numbers, urls, code, tags, json) whose matches always stay.

        A text comes back as it was, with the status `unchanged`, when compressing it would not help: it has fewer than
        `min_tokens`; or what would be kept takes no fewer tokens, tokenised again, than all of it; or it is too short
        for the rate, so that nothing would be left (`target_tokens` is a limit and holds even then). `abstain=False`
        switches the last two off: then every budget is exact, and a higher rate never loses a word.

        `return_tokens` and `return_removed` add the pieces of the source, with offsets and scores, to the result.

        Raises:
            UserError: a rate outside (0, 1], both budgets at once, or a bad pattern.
        """
        if rate is not None and target_tokens is not None:
            raise UserError("give rate or target_tokens, not both")
        chooses = self.chooses_length and rate is None and target_tokens is None
        if target_tokens is None and not chooses:
            rate = 0.5 if rate is None else rate
            if not 0.0 < rate <= 1.0:
                raise UserError(f"rate must be above 0 and at most 1, got {rate:g}")
        elif target_tokens is not None and target_tokens < 1:
            raise UserError(f"target_tokens must be at least 1, got {target_tokens}")
        texts = [text] if isinstance(text, str) else list(text)
        with self._lock:
            units = [self._segmenter(one, protect) for one in texts]
            scores = served_priorities(
                self._scorer, self.manifest.passes, units, [question] * len(units), rate, target_tokens=target_tokens
            )
        results = []
        for u, s in zip(units, scores, strict=True):
            one = self._account(threshold(u, s) if chooses else select(u, s, rate, target_tokens=target_tokens), s)
            in_vain = abstain and ((rate is not None and nothing_left(one)) or nothing_saved(one))
            one = left_whole(one) if in_vain or one.original_tokens < min_tokens else one
            results.append(with_pieces(one, u.costs_N.tolist(), tokens=return_tokens, removed=return_removed))
        return results[0] if isinstance(text, str) else results

    def compress_messages(
        self,
        messages: Sequence[Message],
        rate: float | None = None,
        *,
        question: str | None = None,
        roles: Collection[str] | Mapping[str, float] = ROLES,
        protect: Sequence[str] = PROTECTED,
        min_tokens: int = MIN_TOKENS,
        keep_recent: int = 0,
    ) -> CompressedMessages:
        """Chat messages with shorter texts, each within the `rate` of its own tokens, and an account of each.

        The default compresses long texts of users and tools; a mapping gives roles rates of their own. Results of tools
        have the role `tool` in either shape; content that is JSON stays JSON. Tool calls, images, reasoning, and parts
        with `cache_control` or citations are not touched. A longer conversation leaves the earlier messages' bytes as
        they were, unless `question="last_user"` (all else is compressed for what the user asked last) or `keep_recent`
        (that many messages at the end stay) ask for the contrary; `"preceding_user"` gives a tool's text the user's
        words before it as its question, which is stable.

        Raises:
            UserError: as `compress` does, or something that is no message.
        """
        return compress_messages(
            self,
            messages,
            rate,
            question=question,
            roles=roles,
            protect=protect,
            min_tokens=min_tokens,
            keep_recent=keep_recent,
        )

    def compress_json(
        self,
        document: J,
        rate: float | None = None,
        *,
        keys: Sequence[str] | None = None,
        skip: Sequence[str] = (),
        question: str | None = None,
        protect: Sequence[str] = (),
        min_tokens: int = structured.MIN_TOKENS,
    ) -> J:
        """JSON in, JSON out: string values of `min_tokens` and more keep `rate` of their tokens, all else stays.

        JSON text gives JSON text with the same layout, a value gives a value. `keys` and `skip` are patterns of paths
        such as `items.*.text`; see `rlcompress.structured.compress_json`.
        """

        def shorten(texts: list[str]) -> list[str]:
            return [
                one.text
                for one in self.compress(texts, rate, question=question, protect=protect, min_tokens=min_tokens)
            ]

        return structured.compress_json(document, shorten, keys, skip)

    def count_tokens(self, text: str) -> int:
        """Tokens of the reader, without special ones."""
        return len(self._reader.encode(text)[0])

    def priorities(
        self, texts: Sequence[Units], questions: Sequence[str | None], rate: float | None = None
    ) -> list[FloatArray]:
        """One priority a unit, for texts that are already cut into units.

        With one pass they are the policy's scores and hold at any rate; with more, for `select` at this `rate` alone.
        """
        with self._lock:
            return served_priorities(self._scorer, self.manifest.passes, texts, questions, rate)

    @property
    def chooses_length(self) -> bool:
        """Whether the policy learned how much to drop, so that a text can be compressed without a rate."""
        return self.manifest.sampler == "bernoulli"

    @property
    def segmenter(self) -> Segmenter:
        return self._segmenter

    def _account(self, compression: Compression, scores_N: FloatArray) -> Compressed:
        units, spans = compression.units, compression.spans
        text = "".join(units.text[a:b] for a, b in spans)
        total = units.total_cost
        retokenised = self.count_tokens(text)
        return Compressed(
            text=text,
            source=units.text,
            spans=spans,
            units=list(zip(units.starts_N.tolist(), units.ends_N.tolist(), strict=True)),
            scores=scores_N.tolist(),
            kept=compression.kept_N.tolist(),
            status=compression.status.value,
            rate=compression.rate,
            achieved_rate=compression.achieved_rate,
            achieved_rate_retokenised=retokenised / total if total else 1.0,
            original_tokens=total,
            kept_tokens=compression.kept_tokens,
            compressed_tokens=retokenised,
        )


class CompressorMethod:
    """A `Compressor` as an evaluation method: the same scores that serving uses."""

    stochastic = False
    keeps_all = False

    def __init__(self, compressor: Compressor, name: str = "rl") -> None:
        self.name = name
        self.compressor = compressor

    def passes_of(self, units: Units) -> int:
        return self.compressor.manifest.passes

    def priorities(
        self, units: Sequence[Units], examples: Sequence[Example], rate: float, seed: int
    ) -> list[FloatArray]:
        return self.compressor.priorities(units, [example.question for example in examples], rate)
