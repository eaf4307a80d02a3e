"""Every argument of LLMLingua 0.2.2, and whether it is honoured or refused; a test reads the original's signatures.

An argument that is left at its default is never refused.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

LOCAL = "it asks the network; rank with llmlingua, longllmlingua, bm25 or gzip"


class Kind(enum.Enum):
    """What scores the words."""

    POLICY = "an artifact"
    CHECKPOINT = "an LLMLingua-2 checkpoint"
    CAUSAL = "a causal language model"
    EXACT = 'compat="exact"'


ALL = frozenset(Kind)
OURS = ALL - {Kind.EXACT}
L2 = frozenset({Kind.CHECKPOINT, Kind.EXACT})
HEARING = frozenset({Kind.POLICY, Kind.CAUSAL})


@dataclass(frozen=True, slots=True)
class Treatment:
    """Who honours an argument and how; `mend` is what its refusal says to do."""

    honoured_by: frozenset[Kind]
    how: str
    mend: str = "leave it out"


_DROPPED = "LLMLingua-2 drops it without a word; leave it out, or leave compat out"
_ONE_ONLY = "LLMLingua-2 ignores it; leave it out, or leave compat out"
_NO_LOOP = "it reads a text in overlapping windows, not in steps; leave it out"
_DEAF = "its scores hear no question; leave it out"

ARGUMENTS: dict[str, Treatment] = {
    "context": Treatment(ALL, "a text or a list of texts; joined by empty lines"),
    "instruction": Treatment(OURS, "stands before the contexts, untouched; `rate` counts it", _DROPPED),
    "question": Treatment(OURS, "stands after them, untouched; read by policies and causal models", _DROPPED),
    "rate": Treatment(ALL, "kept fraction of the whole prompt's tokens, instruction and question included"),
    "target_token": Treatment(ALL, "at most so many tokens of the contexts stay; wins over rate"),
    "iterative_size": Treatment(frozenset({Kind.CAUSAL}), "tokens that are compressed at a time", _NO_LOOP),
    "force_context_ids": Treatment(ALL, "contexts that the filter must keep, from 0"),
    "force_context_number": Treatment(OURS, "the filter takes at most so many contexts", _ONE_ONLY),
    "use_sentence_level_filter": Treatment(OURS, "drops whole sentences first", _ONE_ONLY),
    "use_context_level_filter": Treatment(ALL, "drops whole contexts first, where there are several"),
    "use_token_level_filter": Treatment(ALL, "drops words"),
    "keep_split": Treatment(OURS, "empty lines stay, with the words that they follow", _ONE_ONLY),
    "keep_first_sentence": Treatment(OURS, "so many first sentences of a context get the bonus", _ONE_ONLY),
    "keep_last_sentence": Treatment(OURS, "so many last sentences of a context get the bonus", _ONE_ONLY),
    "keep_sentence_number": Treatment(OURS, "so many best sentences of a context get the bonus", _ONE_ONLY),
    "high_priority_bonus": Treatment(OURS, "added to a sentence's score, which lies in [0, 1]", _ONE_ONLY),
    "context_budget": Treatment(OURS, "tokens of the contexts that stay, from the target: +100, *1.5", _ONE_ONLY),
    "token_budget_ratio": Treatment(OURS, "tokens of the sentences that stay, as a multiple of the target", _ONE_ONLY),
    "condition_in_question": Treatment(
        HEARING, "any but none: words count by what the question tells of them; a policy's always do", _DEAF
    ),
    "reorder_context": Treatment(OURS, "original, sort (best first) or two_stage (best at both ends)", _ONE_ONLY),
    "dynamic_context_compression_ratio": Treatment(
        OURS, "better contexts keep up to so much more, worse ones so much less", _ONE_ONLY
    ),
    "condition_compare": Treatment(HEARING, "as condition_in_question", _DEAF),
    "add_instruction": Treatment(HEARING, "the model reads the instruction with the question", _DEAF),
    "rank_method": Treatment(OURS, "what orders contexts: the model's scores, bm25 or gzip", _ONE_ONLY),
    "concate_question": Treatment(OURS, "whether the question is part of the result", _ONE_ONLY),
    "context_segs": Treatment(OURS, "the parts of each context; they make it up", _ONE_ONLY),
    "context_segs_rate": Treatment(OURS, "the rate of each part", _ONE_ONLY),
    "context_segs_compress": Treatment(OURS, "false: the part stays as it is, outside any budget", _ONE_ONLY),
    "target_context": Treatment(ALL, "the filter takes at most so many contexts"),
    "context_level_rate": Treatment(ALL, "fraction of the contexts' tokens that the filter leaves"),
    "context_level_target_token": Treatment(ALL, "tokens of the contexts that the filter leaves"),
    "return_word_label": Treatment(ALL, "adds fn_labeled_original_prompt: each word with 1 (kept) or 0"),
    "word_sep": Treatment(ALL, "stands between its words"),
    "label_sep": Treatment(ALL, "stands between word and label"),
    "token_to_word": Treatment(L2, "a word's probability: the mean or the first of its tokens'", "leave it out"),
    "force_tokens": Treatment(ALL, "text that always stays, where the context does"),
    "force_reserve_digit": Treatment(ALL, "numbers and words with digits stay"),
    "drop_consecutive": Treatment(ALL, "of equal force_tokens with nothing kept between, one stays"),
    "chunk_end_tokens": Treatment(
        frozenset({Kind.EXACT}), "where a chunk of 512 tokens may end", 'windows overlap here; use compat="exact"'
    ),
    "strict_preserve_uncompressed": Treatment(OURS, "contexts with compress=False survive the filter", _ONE_ONLY),
}

# What orders contexts, and why it is refused.
RANK_METHODS: dict[str, str] = {
    "llmlingua": "",
    "longllmlingua": "",
    "bm25": "",
    "gzip": "",
    **dict.fromkeys(
        ("sentbert", "openai", "bge", "bge_reranker", "bge_llmembedder", "jinza", "voyageai", "cohere"), LOCAL
    ),
}

CONSTRUCTOR: dict[str, str] = {
    "model_name": "a local folder: a run, an artifact, an LLMLingua-2 checkpoint or a small causal language model",
    "device_map": "cpu, cuda, cuda:N, mps; auto, balanced and balanced_low_0 mean the best device there is",
    "model_config": "torch_dtype and dtype are honoured, pad_to_left needs nothing, trust_remote_code may be False",
    "open_api_config": "refused: nothing here asks the network",
    "use_llmlingua2": "the folder says what it holds; True refuses a causal language model",
    "use_slingua": "refused: SecurityLingua finds intents, it does not keep a budget",
    "llmlingua2_config": "max_batch_size (windows read together) and max_force_token are honoured",
}

# Arguments of the other methods that `compress_prompt` does not have.
JSON_ARGUMENTS: dict[str, str] = {
    "json_data": "an object; a JSON text of one will do",
    "json_config": "a mapping or the path of a YAML file: rate, compress, value_type and pair_remove of each key",
    "use_keyvalue_level_filter": "drops whole pairs that are marked pair_remove",
    "reorder_keyvalue": "as reorder_context",
}
OTHER_ARGUMENTS: dict[str, str] = {
    "text": "the text whose tokens are counted or whose perplexity is taken",
    "add_special_tokens": "counts those that the checkpoint puts round a text",
    "use_oai_tokenizer": "counts with `reader`, the tokenizer that budgets are counted in",
    "original_prompt": "what was compressed",
    "compressed_prompt": "what came of it",
    "response": "the answer that was given to it",
    "context_tokens_length": "not needed: the contexts are at hand",
}

# Methods of the original that are steps of its own loop.
REFUSED_METHODS: dict[str, str] = {
    name: "it is a step of the original's loop over a causal model's cache: use compress_prompt"
    for name in (
        "get_ppl",
        "get_condition_ppl",
        "get_prefix_length",
        "get_compressed_input",
        "get_dynamic_compression_ratio",
        "get_structured_dynamic_compression_ratio",
        "get_estimate_threshold_base_distribution",
        "token_segment",
        "control_context_budget",
        "control_sentence_budget",
        "iterative_compress_prompt",
        "segment_structured_context",
        "concate_segment_info",
        "init_llmlingua2",
        "load_model",
    )
}
