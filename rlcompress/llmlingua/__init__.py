"""A drop-in for `llmlingua.PromptCompressor` 0.2.2: `from rlcompress.llmlingua import PromptCompressor`.

It scores words with an artifact of ours, with an LLMLingua-2 checkpoint (token classification, BERT or XLM-RoBERTa) or
with a small causal language model, each from a local folder. Every argument of the original is honoured or refused by
name: `rlcompress.llmlingua.arguments` holds the tables. What the original gets wrong is put right by default:

* the budget is one for the whole prompt and met to the word; the original cuts each chunk of 512 tokens at a percentile
  of whole per cents, drops ties, and with a context filter cuts twice, so that rate 0.5 gives 0.375;
* the result is made of spans of the source: white space, case, digits and scripts stay as they were. The original puts
  it together from sub-words, loses newlines and words its vocabulary lacks;
* `instruction` and `question` are part of the result with LLMLingua-2 too, which drops them without a word; a policy
  that was trained with questions reads the question;
* `force_tokens` protects text; the original replaces what is no single token by new tokens with random embeddings,
  which changes the scores of all other words;
* an XLM-RoBERTa checkpoint is read between its own `<s>` and `</s>`; the original writes BERT's, unknown to it;
* the architecture is read from the configuration, not from the folder's name; windows overlap; nothing is cut off;
* structured prompts and JSON work with every model, not with causal ones alone; objects in JSON stay objects;
* no network, no remote code, no `eval`, no global seed; threads may share one; an empty text gives an empty text.

`compat="exact"` keeps the words that the original keeps, faults included.
"""

from rlcompress.llmlingua.compressor import PromptCompressor

__all__ = ["PromptCompressor"]
