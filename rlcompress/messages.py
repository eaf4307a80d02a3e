"""Chat messages in, the same messages with shorter texts out, in the shapes of OpenAI and of Anthropic.

What becomes of a message depends on that message alone (and on a question that is the same for all), never on what
follows it: a conversation that grows leaves the bytes of its compressed beginning as they were, and a provider's cache
of that prefix stays warm. So the budget is each text's own, and texts are scored one by one: in company a score may
differ in its last bits. (On a CPU company would save time with texts under a few hundred tokens alone.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlcompress.compressed import UNCHANGED
from rlcompress.errors import UserError
from rlcompress.structured import is_json

if TYPE_CHECKING:
    from rlcompress.compressor import Compressor

ROLES = ("user", "tool")  # a system prompt is instructions; a model that reads its own words clipped writes so too
PROTECTED = ("code", "json", "tags", "urls")
MIN_TOKENS = 64  # shorter messages are instructions and questions
LAST_USER, PRECEDING_USER = "last_user", "preceding_user"
_TEXT_PARTS = ("text", "input_text")
_MARKED = ("cache_control", "citations", "annotations")  # they hold a part to its bytes

Message = Mapping[str, Any]
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class TextAccount:
    """What became of one text of a message, e.g. at `("content", 0, "text")`, in the reader's tokens.

    `status` is the compressor's (`ok`, `over_budget`, `unchanged`), or why the text was left alone: `role`,
    `cache_control`, `citations`, `annotations`, `recent` or `question`.
    """

    place: Place
    status: str
    tokens_before: int
    tokens_after: int


@dataclass(frozen=True, slots=True)
class MessageAccount:
    """What became of one message; tool calls, images and other parts that are no text are not counted."""

    role: str
    texts: tuple[TextAccount, ...]

    @property
    def tokens_before(self) -> int:
        return sum(one.tokens_before for one in self.texts)

    @property
    def tokens_after(self) -> int:
        return sum(one.tokens_after for one in self.texts)

    @property
    def left_alone(self) -> tuple[str, ...]:
        """Why texts of this message were not compressed, each reason once."""
        return tuple(dict.fromkeys(one.status for one in self.texts if one.status not in ("ok", "over_budget")))


@dataclass(frozen=True, slots=True)
class CompressedMessages:
    """Messages of the same shape, and the account of each."""

    messages: list[dict[str, Any]]
    account: list[MessageAccount]

    @property
    def tokens_before(self) -> int:
        return sum(one.tokens_before for one in self.account)

    @property
    def tokens_after(self) -> int:
        return sum(one.tokens_after for one in self.account)


def compress_messages(
    compressor: Compressor,
    messages: Sequence[Message],
    rate: float | None = None,
    *,
    question: str | None = None,
    roles: Collection[str] | Mapping[str, float] = ROLES,
    protect: Sequence[str] = PROTECTED,
    min_tokens: int = MIN_TOKENS,
    keep_recent: int = 0,
) -> CompressedMessages:
    """See `Compressor.compress_messages`."""
    if isinstance(roles, str):
        raise UserError(f'roles takes several names: write ["{roles}"]')
    rates = dict(roles) if isinstance(roles, Mapping) else dict.fromkeys(roles, rate)
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise UserError(f"messages[{i}] is no message: give a dict with a role (of an SDK's object, model_dump())")
    asked = _Questions(messages, question)
    done = []
    for i, message in enumerate(messages):
        work = _Work(compressor, rates, asked, i, i >= len(messages) - keep_recent, tuple(protect), min_tokens)
        done.append(work.message(message))
    return CompressedMessages([message for message, _ in done], [account for _, account in done])


class _Questions:
    """Which question a text is compressed for, and which message is that question itself."""

    def __init__(self, messages: Sequence[Message], question: str | None) -> None:
        self.kind = question if question in (LAST_USER, PRECEDING_USER) else None
        self.given = question if self.kind is None else None
        self.asked = [_own_text(message) if message["role"] == "user" else "" for message in messages]
        self.last = max((i for i, text in enumerate(self.asked) if text), default=None)

    def is_one(self, i: int, role: str) -> bool:
        return self.kind == LAST_USER and i == self.last and role == "user"

    def of(self, i: int, role: str) -> str | None:
        if self.kind == LAST_USER and self.last is not None:
            return self.asked[self.last]
        if self.kind == PRECEDING_USER and role != "user":
            return next((text for text in reversed(self.asked[:i]) if text), None)
        return self.given


def _own_text(message: Message) -> str:
    """What a user wrote, tool results that travel in the same message left out."""
    content = message.get("content")
    if isinstance(content, str):
        return content.strip()
    parts = content if isinstance(content, list) else []
    return "\n".join(part["text"] for part in parts if _is_text(part)).strip()


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str)


@dataclass(slots=True)
class _Work:
    """One message on its way."""

    compressor: Compressor
    rates: Mapping[str, float | None]
    questions: _Questions
    index: int
    recent: bool
    protect: tuple[str, ...]
    min_tokens: int

    def message(self, message: Message) -> tuple[dict[str, Any], MessageAccount]:
        texts: list[TextAccount] = []
        result, role = dict(message), message["role"]
        if "content" in message:
            marked = _mark(message)
            result["content"] = self.content(message["content"], role, ("content",), marked, texts)
        return result, MessageAccount(role, tuple(texts))

    def content(self, content: Any, role: str, place: Place, marked: str | None, texts: list[TextAccount]) -> Any:
        """A text, or a list of parts: texts, tool results with content of their own, and what is left as it is."""
        if isinstance(content, str):
            return self.text(content, role, place, marked, texts)
        if not isinstance(content, list):
            return content
        return [self.part(part, role, (*place, k), marked, texts) for k, part in enumerate(content)]

    def part(self, part: Any, role: str, place: Place, marked: str | None, texts: list[TextAccount]) -> Any:
        if _is_text(part):
            key = "text"
        elif isinstance(part, Mapping) and part.get("type") == "tool_result" and "content" in part:
            key, role = "content", "tool"
        else:
            return part
        new = self.content(part[key], role, (*place, key), marked or _mark(part), texts)
        return part if new == part[key] else {**part, key: new}

    def text(self, text: str, role: str, place: Place, marked: str | None, texts: list[TextAccount]) -> str:
        why = marked or self.left_alone(role)
        new, status = (text, why) if why else self.shorter(text, role)
        before = self.compressor.count_tokens(text)
        texts.append(TextAccount(place, status, before, before if new == text else self.compressor.count_tokens(new)))
        return new

    def left_alone(self, role: str) -> str | None:
        if role not in self.rates:
            return "role"
        if self.recent:
            return "recent"
        return "question" if self.questions.is_one(self.index, role) else None

    def shorter(self, text: str, role: str) -> tuple[str, str]:
        rate, question = self.rates[role], self.questions.of(self.index, role)
        how: dict[str, Any] = {"question": question, "protect": self.protect, "min_tokens": self.min_tokens}
        if is_json(text):
            new = self.compressor.compress_json(text, rate, **how)
            return new, "ok" if new != text else UNCHANGED
        one = self.compressor.compress(text, rate, **how)
        return one.text, one.status


def _mark(block: Message) -> str | None:
    return next((mark for mark in _MARKED if block.get(mark)), None)
