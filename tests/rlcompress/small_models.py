"""Small networks for tests: a scorer that is no longer its prior, and Hugging Face models saved in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlcompress.config.schema import PolicyConfig
from rlcompress.models.features import Channels
from rlcompress.models.scorer import TextScorer, UnitScorer, build_scorer
from rlcompress.models.tokenizer import TextTokenizer

TEXTS = [
    "The old man, who was well-known, paid 1,234.50 of it.",
    "Words that come again and again become one token; others take several.",
    "日本語のテキスト。👍🏽 naïve café",
    "One",
    "The assertion is extraordinary: again and again the man paid, and again it was well-known to others.",
]
WORDS = "the old man who was well known paid of it words that come again become one token others take"


def shaken(network: UnitScorer, seed: int = 0) -> UnitScorer:
    """Random weights in the head and elsewhere, so that scores depend on everything that is read."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        network.get_buffer("bits_V").copy_(4 + 8 * torch.rand(network.get_buffer("bits_V").shape, generator=generator))
    return network


def small_scorer(
    reader: TextTokenizer, *, shake: bool = True, passes: int = 1, told: Channels | None = None, **settings: Any
) -> TextScorer:
    """A scorer of width 16 with windows of 24 tokens."""
    policy = {**PolicyConfig(width=16, layers=1, window=24).model_dump(), **settings}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network, features = build_scorer(policy, reader, passes=passes, channels=told)
    if shake:
        shaken(network)
    return TextScorer(network, features, torch.device("cpu"))


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def save_wordpiece(folder: Path) -> None:
    """A WordPiece tokenizer with BERT's special tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(ord("!"), ord("~") + 1) if not chr(c).isupper()]
    pieces = dict.fromkeys([*special, *letters, *(f"##{c}" for c in letters), *WORDS.split()])
    fast = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    fast.normalizer = normalizers.Lowercase()
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=fast, **names).save_pretrained(folder)


def save_bert(folder: Path, *, positions: int = 200, masked: bool = True, dtype: torch.dtype = torch.float32) -> Path:
    """A BERT of 16 channels with random weights: a masked LM or a bare encoder."""
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertModel

    save_wordpiece(folder)
    config = BertConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
    )
    model = (BertForMaskedLM if masked else BertModel)(config)
    randomise(model)
    model.to(dtype).save_pretrained(folder)
    return folder


def save_gpt2(folder: Path, reader: TextTokenizer) -> Path:
    """A GPT-2 of 16 channels with random weights, over the reader's byte-level BPE."""
    from tokenizers import Tokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    reader.save(folder)
    fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
    PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="[PAD]").save_pretrained(folder)
    config = GPT2Config(vocab_size=reader.vocabulary, n_embd=16, n_layer=2, n_head=2, n_positions=300)
    model = GPT2LMHeadModel(config)
    randomise(model)
    model.save_pretrained(folder)
    return folder
