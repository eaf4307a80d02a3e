"""The command `compress`: what stands on standard input, made shorter by an artifact of either kind."""

from __future__ import annotations

import dataclasses
import json
import sys
from argparse import Namespace as Arguments
from typing import TYPE_CHECKING, Any

from rlcompress.errors import UserError

if TYPE_CHECKING:
    from rlcompress.compressor import Compressor


def compressed_input(arguments: Arguments) -> str:
    """What the command prints.

    Raises:
        UserError: no artifact, no text, or an option that the artifact or the form does not take.
    """
    from rlcompress.artifact import is_rewriting
    from rlcompress.hub import artifact_folder

    if is_rewriting(artifact_folder(arguments.target, download=arguments.download, revision=None, api=None)):
        return _rewritten_shown(arguments)
    from rlcompress.compressor import Compressor

    compressor = Compressor.from_pretrained(arguments.target, download=arguments.download)
    show = _text_shown if arguments.form == "text" else _in_shape
    return show(compressor, _standard_input(), arguments)


def _standard_input() -> str:
    text = sys.stdin.buffer.read().decode("utf-8")  # bytes: a text stream would change line ends
    if not text.strip():
        raise UserError("standard input holds no text: give it as `compress TARGET < prompt.txt`")
    return text


def _rewritten_shown(arguments: Arguments) -> str:
    """By a rewriting policy, which takes a rate alone."""
    given = {
        "--question": arguments.question is not None,
        "--protect": bool(arguments.protect),
        "--target-tokens": arguments.target_tokens is not None,
        f"--form {arguments.form}": arguments.form != "text",
    }
    if refused := [name for name, is_given in given.items() if is_given]:
        raise UserError(f"{arguments.target} holds a rewriting policy, which takes no {refused[0]}: give --rate alone")
    from rlcompress.rewriter import PromptRewriter

    rewriter = PromptRewriter.from_pretrained(arguments.target, download=arguments.download)
    [result] = rewriter.rewrite([_standard_input()], 0.5 if arguments.rate is None else arguments.rate)
    return json.dumps(dataclasses.asdict(result), ensure_ascii=False) + "\n" if arguments.json else result.text


def _text_shown(compressor: Compressor, text: str, arguments: Arguments) -> str:
    budget: dict[str, Any] = {"rate": arguments.rate}
    if arguments.target_tokens is not None:
        budget = {"target_tokens": arguments.target_tokens}
    result = compressor.compress(text, question=arguments.question, protect=arguments.protect, **budget)
    if arguments.target_tokens is not None and arguments.target_tokens > result.original_tokens:
        raise UserError(f"the text has {result.original_tokens} tokens, below --target-tokens: give a smaller budget")
    account = {key: value for key, value in dataclasses.asdict(result).items() if value is not None}
    return json.dumps(account, ensure_ascii=False) + "\n" if arguments.json else result.text


def _in_shape(compressor: Compressor, text: str, arguments: Arguments) -> str:
    """Chat messages or JSON, in the shape in which they came."""
    if arguments.target_tokens is not None:
        raise UserError(f"--form {arguments.form} takes --rate: each of its texts has a budget of its own")
    how: dict[str, Any] = {"question": arguments.question}
    how |= {"protect": arguments.protect} if arguments.protect else {}
    if arguments.form == "json":
        return compressor.compress_json(text, arguments.rate, **how)
    try:
        messages = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"standard input holds no JSON ({error}): --form messages takes a list of messages") from None
    if not isinstance(messages, list):
        raise UserError("standard input holds no list: --form messages takes a list of messages")
    done = compressor.compress_messages(messages, arguments.rate, **how)
    return json.dumps(dataclasses.asdict(done) if arguments.json else done.messages) + "\n"
