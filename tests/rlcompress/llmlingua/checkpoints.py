"""Small random models of each kind with tokenizers that are made here, the drop-in with each, and what tests count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlcompress.artifact import save_artifact
from rlcompress.llmlingua import PromptCompressor
from rlcompress.llmlingua.arguments import Kind
from rlcompress.models.tokenizer import TextTokenizer, train_tokenizer
from tests.rlcompress.small_models import TEXTS, save_gpt2, small_scorer
from tests.rlcompress.test_artifact import manifest

READER: TextTokenizer = train_tokenizer(TEXTS * 3, 420)
PROSE = [
    "The old man, who was well-known, paid 1,234.50 of it on 3 May 2021. Others paid nothing at all!",
    "Words that come again and again become one token; others take several.\nA second line follows.",
    "日本語のテキスト。👍🏽 naïve café - and back to English.",
    "The assertion is extraordinary: again and again the man paid, and again it was well-known to others.",
]
LONG = " ".join(PROSE * 14)


def _classifier(model: Any, config: Any, folder: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = model(config)
    network.save_pretrained(folder)
    return folder


def save_bert_classifier(folder: Path, labels: int = 2) -> Path:
    """WordPiece, cased, 512 positions: as `llmlingua-2-bert-base-multilingual-cased-meetingbank`."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    fast = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    fast.normalizer = normalizers.BertNormalizer(lowercase=False)
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.decoder = decoders.WordPiece()
    # Letters, beginnings and endings of every other text's words: the rest have unknown words. The library's trainer
    # would number and choose its pieces by chance.
    words = {word for text in PROSE[::2] for word, _ in fast.pre_tokenizer.pre_tokenize_str(text)}
    pieces = {piece for word in words for piece in (*word, *(f"##{c}" for c in word), word[:3], f"##{word[3:]}")}
    ids = {piece: i for i, piece in enumerate([*special, *sorted(pieces - {"##"})])}
    fast.model = models.WordPiece(ids, unk_token="[UNK]")
    fast.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=fast, **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=fast.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=labels,
        initializer_range=0.6,
    )
    return _classifier(BertForTokenClassification, config, folder)


def save_xlm_roberta_classifier(folder: Path) -> Path:
    """Unigram over "▁" with byte fallback, 514 positions: as `llmlingua-2-xlm-roberta-large-meetingbank`."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForTokenClassification

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    plain = Tokenizer(models.Unigram())
    plain.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    plain.pre_tokenizer = pre_tokenizers.Metaspace()
    plain.train_from_iterator(
        PROSE * 3,
        trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>", show_progress=False),
    )
    learned = sorted(set(plain.get_vocab()) - set(special))  # the trainer numbers them by chance
    pieces = [(piece, 0.0) for piece in special] + [(piece, -10.0 + len(piece)) for piece in learned]
    pieces += [(f"<0x{byte:02X}>", -30.0) for byte in range(256)]
    fast = Tokenizer(models.Unigram(pieces, 3, True))
    fast.normalizer, fast.pre_tokenizer = plain.normalizer, plain.pre_tokenizer
    fast.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    fast.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    PreTrainedTokenizerFast(
        tokenizer_object=fast,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
    ).save_pretrained(folder)
    config = XLMRobertaConfig(
        vocab_size=len(pieces) + 1,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=514,
        type_vocab_size=1,
        num_labels=2,
        initializer_range=0.6,
    )
    return _classifier(XLMRobertaForTokenClassification, config, folder)


def save_policy(folder: Path) -> Path:
    """An artifact of ours that is no longer its prior."""
    save_artifact(folder, manifest(protect=()), small_scorer(READER).network, READER)
    return folder


# The folders bear the names by which the original tells the families apart.
SAVED = {
    "policy": lambda root: save_policy(root / "artifact"),
    "bert": lambda root: save_bert_classifier(root / "small-bert-base-multilingual-cased"),
    "xlm_roberta": lambda root: save_xlm_roberta_classifier(root / "small-xlm-roberta-large"),
    "causal": lambda root: save_gpt2(root / "gpt2", READER),
}
KINDS = {"policy": Kind.POLICY, "bert": Kind.CHECKPOINT, "xlm_roberta": Kind.CHECKPOINT, "causal": Kind.CAUSAL}
_loaded: dict[str, PromptCompressor] = {}


def load(kind: str, models: dict[str, Path]) -> PromptCompressor:
    if kind not in _loaded:
        _loaded[kind] = PromptCompressor(models[kind], "cpu", reader=READER)
    return _loaded[kind]


def tokens(text: str) -> int:
    return len(READER.encode(text)[0])


def spent(one: PromptCompressor, contexts: list[str], found: dict[str, Any]) -> tuple[int, int]:
    """Tokens of the source, and of those words of it that were kept."""
    texts = [text + "\n\n" * (i + 1 < len(contexts)) for i, text in enumerate(contexts)]
    costs_N = np.concatenate([one._cut(text).costs_N for text in texts])
    kept_N = np.array([line[-1] == "1" for line in found["fn_labeled_original_prompt"].split("\t\t|\t\t")])
    return int(costs_N.sum()), int(costs_N[kept_N].sum())


def is_subsequence(small: str, large: str) -> bool:
    rest = iter(large)
    return all(c in rest for c in small)
