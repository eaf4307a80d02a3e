"""`PromptCompressor`, with the methods, arguments and results of `llmlingua.PromptCompressor` 0.2.2."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rlcompress.errors import UserError
from rlcompress.llmlingua import filters
from rlcompress.llmlingua.account import account
from rlcompress.llmlingua.arguments import ARGUMENTS, REFUSED_METHODS, Kind
from rlcompress.llmlingua.exact import ExactScoring
from rlcompress.llmlingua.json_prompt import JsonPrompt
from rlcompress.llmlingua.layout import SEPARATOR, lay_out, pieces_of
from rlcompress.llmlingua.loading import Settings, choose_reader, load
from rlcompress.llmlingua.pipeline import assemble, compress
from rlcompress.llmlingua.recovering import recover
from rlcompress.llmlingua.request import Request
from rlcompress.llmlingua.tags import as_arguments, segments
from rlcompress.words import FloatArray, Tokenizer, Units


class NotOffered(UserError, AttributeError):
    """A method of the original that is refused by name."""


class PromptCompressor:
    """Compresses prompts; see `rlcompress.llmlingua` for what differs from the original. Threads may share one.

    Args:
        model_name: a local folder: a run, an artifact, an LLMLingua-2 checkpoint or a small causal language model.
        device_map: cpu, cuda, cuda:N or mps; auto, balanced and balanced_low_0 take the best device there is.
        model_config: `torch_dtype` (or `dtype`) of a checkpoint; `pad_to_left`; `trust_remote_code` may be False.
        open_api_config: must be empty.
        use_llmlingua2: the folder says what it holds; True refuses a causal language model.
        llmlingua2_config: `max_batch_size`, windows read together, and `max_force_token`.
        use_slingua: must be False.
        reader: the tokenizer in which tokens are counted: a folder, an object, or a `tiktoken.Encoding`. The model's
            own without.
        compat: "fixed", or "exact" for the original's words, faults included; it needs a checkpoint.

    Raises:
        UserError: an argument that is refused, or a folder that holds no model.
    """

    def __init__(
        self,
        model_name: str | Path,
        device_map: str = "auto",
        model_config: Mapping[str, Any] = {},
        open_api_config: Mapping[str, Any] = {},
        use_llmlingua2: bool = False,
        llmlingua2_config: Mapping[str, Any] = {},
        use_slingua: bool = False,
        *,
        reader: str | Path | Tokenizer | None = None,
        compat: Literal["fixed", "exact"] = "fixed",
    ) -> None:
        settings = Settings.of(
            device_map=device_map,
            model_config=model_config,
            open_api_config=open_api_config,
            use_llmlingua2=use_llmlingua2,
            llmlingua2_config=llmlingua2_config,
            use_slingua=use_slingua,
            compat=compat,
        )
        self._scoring = load(Path(model_name), settings, choose_reader(reader))
        self.max_force_token = settings.max_force_token
        self._lock = threading.Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self.compress_prompt(*args, **kwargs)

    def compress_prompt(
        self,
        context: str | Sequence[str],
        instruction: str = "",
        question: str = "",
        rate: float = 0.5,
        target_token: float = -1,
        iterative_size: int = 200,
        force_context_ids: Sequence[int] | None = None,
        force_context_number: int | None = None,
        use_sentence_level_filter: bool = False,
        use_context_level_filter: bool = True,
        use_token_level_filter: bool = True,
        keep_split: bool = False,
        keep_first_sentence: int = 0,
        keep_last_sentence: int = 0,
        keep_sentence_number: int = 0,
        high_priority_bonus: int = 100,
        context_budget: str = "+100",
        token_budget_ratio: float = 1.4,
        condition_in_question: str = "none",
        reorder_context: str = "original",
        dynamic_context_compression_ratio: float = 0.0,
        condition_compare: bool = False,
        add_instruction: bool = False,
        rank_method: str = "llmlingua",
        concate_question: bool = True,
        context_segs: Sequence[Sequence[str]] | None = None,
        context_segs_rate: Sequence[Sequence[float | None]] | None = None,
        context_segs_compress: Sequence[Sequence[bool]] | None = None,
        target_context: int = -1,
        context_level_rate: float = 1.0,
        context_level_target_token: int = -1,
        return_word_label: bool = False,
        word_sep: str = "\t\t|\t\t",
        label_sep: str = " ",
        token_to_word: str = "mean",
        force_tokens: Sequence[str] = (),
        force_reserve_digit: bool = False,
        drop_consecutive: bool = False,
        chunk_end_tokens: Sequence[str] = (".", "\n"),
        strict_preserve_uncompressed: bool = True,
    ) -> dict[str, Any]:
        """Compress contexts; `rlcompress.llmlingua.arguments.ARGUMENTS` says what each argument does.

        Returns:
            compressed_prompt, origin_tokens, compressed_tokens, ratio ("2.3x"), rate ("43.5%") and saving; without a
            causal model also compressed_prompt_list, and on request fn_labeled_original_prompt. Tokens are counted in
            the texts as they stand, instruction and question included.

        Raises:
            UserError: an argument that is refused, or a value that makes no sense.
        """
        arguments = dict(locals())
        del arguments["self"]
        return self._run(Request.of(arguments, self._kind))

    def compress_prompt_llmlingua2(
        self,
        context: str | Sequence[str],
        rate: float = 0.5,
        target_token: int = -1,
        use_context_level_filter: bool = False,
        use_token_level_filter: bool = True,
        target_context: int = -1,
        context_level_rate: float = 1.0,
        context_level_target_token: int = -1,
        force_context_ids: Sequence[int] = (),
        return_word_label: bool = False,
        word_sep: str = "\t\t|\t\t",
        label_sep: str = " ",
        token_to_word: str = "mean",
        force_tokens: Sequence[str] = (),
        force_reserve_digit: bool = False,
        drop_consecutive: bool = False,
        chunk_end_tokens: Sequence[str] = (".", "\n"),
    ) -> dict[str, Any]:
        """`compress_prompt` with the arguments that LLMLingua-2 knows, and without the filter of contexts."""
        arguments = dict(locals())
        del arguments["self"]
        return self._run(Request.of(arguments, self._kind))

    def structured_compress_prompt(
        self,
        context: str | Sequence[str],
        instruction: str = "",
        question: str = "",
        rate: float = 0.5,
        target_token: float = -1,
        iterative_size: int = 200,
        force_context_ids: Sequence[int] | None = None,
        force_context_number: int | None = None,
        use_sentence_level_filter: bool = False,
        use_context_level_filter: bool = True,
        use_token_level_filter: bool = True,
        keep_split: bool = False,
        keep_first_sentence: int = 0,
        keep_last_sentence: int = 0,
        keep_sentence_number: int = 0,
        high_priority_bonus: int = 100,
        context_budget: str = "+100",
        token_budget_ratio: float = 1.4,
        condition_in_question: str = "none",
        reorder_context: str = "original",
        dynamic_context_compression_ratio: float = 0.0,
        condition_compare: bool = False,
        add_instruction: bool = False,
        rank_method: str = "llmlingua",
        concate_question: bool = True,
        strict_preserve_uncompressed: bool = True,
    ) -> dict[str, Any]:
        """`compress_prompt` of contexts with parts in `<llmlingua, rate=0.3, compress=False>…</llmlingua>`.

        Parts with a rate keep that fraction, those with compress=False all; the rest share the call's budget.
        """
        arguments = dict(locals())
        del arguments["self"]
        self._refuse_exact("structured_compress_prompt")
        parts = [segments(text, f"context[{i}]") for i, text in enumerate(_listed(context))]
        return self._run(Request.of({**arguments, **as_arguments(parts)}, self._kind))

    def compress_json(
        self,
        json_data: Mapping[str, Any] | str,
        json_config: Mapping[str, Any] | str | Path,
        instruction: str = "",
        question: str = "",
        rate: float = 0.5,
        target_token: float = -1,
        iterative_size: int = 200,
        use_sentence_level_filter: bool = False,
        use_keyvalue_level_filter: bool = False,
        use_token_level_filter: bool = True,
        keep_split: bool = False,
        keep_first_sentence: int = 0,
        keep_last_sentence: int = 0,
        keep_sentence_number: int = 0,
        high_priority_bonus: int = 100,
        context_budget: str = "+100",
        token_budget_ratio: float = 1.4,
        condition_in_question: str = "none",
        reorder_keyvalue: str = "original",
        condition_compare: bool = False,
        rank_method: str = "llmlingua",
    ) -> dict[str, Any]:
        """Compress the strings of an object; `compressed_prompt` is an object with the same form.

        `json_config` gives for each key `rate`, `compress`, `value_type` and `pair_remove`. Strings keep `rate` of
        their tokens, numbers and flags stay. Pairs go only with `use_keyvalue_level_filter` and `pair_remove`. A model
        that hears questions hears the instruction too; neither is part of the result.
        """
        arguments = dict(locals())
        self._refuse_exact("compress_json")
        own = {name: value for name, value in arguments.items() if name in ARGUMENTS and name != "instruction"}
        own |= {"use_context_level_filter": use_keyvalue_level_filter, "reorder_context": reorder_keyvalue}
        own["question"] = SEPARATOR.join(part for part in (question, instruction) if part)
        prompt = JsonPrompt.of(json_data, json_config)
        if not prompt.data:
            return account({}, self._count("{}"), self._count("{}"))
        request = Request.of({**own, **prompt.arguments()}, self._kind)
        kept = compress(request, self._kind, self._cut, self._scores, self._count)
        result = prompt.rebuilt(kept)
        before, after = (self._count(json.dumps(one, ensure_ascii=False)) for one in (prompt.data, result))
        return account(result, before, after)

    def recover(self, original_prompt: str, compressed_prompt: str, response: str) -> str:
        """The response with what it quotes of the compressed prompt replaced by the original's words."""
        return recover(self._scoring.encode, original_prompt, compressed_prompt, response)

    def get_token_length(self, text: str, add_special_tokens: bool = True, use_oai_tokenizer: bool = False) -> int:
        """Tokens of a text: the model's, with those round it or without, or those that budgets are counted in."""
        return self._count(text) if use_oai_tokenizer else self._scoring.length(text, add_special_tokens)

    def get_rank_results(
        self,
        context: Sequence[str],
        question: str,
        rank_method: str,
        condition_in_question: str = "none",
        context_tokens_length: Sequence[int] = (),
    ) -> list[tuple[int, float]]:
        """Contexts by their numbers, best first, each with its score: the higher, the better."""
        asked = {"question": question, "rank_method": rank_method, "condition_in_question": condition_in_question}
        request = Request.of({"context": context, **asked}, self._kind)
        layout = lay_out(pieces_of(request), self._cut)
        with self._lock:
            scores_N = self._scoring.scores(layout.units, request, request.rate)
        own_C = filters.means(scores_N, layout.units.costs_N, layout.context_N, len(layout.bounds))
        return filters.rank_contexts(rank_method, request.context, question, own_C)

    def __getattr__(self, name: str) -> Any:
        if name in REFUSED_METHODS:
            raise NotOffered(f"{name} is not offered: {REFUSED_METHODS[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _refuse_exact(self, method: str) -> None:
        if self._kind is Kind.EXACT:
            raise UserError(f'{method}: tags and JSON are no part of LLMLingua-2: leave compat="exact" out')

    @property
    def _kind(self) -> Kind:
        return self._scoring.kind

    def _count(self, text: str) -> int:
        return len(self._scoring.segmenter.tokenizer.encode(text)[0])

    def _cut(self, text: str, protect: Sequence[str] = ()) -> Units:
        with self._lock:
            return self._scoring.segmenter(text, protect)

    def _scores(self, units: Units, request: Request, rate: float) -> FloatArray:
        with self._lock:
            return self._scoring.scores(units, request, rate)

    def _run(self, request: Request) -> dict[str, Any]:
        if len(request.force_tokens) > self.max_force_token:
            raise UserError(f"force_tokens has more than max_force_token ({self.max_force_token}): raise it")
        if isinstance(self._scoring, ExactScoring):
            with self._lock:
                return self._scoring.compress(request)
        kept = compress(request, self._kind, self._cut, self._scores, self._count)
        prompt = assemble(request, kept.texts)
        original = SEPARATOR.join([request.instruction, *request.context, request.question]).strip()
        found = account(prompt, self._count(original), self._count(prompt))
        if self._kind is not Kind.CAUSAL:
            found["compressed_prompt_list"] = kept.texts
        if request.return_word_label:
            lines = [f"{word}{request.label_sep}{label}" for word, label in kept.labels]
            found["fn_labeled_original_prompt"] = request.word_sep.join(lines)
        return found


def _listed(context: str | Sequence[str]) -> list[str]:
    return [context] if isinstance(context, str) else list(context) or [""]
