"""The tokenizer's side of a causal language model: prompts and outputs as ids, and which tokens end an output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import Tokenizer as FastTokenizer

from rlcompress.errors import UserError
from rlcompress.generation.prompting import Prompt, turn_end


class Vocabulary:
    """Prompts and outputs as ids of a Hugging Face tokenizer.

    Args:
        tokenizer: fast, of the model.
        name: of the model, for what is said of mistakes.
        settings: whatever of the model may name end tokens by `eos_token_id`.

    Raises:
        UserError: the tokenizer is none of `tokenizers`, or no token ends an output.
    """

    def __init__(self, tokenizer: Any, name: str, settings: Sequence[Any] = ()) -> None:
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise UserError(f"language model {name!r} has no fast tokenizer: add a tokenizer.json to it")
        self.tokenizer = tokenizer
        self.name = name
        self._fast = FastTokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._fast.no_padding()
        self._fast.no_truncation()
        self._literal = FastTokenizer.from_str(self._fast.to_str())
        self._literal.encode_special_tokens = True
        self._special = [str(token) for token in tokenizer.added_tokens_decoder.values()]
        self.end_id, self.end_ids = self._ends(settings)
        pad = tokenizer.pad_token_id
        self.pad_id = int(self.end_id if pad is None else pad)
        start = tokenizer.bos_token_id
        begins = start is not None and tokenizer("a")["input_ids"][:1] == [start]
        self.start_ids: list[int] = [start] if begins else []

    def _ends(self, settings: Sequence[Any]) -> tuple[int, frozenset[int]]:
        """The token that ends an output here, and all that end one."""
        after = self._fast.encode(turn_end(self.tokenizer), add_special_tokens=False).ids
        turn = [i for i in after if i in self.tokenizer.added_tokens_decoder][:1]
        found: list[int] = [*turn, *_listed(self.tokenizer.eos_token_id)]
        for other in settings:
            found += _listed(getattr(other, "eos_token_id", None))
        if not found:
            raise UserError(f"language model {self.name!r} has no end token: give its tokenizer an eos_token")
        return found[0], frozenset(found)

    def encode(self, text: str) -> list[int]:
        """Ids of a text by itself; special tokens in it are text."""
        return list(self._literal.encode(_writable(text), add_special_tokens=False).ids)

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Ids of a prompt, with special tokens where its template has them; at least one."""
        before, content, after = (_writable(part) for part in (prompt.before, prompt.content, prompt.after))
        start = [] if prompt.marked else self.start_ids
        if any(token in content for token in self._special):
            ids = [*self._template_ids(before), *self.encode(content), *self._template_ids(after)]
        else:  # in one piece, as the model has learned to read it
            ids = self._template_ids(before + content + after)
        return [*start, *ids] or [self.end_id]

    def _template_ids(self, text: str) -> list[int]:
        return list(self._fast.encode(text, add_special_tokens=False).ids)

    def output_ids(self, text: str, insert: Callable[[str], str | None] | None = None) -> list[int]:
        """Ids of a text as an output: the end token stands at its end.

        Where `insert` (see `writing.write`) would have written what stands there, tokens begin and end as they do while
        generating: a model that learns "=1" as one token would never leave the calculator a word.
        """
        return [i for ids, _ in self.output_parts(text, insert) for i in ids]

    def output_parts(
        self, text: str, insert: Callable[[str], str | None] | None = None
    ) -> list[tuple[list[int], bool]]:
        """`output_ids` in pieces, each with whether `insert` writes it."""
        parts: list[tuple[list[int], bool]] = []
        done = 0  # characters
        for here in range(1, len(text) if insert else 0):
            said = insert(text[:here]) if insert and here > done else None
            if said and text.startswith(said, here):
                parts += [(self._going_on(text[done:here], parts), False), (self.following_ids(said), True)]
                done = here + len(said)
        return [*parts, ([*self._going_on(text[done:], parts), self.end_id], False)]

    def _going_on(self, text: str, before: Sequence[object]) -> list[int]:
        return (self.following_ids(text) if before else self.encode(text)) if text else []

    def following_ids(self, text: str) -> list[int]:
        """Ids of a text that goes on in the middle of another: many tokenizers set a space before the first word."""
        for anchor in ("=", "a", ""):
            before, whole = self.encode(anchor), self.encode(anchor + text)
            if whole[: len(before)] == before and self.decode(whole) == self.decode(before) + text:
                return whole[len(before) :]
        return self.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._fast.decode(list(ids), skip_special_tokens=True))


def _listed(ids: Any) -> list[int]:
    return [] if ids is None else list(ids) if isinstance(ids, list | tuple) else [int(ids)]


def _writable(text: str) -> str:
    """Lone surrogates have no bytes."""
    return text.encode("utf-8", "replace").decode("utf-8")
