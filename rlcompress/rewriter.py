"""`PromptRewriter`: prompts in, prompts rewritten by a trained policy out. It needs no Ray."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlcompress.card import found_results, name_alone
from rlcompress.compressed import UNCHANGED
from rlcompress.errors import UserError
from rlcompress.generation.language import LanguageModel
from rlcompress.generation.prompting import RewritingTemplate
from rlcompress.generation.rewriting import rewriter
from rlcompress.hub import artifact_folder, require_free
from rlcompress.machine.device import choose_device
from rlcompress.models.tokenizer import TextTokenizer
from rlcompress.recording.publish import publishing
from rlcompress.rewriter_artifact import RewriterManifest, load_rewriter, save_rewriter
from rlcompress.words import Unfinished

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from rlcompress.baselines.rewriting import Rewriter

OK, UNFINISHED = "ok", "unfinished"


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A rewritten text with its account; lengths are the evaluator's tokens.

    `status` is `ok`; or `unfinished` (the output did not end, or there was no room for it in the model's window); or
    `unchanged` (nothing was written, or nothing shorter). In both of the latter `text` is the source, byte for byte.
    """

    text: str
    source: str
    status: str
    rate: float
    achieved_rate: float
    original_tokens: int
    compressed_tokens: int

    def __str__(self) -> str:
        return self.text


class PromptRewriter:
    """A trained rewriting policy with the tokenizer that counts its lengths. Safe to share between threads.

    Args:
        manifest: template, decoding, and where the policy comes from.
        language: the policy.
        reader: the evaluator's tokenizer.
        path: the artifact's folder, if it lies in one.
    """

    def __init__(
        self, manifest: RewriterManifest, language: LanguageModel, reader: TextTokenizer, path: Path | None = None
    ) -> None:
        self.manifest = manifest
        self.path = path
        self.language = language
        self.reader = reader
        self._lock = threading.Lock()
        self._write = rewriter(language, RewritingTemplate(manifest.template), manifest.decoding, manifest.seed)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        device: str = "auto",
        *,
        download: bool = False,
        revision: str | None = None,
        api: HfApi | None = None,
    ) -> PromptRewriter:
        """Load a run directory (its `artifact/`), an artifact folder, or a hub id such as `owner/name`.

        A hub id is looked up in the local cache; the network is used with `download` alone.

        Raises:
            UserError: nothing there, an incomplete artifact or that of a masking policy, or an absent device.
        """
        folder = artifact_folder(path, download=download, revision=revision, api=api)
        return cls(*load_rewriter(folder, choose_device(device)), folder)

    def save_pretrained(self, folder: str | Path, *, license: str | None = None, overwrite: bool = False) -> None:
        """Write an artifact folder with a model card, whole or not at all.

        The card shows the evaluation of the run that this was loaded from. Paths of this machine are left out of the
        manifest, but for the last name in them.

        Raises:
            UserError: something is there and `overwrite` is off, or it is no artifact.
        """
        folder = Path(folder)
        require_free(folder, overwrite)
        data = dict(self.manifest.data)
        if isinstance(data.get("source"), str):
            data["source"] = name_alone(data["source"])
        with publishing(folder.absolute()) as made:
            save_rewriter(
                made,
                self.manifest.model_copy(update={"data": data}),
                self.language,
                self.reader,
                results=found_results(self.path),
                license=license,
            )

    def rewrite(self, texts: Sequence[str], rate: float | Sequence[float] = 0.5) -> list[Rewritten]:
        """Each text rewritten to about `rate` of its tokens (evaluator's tokens out / in), or to a rate of its own.

        A text comes back as it was where the output did not end, is empty or is no shorter: see `Rewritten.status`.

        Raises:
            UserError: a rate outside (0, 1], or another number of rates than of texts.
        """
        assert not isinstance(texts, str), "texts is a list: give [text]"
        rates = [float(rate)] * len(texts) if isinstance(rate, int | float) else [float(one) for one in rate]
        if len(rates) != len(texts):
            raise UserError(f"rate holds {len(rates)} numbers for {len(texts)} texts: give one, or one for each")
        if wrong := [one for one in rates if not 0.0 < one <= 1.0]:
            raise UserError(f"rate must be above 0 and at most 1, got {wrong[0]:g}")
        with self._lock:
            written = self._write(texts, rates)
        return [self._account(*one) for one in zip(texts, written, rates, strict=True)]

    def as_method(self) -> Rewriter:
        """What an evaluation measures: texts as they were written, `Unfinished` where serving gives the original."""

        def rewrite(texts: Sequence[str], rates: Sequence[float]) -> list[str]:
            written = self._write(texts, rates)
            kept = [self._account(*one).status == OK for one in zip(texts, written, rates, strict=True)]
            return [text if whole else Unfinished(text) for text, whole in zip(written, kept, strict=True)]

        return rewrite

    def count(self, text: str) -> int:
        """Tokens of a text, by the evaluator's tokenizer."""
        return len(self.reader.encode(text)[0])

    def _account(self, source: str, written: str, rate: float) -> Rewritten:
        before, after = self.count(source), self.count(written)
        status = OK
        if isinstance(written, Unfinished):
            status = UNFINISHED
        elif not written or after >= before:
            status = UNCHANGED
        if status != OK:
            written, after = source, before
        return Rewritten(str(written), source, status, rate, after / before if before else 1.0, before, after)
