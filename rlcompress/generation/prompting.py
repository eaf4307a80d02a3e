"""What a causal model reads: a template around a text that nobody vouches for.

The text is kept apart from the template until it is tokenised, so that `<|end|>` or `</s>` in it stays text and never
becomes a token that ends a turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlcompress.config.generating import RewritingTemplateConfig

_HERE = "\N{INVISIBLE SEPARATOR}0\N{INVISIBLE SEPARATOR}"  # holds a text's place while a chat template is rendered


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text between the two halves of a template; `marked` where these bring their own start token."""

    before: str
    content: str
    after: str
    marked: bool = False

    @property
    def text(self) -> str:
        return self.before + self.content + self.after


def frame(template: str, content: str, tokenizer: Any = None) -> Prompt:
    """`content` in the place of {text} in `template`; as a user's turn where `tokenizer` has a chat template."""
    before, _, after = template.partition("{text}")
    if tokenizer is None or not getattr(tokenizer, "chat_template", None):
        return Prompt(before, content, after)
    turn = [{"role": "user", "content": before + _HERE + after}]
    rendered: str = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    before, found, after = rendered.partition(_HERE)
    assert found, "a chat template shows what the user says"
    return Prompt(before, content, after, marked=True)


def turn_end(tokenizer: Any) -> str:
    """What a chat template writes after an assistant's words; empty where there is no chat template."""
    if not getattr(tokenizer, "chat_template", None):
        return ""
    turns = [{"role": "user", "content": "."}, {"role": "assistant", "content": _HERE}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False)).partition(_HERE)[2]


class RewritingTemplate:
    """(original, target rate) to what the policy reads, and from what it writes to the rewritten text.

    Fine-tuning, reinforcement and serving go through this class, so that all three see equal tokens.
    """

    def __init__(self, config: RewritingTemplateConfig | None = None) -> None:
        self.config = config or RewritingTemplateConfig()

    def prompt(self, original: str, rate: float, tokenizer: Any = None) -> Prompt:
        """What the policy reads, with `rate` as whole percent.

        Args:
            original: the text that is to become shorter; white space around it is left out.
            rate: target, tokens out / tokens in.
            tokenizer: of the policy; its chat template is used if there is one and the configuration allows it.
        """
        template = self.config.text.replace("{percent}", f"{100 * rate:.0f}")
        return frame(template, original.strip(), tokenizer if self.config.chat else None)

    @staticmethod
    def completion(rewritten: str) -> str:
        """What the policy is to write for a rewritten text; the end token is added to its ids."""
        return rewritten.strip()

    @staticmethod
    def rewritten(output: str) -> str:
        """The rewritten text in what the policy has written."""
        return output.strip()
