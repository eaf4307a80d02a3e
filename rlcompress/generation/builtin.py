"""The built-in evaluator and the built-in policy: small Llamas, trained here on generated problems, no download.

What is written is a Hugging Face folder like any other, which `build_evaluator` and `load_language` read. Both see the
same problems as pairs to complete: the evaluator a prompt and its solution, in GSM8K's notation and with the calculator
at hand; the policy a prompt and a shorter one by rule, with the rate that came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from rlcompress.config.generating import EvaluatorConfig, FineTuningConfig, LanguageConfig, ScratchConfig
from rlcompress.generation.finetuning import FineTuned, encoded, fine_tune
from rlcompress.generation.language import LanguageModel, load_base
from rlcompress.generation.prompting import Prompt, RewritingTemplate, frame
from rlcompress.models.training import seeded
from rlcompress.problems.calculator import insertion
from rlcompress.problems.pairs import Pair, checked_pairs, evaluation_hashes, pairs_by_rule
from rlcompress.problems.problem import WordProblem
from rlcompress.problems.shortening import LEVELS, mixed, shorten

_PAD, _END = "<pad>", "</s>"
Lesson = tuple[Prompt, str]
OnStep = Callable[[int, float], None]


def train_evaluator(
    config: EvaluatorConfig,
    problems: Sequence[WordProblem],
    validation: Sequence[WordProblem],
    scratch: ScratchConfig,
    learning: FineTuningConfig,
    on_step: OnStep | None = None,
) -> FineTuned:
    """Train an evaluator on solutions and write it to the folder `config.model`.

    Args:
        config: with the template that it will be asked with; `calculator` may name
            `rlcompress.problems.calculator:insertion`, for which outputs are cut into tokens in any case.
        problems: to learn, best in every register. Each comes as it is and once more shortened by rule, so that the
            evaluator reads rewritten prompts too.
        validation: to know when to stop.
        scratch: size of the model.
        learning: updates, rate, patience.
        on_step: told the number of each update and its loss.
    """
    lessons, known = ([*_solutions(rows, config.template)] for rows in (problems, validation))
    folder = Path(config.model)
    from_scratch(folder, [text for prompt, said in lessons for text in (prompt.text, said)], scratch)
    language = load_base(LanguageConfig(model=str(folder), chunk=config.chunk))
    with _one_thread():
        pairs, checked = encoded(language, lessons, insertion), encoded(language, known, insertion) if known else []
        result = fine_tune(language, pairs, checked, learning, on_step)
    language.save(folder)
    return result


def train_policy(
    config: LanguageConfig,
    problems: Sequence[WordProblem],
    validation: Sequence[WordProblem],
    scratch: ScratchConfig,
    learning: FineTuningConfig,
    template: RewritingTemplate | None = None,
    on_step: OnStep | None = None,
) -> FineTuned:
    """Train a policy on pairs by rule and write it to the folder `config.model`; the arguments are as above.

    The rate in a prompt is that of its pair in the policy's own tokens. No pair is of a problem of `validation`.

    Raises:
        UserError: the rules shorten no problem.
    """
    template = template or RewritingTemplate()
    pairs = checked_pairs(pairs_by_rule(problems), evaluation_hashes(validation)).pairs
    folder = Path(config.model)
    read = [text for pair in pairs for text in (template.prompt(pair.prompt, 1.0).text, pair.compressed)]
    from_scratch(folder, read, scratch)
    language = load_base(LanguageConfig(model=str(folder), chunk=config.chunk))
    known = checked_pairs(pairs_by_rule(validation), ()).pairs if validation else ()
    with _one_thread():
        learned, checked = (list(_rewrites(language, some, template)) for some in (pairs, known))
        to_check = encoded(language, checked) if checked else []
        result = fine_tune(language, encoded(language, learned), to_check, learning, on_step)
    language.save(folder)
    return result


def from_scratch(folder: Path, texts: Iterable[str], config: ScratchConfig) -> None:
    """Write a Llama with random weights and a byte-level BPE of the texts, in which each digit is a token.

    Single digits let a model copy a number that it has never seen.
    """
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=[_PAD, _END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    fast.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, pad_token=_PAD, eos_token=_END)
    settings = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=2 * config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.width // 32,
        num_key_value_heads=config.width // 32,
        max_position_embeddings=config.window,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with seeded(config.seed, torch.device("cpu")):
        model = LlamaForCausalLM(settings)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _solutions(problems: Sequence[WordProblem], template: str) -> Iterator[Lesson]:
    """Each problem as it is, and shortened: by the rules of a level, or by some of them sentence by sentence."""
    shorter: tuple[Callable[[str], str], ...] = (
        *(partial(shorten, level=level) for level in LEVELS),
        partial(mixed, rng=np.random.default_rng(0)),
    )
    for number, problem in enumerate(problems):
        for text in dict.fromkeys((problem.text, shorter[number % len(shorter)](problem.text))):
            yield frame(template, text), problem.solution


def _rewrites(language: LanguageModel, pairs: Sequence[Pair], template: RewritingTemplate) -> Iterator[Lesson]:
    for pair in pairs:
        rate = len(language.encode(pair.compressed)) / len(language.encode(pair.prompt))
        yield template.prompt(pair.prompt, rate, language.tokenizer), template.completion(pair.compressed)


@contextmanager
def _one_thread() -> Iterator[None]:
    """So that the weights do not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
