"""Requests answered together, without Ray and HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil

import pytest
from pydantic import ValidationError
from starlette.requests import Request

from rlcompress.compressor import Compressor
from rlcompress.config.schema import ServeConfig
from rlcompress.errors import UserError
from serve.endpoint import Endpoint, compress_together
from serve.wire import CompressRequest, answer, invalid

TEXTS = ["The assertion is extraordinary.", "Words that come again and again become one token; 17 others."]


def ask(**fields):
    return CompressRequest.model_validate(fields)


def test_requests_with_different_wishes_share_a_batch_and_each_gets_its_own(compressor):
    asked = [
        ask(text=TEXTS[0], rate=0.5),
        ask(text=TEXTS, target_tokens=6),
        ask(text=TEXTS[1], rate=0.5),
        ask(text=TEXTS[1], protect=["numbers"], question="How many others?"),
    ]
    alone = [
        compressor.compress(
            one.texts, one.rate, target_tokens=one.target_tokens, question=one.question, protect=one.protect
        )
        for one in asked
    ]
    together = compress_together(compressor, asked)
    assert [[c.text for c in outcome] for outcome in together] == [[c.text for c in outcome] for outcome in alone]


def test_a_policy_that_chooses_its_length_does_so_where_no_budget_is_asked(artifact, tmp_path):
    folder = tmp_path / "artifact"
    shutil.copytree(artifact, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "sampler": "bernoulli"}))
    chooser = Compressor.from_pretrained(folder, device="cpu")
    [[free], [half]] = compress_together(chooser, [ask(text=TEXTS[1]), ask(text=TEXTS[1], rate=0.5)])
    assert free.kept == [score >= 0 for score in free.scores]
    assert half.achieved_rate <= 0.5
    assert free.kept != half.kept


def test_only_the_request_at_fault_fails(compressor):
    outcomes = compress_together(compressor, [ask(text=TEXTS[0]), ask(text=TEXTS[0], protect=["(unclosed"])])
    assert isinstance(outcomes[0], list)
    assert isinstance(outcomes[1], UserError)


def test_companions_of_a_failing_text_are_answered_and_no_prompt_is_logged(compressor, monkeypatch, caplog):
    real = compressor.compress

    def picky(texts, *args, **kwargs):
        if any("CANARY" in text for text in texts):
            raise ValueError(f"cannot read {texts}")
        return real(texts, *args, **kwargs)

    monkeypatch.setattr(compressor, "compress", picky)
    with caplog.at_level(logging.DEBUG):
        good, bad = compress_together(compressor, [ask(text=TEXTS[0]), ask(text="CANARY 4711")])
    assert good[0].text
    assert isinstance(bad, ValueError)
    assert "ValueError" in caplog.text
    assert "CANARY" not in caplog.text


def test_the_account_of_a_request_adds_up(compressor):
    (outcome,) = compress_together(compressor, [ask(text=TEXTS, rate=0.5)])
    account = answer(outcome, spans=True, model="tiny")
    assert account.tokens_before - account.tokens_after == account.tokens_saved > 0
    for source, result in zip(TEXTS, account.results, strict=True):
        assert "".join(source[a:b] for a, b in result.spans) == result.text


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "text"),
        ({"text": []}, "text"),
        ({"text": "a", "rate": 0}, "rate"),
        ({"text": "a", "rate": 1.5}, "rate"),
        ({"text": "a", "target_tokens": 0}, "target_tokens"),
        ({"text": "a", "rato": 0.5}, "rato"),
    ],
)
def test_a_bad_body_is_named_by_its_field(fields, param):
    with pytest.raises(ValidationError) as caught:
        ask(**fields)
    response = invalid(caught.value.errors())
    error = json.loads(response.body)["error"]
    assert response.status_code == 400
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


def post(endpoint, **fields):
    async def receive():
        return {"type": "http.request", "body": json.dumps(fields).encode(), "more_body": False}

    return endpoint.compress(Request({"type": "http", "method": "POST", "headers": []}, receive))


def test_a_full_queue_is_refused_with_503_and_a_time_to_come_again(artifact):
    async def slowly(asked):
        await asyncio.sleep(0.05)
        return []

    async def flood():
        endpoint = Endpoint(str(artifact), ServeConfig(queue=3).model_dump())
        endpoint._together = slowly  # Serve's batching works in a replica only
        return await asyncio.gather(*[post(endpoint, text=TEXTS[0]) for _ in range(5)]), endpoint.in_flight

    responses, left = asyncio.run(flood())
    assert [response.status_code for response in responses] == [200, 200, 200, 503, 503]
    assert json.loads(responses[-1].body)["error"]["code"] == "overloaded"
    assert responses[-1].headers["retry-after"] == "1"
    assert left == 0
