"""Answers that are read while they come: from the sidecar and from the embedded engine."""

import gc
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lambdallm
from fakes.units import run
from lambdallm import _embedded, _sidecar, _transport
from lambdallm._reply_stream import Lines
from lambdallm.testing import MockLambdaContext, MockProvider
from lambdallm_extension.server.token import write_token
from lambdallm_wire import names

TOOL = {"toolUse": {"toolUseId": "1", "name": "add", "input": {"a": 1}}}
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "Hm."}}}

SCRIPT = {
    "models": {
        "words": ["one two three"],
        "tools": [{"content": [THOUGHT, {"text": "I add."}, TOOL]}],
        "cut": [{"text": "one two three", "cut_after": 2}],
        "fails": [{"chunks": ["o", "ne"], "error": "modelStreamErrorException"}],
        "refuses": [{"error": "AccessDeniedException", "status": 403}],
        "long": [{"chunks": ["piece "] * 400, "delay_ms": 1}],
        "huge": [{"chunks": ["x" * 5_000] * 200}],
    }
}


HUGE = {"model": "scripted/huge", "max_tokens": 1_000_000}


@pytest.fixture(params=["embedded", "sidecar"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Who answers: `None`, or the sidecar."""
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps(SCRIPT))
    return request.getfixturevalue("sidecar") if request.param == "sidecar" else None


def open_connections(expected: int = 0) -> int:
    """Return how many calls are under way, after a while in which they might end."""
    transport = _transport.current()
    assert isinstance(transport, _sidecar.SidecarTransport)
    until = time.monotonic() + 5
    while transport._pool._calls != expected and time.monotonic() < until:
        time.sleep(0.001)
    return transport._pool._calls


# What comes


def test_pieces_come_one_by_one_and_the_response_last(host: Any) -> None:
    def read(context: Any) -> None:
        stream = context.stream("Hi", model="scripted/words")
        assert (next(stream), stream.text, stream.response) == ("one ", "one ", None)
        assert list(stream) == ["two ", "three"]
        assert stream.text == stream.response.text == "one two three"
        assert stream.response.finish_reason == "stop"
        assert stream.response.output_tokens == 4
        assert context.metrics.get("model.tokens_out") == 4

    run(read)


def test_other_pieces_are_events_and_the_response_has_them_whole(host: Any) -> None:
    def read(context: Any) -> Any:
        with context.stream("Hi", model="scripted/tools") as stream:
            return list(stream.events()), stream.response

    events, response = run(read)

    assert "".join(event.get("reasoning", "") for event in events) == "Hm."
    assert "".join(event.get("text", "") for event in events) == response.text == "I add."
    assert [event["tool_use"]["name"] for event in events if "tool_use" in event] == ["add"]
    said = "".join(event["tool_input"]["json"] for event in events if "tool_input" in event)
    assert json.loads(said) == {"a": 1}
    assert response.tool_calls == [lambdallm.ToolCall("add", "1", {"a": 1})]
    assert response.reasoning == "Hm."
    assert response.finish_reason == "tool_calls"


def test_more_than_any_buffer_holds(host: Any) -> None:
    text = run(lambda context: "".join(context.stream("Hi", **HUGE)))

    assert text == "x" * 1_000_000


def test_a_model_of_a_test_answers_in_one_piece(model: MockProvider) -> None:
    def read(context: Any) -> None:
        stream = context.stream("Hi")
        assert list(stream) == ["Mock response"]
        assert stream.response.text == "Mock response"
        assert context.total_cost == pytest.approx(0.0001)

    run(read)


# What goes wrong


@pytest.mark.parametrize(("model", "partial"), [("cut", "one two "), ("fails", "one")])
def test_a_stream_that_fails_tells_what_had_come(host: Any, model: str, partial: str) -> None:
    def read(context: Any) -> None:
        stream = context.stream("Hi", model=f"scripted/{model}", max_retries=0)
        pieces = []
        with pytest.raises(lambdallm.ModelInvocationError) as failed:
            pieces.extend(stream)
        assert failed.value.partial_text == stream.text == partial
        assert stream.response is None
        assert list(stream) == []
        assert context.invoke("Hi") is not None, "the next call works"

    run(read, model="scripted/words")


def test_a_refusal_is_raised_where_the_stream_is_opened(host: Any) -> None:
    def read(context: Any) -> None:
        with pytest.raises(lambdallm.ModelInvocationError, match="AccessDenied"):
            context.stream("Hi", model="scripted/refuses")
        if host is not None:
            assert open_connections() == 0

    run(read)


def test_what_is_no_parameter_is_said(host: Any) -> None:
    def read(context: Any) -> None:
        with pytest.raises(TypeError, match="stream\\(\\) has no parameter 'topk'"):
            context.stream("Hi", topk=1)

    run(read)


def test_too_little_time_asks_nobody(host: Any) -> None:
    def read(context: Any) -> None:
        context.lambda_context = MockLambdaContext(timeout_ms=100)
        with pytest.raises(lambdallm.DeadlineExceededError, match="not asked"):
            context.stream("Hi")

    run(read)


# Letting go


@pytest.mark.parametrize("how", ["close", "with", "break", "unread"])
def test_letting_go_early_frees_the_place_and_the_unit_ends(host: Any, how: str) -> None:
    def read(context: Any) -> None:
        stream = context.stream("Hi", model="scripted/long")
        if how != "unread":
            assert next(stream) == "piece "
        if how == "with":
            with stream:
                pass
        elif how == "close":
            stream.close()
            stream.close()
        if how in ("close", "with"):
            assert list(stream) == []
        del stream
        gc.collect(0)
        if host is not None:
            assert open_connections() == 0
        assert context.invoke("Hi") == "one two three"

    run(read, model="scripted/words")
    if host is not None:
        assert not host.engine.invocations._works


@pytest.mark.parametrize("host", ["sidecar"], indirect=True)
def test_a_loop_that_is_left_frees_the_place_at_once(host: Any) -> None:
    def read(context: Any) -> None:
        gc.disable()  # references alone have to do
        try:
            for piece in context.stream("Hi", model="scripted/long"):
                assert piece == "piece "
                break
            assert open_connections() == 0
        finally:
            gc.enable()

    run(read)


def test_a_stream_that_outlives_its_handler_is_a_unit_of_its_own(host: Any) -> None:
    kept: list[Any] = []
    run(lambda context: kept.append(context))
    (context,) = kept

    stream = context.stream("Hi", model="scripted/words")

    assert "".join(stream) == "one two three"
    if host is not None:
        assert host.paths.count("/v1/begin") == host.paths.count("/v1/end") == 2


def test_many_at_once(host: Any) -> None:
    texts: list[str] = []

    def read(context: Any) -> None:
        def one() -> None:
            texts.append("".join(context.stream("Hi", **HUGE)))

        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    run(read)

    assert texts == ["x" * 1_000_000] * 8


# A sidecar that does not behave


class Peer:
    """A sidecar that plays one stream's reply, as bytes, and ends the connection."""

    def __init__(self, directory: Path, stream: bytes, *, reset: bool = False) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stream = stream
        self._reset = reset
        write_token(str(directory), self._listener.getsockname()[1], "abc")
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        health = {"status": "ok", "pid": 0, "wire_version": names.WIRE_VERSION,
                  "sidecar_version": "0.1.0", "environment_id": "e", "writer": ""}  # fmt: skip
        plain = json.dumps(health).encode()
        with connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                length = 0
                while (header := lines.readline()) not in (b"\r\n", b""):
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                lines.read(length)
                if b"/v1/stream" in line:
                    connection.sendall(self._stream)
                    return
                head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(plain)
                connection.sendall(head + plain)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize(
    "rest",
    [b"", chunk(b'{"text":"b'), b"zz\r\n", chunk(b"") + b"\r\n", chunk(b'{"text": nonsense}\n')],
    ids=["ended", "cut", "no chunk", "without a response", "no JSON"],
)
def test_a_sidecar_that_ends_within_an_answer_is_told_with_what_had_come(
    tmp_path: Path, rest: bytes
) -> None:
    peer = Peer(tmp_path / "lambdallm", HEAD + chunk(b'{"text":"a"}\n') + rest)
    kept: list[str] = []

    def read(context: Any) -> None:
        stream = context.stream("Hi")
        with pytest.raises(lambdallm.SidecarError, match="may have happened") as failed:
            kept.extend(stream)
        assert failed.value.partial_text == "a"
        assert not failed.value.retryable, "it may be billed"

    run(read)
    peer.close()

    assert kept == ["a"]


def test_lines_may_be_cut_anywhere() -> None:
    said = [{"text": "ä"}, {"text": "\n"}, {"tool_input": {"index": 1, "json": "{"}}]
    data = b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in said)
    for size in range(1, len(data) + 1):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]

        class Source:
            def __init__(self, pieces: list[bytes]) -> None:
                self._pieces: Iterator[bytes] = iter(pieces)

            def read(self) -> bytes:
                return next(self._pieces, b"")

            def close(self) -> None:
                pass

        lines, found = Lines(Source(pieces)), []
        while batch := lines.read():
            found += batch
        assert found == said


def test_an_embedded_engine_that_is_refused_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = _embedded.EmbeddedTransport.start()
    _transport.replace(transport)

    def read(context: Any) -> None:
        with pytest.raises(lambdallm.ConfigurationError, match="nobody"):
            context.stream("Hi", model="nobody/x")

    run(read)


@pytest.mark.parametrize("host", ["sidecar"], indirect=True)
def test_a_sidecar_that_is_gone_before_is_taken_the_place_of(host: Any) -> None:
    def read(context: Any) -> None:
        host.close()
        stream = context.stream("Hi", model="scripted/words")
        assert "".join(stream) == "one two three"
        assert isinstance(context.work._transport, _embedded.EmbeddedTransport)
        assert context.chat("Hi", model="scripted/words").text == "one two three"

    run(read)
