"""`POST /v1/compress` and `GET /healthz` as one Ray Serve deployment around a `Compressor`."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from ray import serve
from starlette.exceptions import HTTPException

from rlcompress.compressor import Compressed, Compressor
from rlcompress.config.schema import ServeConfig
from rlcompress.errors import UserError
from serve.wire import CompressRequest, CompressResponse, answer, invalid, problem

log = logging.getLogger(__name__)

_BYTES_A_CHARACTER = 12  # at most, in JSON: an emoji may come as two \uXXXX
_BYTES_BESIDE = 65_536  # of a body, for what is not text

Outcome = list[Compressed] | Exception

_BODY = {"content": {"application/json": {"schema": CompressRequest.model_json_schema()}}, "required": True}


class Endpoint:
    """One replica: a compressor, the count of requests in flight, and the batches that answer them.

    Plain: `serve.app` makes it a deployment. Wrapped here, it would be pickled by value and lose what its annotations
    name, and FastAPI would take `request` for a query parameter.
    """

    def __init__(self, artifact: str, settings: dict[str, Any]) -> None:
        self.settings = ServeConfig.model_validate(settings)
        self.compressor = Compressor.from_pretrained(artifact, device="cpu")
        self.in_flight = 0
        self._together.set_max_batch_size(self.settings.batch)
        self._together.set_batch_wait_timeout_s(self.settings.batch_wait)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The routes; Serve asks for them in the replica."""
        api = FastAPI(title="rlcompress", docs_url=None, redoc_url=None)
        api.add_api_route("/healthz", self.healthz, methods=["GET"])
        api.add_api_route(
            "/v1/compress",
            self.compress,
            methods=["POST"],
            response_model=CompressResponse,
            openapi_extra={"requestBody": _BODY},
        )
        api.add_exception_handler(HTTPException, _on_http)
        return api

    async def healthz(self) -> dict[str, str]:
        return {"status": "ok", "model": self.compressor.manifest.name}

    async def compress(self, request: Request) -> Response:
        # Read here and not by FastAPI: the size of a body is checked before anything parses it.
        limit = self.settings.max_characters
        body = await request.body()
        if len(body) > _BYTES_A_CHARACTER * limit + _BYTES_BESIDE:
            return problem(413, f"the body has {len(body)} bytes; {limit} characters are accepted", "too_large")
        try:
            asked = CompressRequest.model_validate_json(body)
        except ValidationError as error:
            return invalid(error.errors(include_url=False, include_context=False, include_input=False))
        if asked.characters > limit:
            return problem(413, f"the texts have {asked.characters} characters; {limit} are accepted", "too_large")
        if self.in_flight >= self.settings.queue:
            return problem(503, f"{self.in_flight} requests are in flight already", "overloaded")
        return await self._answer(asked)

    async def _answer(self, asked: CompressRequest) -> Response:
        self.in_flight += 1
        try:
            outcome = await self._together(asked)
        finally:
            self.in_flight -= 1
        if isinstance(outcome, UserError):
            return problem(400, str(outcome), "invalid_value")
        if isinstance(outcome, Exception):
            return problem(500, "the server failed on this request", "internal_error")
        content = answer(outcome, asked.return_spans, self.compressor.manifest.name)
        return Response(content.model_dump_json(exclude_none=True), media_type="application/json")

    @serve.batch
    async def _together(self, asked: list[CompressRequest]) -> list[Outcome]:
        return await asyncio.to_thread(compress_together, self.compressor, asked)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, f"{request.method} {request.url.path}: {error.detail}", "not_served")


def compress_together(compressor: Compressor, asked: Sequence[CompressRequest]) -> list[Outcome]:
    """One outcome a request, in order. Requests that ask the same of their texts share a forward pass."""
    alike: dict[Any, list[int]] = defaultdict(list)
    for i, one in enumerate(asked):
        alike[one.rate, one.target_tokens, one.question, one.protect].append(i)
    outcomes: list[Outcome] = [[] for _ in asked]
    for members in alike.values():
        texts = [text for i in members for text in asked[i].texts]
        outcome = _compress(compressor, asked[members[0]], texts)
        if isinstance(outcome, Exception):  # one of them is at fault, and only that one may pay for it
            for i in members:
                outcomes[i] = outcome if len(members) == 1 else _compress(compressor, asked[i], asked[i].texts)
        else:
            done = iter(outcome)
            for i in members:
                outcomes[i] = [next(done) for _ in asked[i].texts]
    return outcomes


def _compress(compressor: Compressor, how: CompressRequest, texts: list[str]) -> Outcome:
    try:
        return compressor.compress(
            texts, how.rate, target_tokens=how.target_tokens, question=how.question, protect=how.protect
        )
    except UserError as error:
        return error
    except Exception as error:  # the type alone is logged: a message may quote somebody's prompt
        log.error("a request of %d texts failed: %s", len(texts), type(error).__name__)
        return error
