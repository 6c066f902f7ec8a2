"""Answers that come packed, though they were asked for as they are: passed on, and booked."""

import gzip
import json
import zlib
from typing import Any

import pytest

from fakes.played import Gateway, PlayedReply, Player
from lambdallm_extension.model_ports import RawRequest
from lambdallm_extension.providers.openai.chat import DIALECT
from lambdallm_extension.server.dropin.hidden_usage import UsageHider
from lambdallm_extension.services import passing
from lambdallm_extension.services.passing import Passage, Passed, Passing

REQUEST = RawRequest("POST", "/chat/completions", "", [], b'{"model": "gpt"}')


def chunk(**event: Any) -> bytes:
    return b"data: " + json.dumps({"model": "gpt-1", "choices": [], **event}).encode() + b"\n\n"


def said(text: str) -> bytes:
    return chunk(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None}])


FINISH = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
USED = chunk(usage={"prompt_tokens": 14, "completion_tokens": 9, "total_tokens": 23})
DONE = b"data: [DONE]\n\n"
WHOLE = json.dumps(
    {
        "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 14, "completion_tokens": 9},
    }
).encode()


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def send(gateway: Gateway, reply: PlayedReply, **passage: Any) -> Passed:
    asked = Passage(REQUEST, Player(reply), DIALECT, "openai/gpt", "gpt", **passage)  # type: ignore[arg-type]
    return Passing(gateway.books, gateway.streams, drain_seconds=10).send(
        asked, "c", "w", gateway.totals, deadline_ms=gateway.deadline_ms()
    )


def stream(gateway: Gateway, *pieces: bytes, headers: Any, **passage: Any) -> Passed:
    return send(gateway, PlayedReply(*pieces, headers=headers), streamed=True, **passage)


PACKED = [("content-type", "text/event-stream"), ("content-encoding", "gzip")]


def packed(*events: bytes) -> list[bytes]:
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(each) + packer.flush(zlib.Z_SYNC_FLUSH) for each in events]
    return [*pieces, packer.flush()]


def read_whole(passed: Passed) -> bytes:
    assert passed.pieces is not None
    received = b"".join(iter(passed.pieces.read, b""))
    passed.pieces.close()
    return received


def test_a_packed_answer_goes_back_as_it_came_and_is_read_for_its_usage(gateway: Gateway) -> None:
    body = gzip.compress(WHOLE)
    headers = [("content-type", "application/json"), ("content-encoding", "gzip")]

    assert send(gateway, PlayedReply(body, headers=headers))[:4] == (200, headers, body, None)
    gateway.check_books(state="settled", output_tokens=9, error=None)


def test_a_packed_refusal_goes_back_as_it_came_and_says_its_kind(gateway: Gateway) -> None:
    body = gzip.compress(b'{"error": {"code": "rate_limit_exceeded", "message": "slow"}}')

    assert send(gateway, PlayedReply(body, status=429, headers=PACKED)).body == body
    gateway.check_books(state="failed", error="rate_limit_exceeded")


@pytest.mark.parametrize("body", [b"garbage", gzip.compress(WHOLE)[:-9], gzip.compress(WHOLE * 9)])
def test_a_packed_answer_that_cannot_be_read_is_the_clients_all_the_same(
    gateway: Gateway, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "ANSWER_MAX_BYTES", len(WHOLE) + 9)

    assert send(gateway, PlayedReply(body, headers=PACKED)).body == body
    gateway.check_books(state="unknown", error="MalformedReply")
    assert gateway.totals.errors == 1


def test_a_packed_stream_goes_back_as_it_came_and_is_read_for_its_usage(gateway: Gateway) -> None:
    pieces = packed(said("Hi"), FINISH, USED, DONE)
    passed = stream(gateway, *pieces, headers=PACKED)

    assert passed.headers == PACKED
    assert read_whole(passed) == b"".join(pieces)
    gateway.check_books(state="settled", output_tokens=9, error=None, estimated=None)


def test_what_is_hidden_is_taken_out_of_a_packed_stream_which_goes_on_unpacked(
    gateway: Gateway,
) -> None:
    pieces = packed(said("Hi"), FINISH, USED, DONE)
    passed = stream(gateway, *pieces, headers=PACKED, hide=UsageHider().hide)

    assert passed.headers == PACKED[:1]
    assert read_whole(passed) == said("Hi") + FINISH + DONE
    gateway.check_books(state="settled", output_tokens=9, error=None, estimated=None)


def test_a_packed_stream_that_its_client_leaves_is_read_to_its_end(gateway: Gateway) -> None:
    passed = stream(gateway, *packed(said("Hi"), FINISH, USED, DONE), headers=PACKED)
    assert passed.pieces is not None
    passed.pieces.read()
    passed.pieces.close()

    gateway.check_books(state="settled", output_tokens=9, estimated=None)
    assert gateway.totals.errors == 0


def test_a_stream_in_a_coding_that_nobody_reads_goes_back_as_it_came(gateway: Gateway) -> None:
    headers = [("content-encoding", "br")]
    passed = stream(gateway, b"\x0b\x02", b"\n\n", headers=headers, hide=UsageHider().hide)

    assert (passed.headers, read_whole(passed)) == (headers, b"\x0b\x02\n\n")
    gateway.check_books(state="settled", error="MalformedReply", estimated=True)


def test_a_packed_stream_that_is_cut_is_an_estimate(gateway: Gateway) -> None:
    pieces = packed(said("x" * 30), FINISH)[:-1]
    passed = stream(gateway, *pieces, headers=PACKED)

    assert read_whole(passed) == b"".join(pieces)
    gateway.check_books(state="settled", error="MalformedReply", output_tokens=10, estimated=True)
