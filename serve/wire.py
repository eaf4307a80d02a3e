"""What travels over HTTP: the bodies of requests and answers, and errors in the shape that OpenAI clients know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from rlcompress.compressor import Compressed


class CompressRequest(BaseModel):
    """One text or several, with one budget for each of them: `rate` or `target_tokens`.

    Given neither, a policy that learned to choose its length does so; any other keeps half of the tokens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | Annotated[list[str], Field(min_length=1)]
    rate: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    target_tokens: Annotated[int, Field(ge=1)] | None = None
    question: str | None = None
    protect: tuple[str, ...] = ()
    return_spans: bool = False

    @property
    def texts(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else self.text

    @property
    def characters(self) -> int:
        """All that has to be read: texts, question and patterns."""
        return sum(map(len, [*self.texts, self.question or "", *self.protect]))


class Result(BaseModel):
    """One compressed text; `spans` are its pieces as character offsets in the source."""

    text: str
    original_tokens: int
    kept_tokens: int
    compressed_tokens: int
    achieved_rate: float
    status: str
    spans: list[tuple[int, int]] | None = None


class CompressResponse(BaseModel):
    """Results in the order of the texts. `tokens_after` counts what a reader will see: the results, tokenised again."""

    results: list[Result]
    tokens_before: int
    tokens_after: int
    tokens_saved: int
    model: str


def answer(compressed: Sequence[Compressed], spans: bool, model: str) -> CompressResponse:
    """The account of a whole request."""
    before = sum(one.original_tokens for one in compressed)
    after = sum(one.compressed_tokens for one in compressed)
    return CompressResponse(
        results=[
            Result(
                text=one.text,
                original_tokens=one.original_tokens,
                kept_tokens=one.kept_tokens,
                compressed_tokens=one.compressed_tokens,
                achieved_rate=one.achieved_rate,
                status=one.status,
                spans=one.spans if spans else None,
            )
            for one in compressed
        ],
        tokens_before=before,
        tokens_after=after,
        tokens_saved=before - after,
        model=model,
    )


def problem(status: int, message: str, code: str, param: str | None = None) -> JSONResponse:
    """`{"error": {message, type, param, code}}` with a status; an overloaded server also says when to come again."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status, headers={"Retry-After": "1"} if status == 503 else None)


def invalid(faults: Sequence[Any]) -> JSONResponse:
    """The first fault of a body that does not fit, by place and rule; never by value, for that is somebody's prompt."""
    first = faults[0]
    place = [str(part) for part in first["loc"]]
    message = ": ".join([".".join(place), str(first["msg"])] if place else [str(first["msg"])])
    return problem(400, message, first["type"], place[0] if place else None)
