"""Small causal language models of real architectures with random weights, saved with tokenizers of their class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from rlcompress.config.generating import LanguageConfig
from rlcompress.generation.language import LanguageModel, load_base
from tests.rlcompress.small_models import TEXTS, randomise

LESSONS = [*TEXTS, "Tom has 80 apples and buys 110 more. <<80+110=190>>190", "How many has he? #### 190", "0123456789"]
SIZES: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
POSITIONS = 160
PHI_CHAT = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{'<|assistant|>\n'}}{% else %}{{eos_token}}{% endif %}"
)


def byte_level(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a byte-level BPE; special tokens come first."""
    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return _trained(fast, special, letters)


def byte_fallback(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a BPE over characters with "▁" for spaces and bytes for what is rare, as Llama's."""
    fast = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return _trained(fast, [*special, *(f"<0x{byte:02X}>" for byte in range(256))], [])


def _trained(fast: Tokenizer, special: list[str], letters: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    import json

    trainer = trainers.BpeTrainer(
        vocab_size=len(special) + 500, special_tokens=special, initial_alphabet=letters, show_progress=False
    )
    fast.train_from_iterator(LESSONS, trainer)
    found = json.loads(fast.to_str())["model"]
    return found["vocab"], [tuple(merge) for merge in found["merges"]]


def gpt2(folder: Path, positions: int) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

    tokenizer = GPT2Tokenizer(*byte_level(["<|endoftext|>"]))
    tokenizer.save_pretrained(folder)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=16,
            n_layer=2,
            n_head=4,
            n_positions=positions,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def llama(folder: Path, positions: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer

    tokenizer = LlamaTokenizer(*byte_fallback(["<unk>", "<s>", "</s>"]), add_bos_token=True)
    tokenizer.save_pretrained(folder)
    return LlamaForCausalLM(
        LlamaConfig(
            **SIZES,
            num_key_value_heads=2,
            vocab_size=len(tokenizer),
            max_position_embeddings=positions,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def phi3(folder: Path, positions: int) -> Any:
    """As Phi-3-mini: Llama's tokenizer with a chat template, and a window of attention."""
    from transformers import LlamaTokenizer, Phi3Config, Phi3ForCausalLM

    tokenizer = LlamaTokenizer(*byte_fallback(["<unk>", "<s>", "</s>"]), eos_token="</s>")
    turns = ["<|endoftext|>", "<|assistant|>", "<|end|>", "<|user|>"]
    tokenizer.add_tokens([AddedToken(turn, special=True, rstrip=turn != "<|endoftext|>") for turn in turns])
    tokenizer.eos_token = tokenizer.pad_token = "<|endoftext|>"
    tokenizer.chat_template = PHI_CHAT
    tokenizer.save_pretrained(folder)
    return Phi3ForCausalLM(
        Phi3Config(
            **SIZES,
            num_key_value_heads=4,
            vocab_size=len(tokenizer) + 3,
            max_position_embeddings=positions,
            sliding_window=40,
            bos_token_id=1,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def qwen2(folder: Path, positions: int) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

    tokenizer = Qwen2Tokenizer(*byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]), eos_token="<|im_end|>")
    tokenizer.save_pretrained(folder)
    return Qwen2ForCausalLM(
        Qwen2Config(
            **SIZES,
            num_key_value_heads=2,
            vocab_size=len(tokenizer),
            max_position_embeddings=positions,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=True,
        )
    )


ARCHITECTURES = {"gpt2": gpt2, "llama": llama, "phi3": phi3, "qwen2": qwen2}


def save_language(folder: Path, architecture: str, positions: int = POSITIONS) -> Path:
    """A checkpoint of 16 channels on disk; its logits spread enough for greedy choices to be clear."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = ARCHITECTURES[architecture](folder, positions)
    randomise(model)
    model.save_pretrained(folder)
    return folder


def small_language(folder: Path, architecture: str, **settings: Any) -> LanguageModel:
    return load_base(LanguageConfig(model=str(save_language(folder, architecture)), **settings))
