"""One streamed response, as `h11` reads it at the other end; and an end that goes away."""

from __future__ import annotations

import base64
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import h11
import pytest

from fakes.waiting import until
from lambdallm import SidecarError
from lambdallm._response_stream import JOINED_MAX_BYTES, ClientGoneError, ResponseStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPLY = b'HTTP/1.1 202 Accepted\r\ncontent-length: 15\r\n\r\n{"status":"OK"}'


class Lambda:
    """A Runtime API that reads one response, or part of it."""

    def __init__(
        self,
        reply: bytes = REPLY,
        bytes_max: int = 1 << 40,
        before_reply: Callable[[], object] = bool,
    ) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._reply = reply
        self._bytes_max = bytes_max
        self._before_reply = before_reply
        self.request: Any = None
        self.chunks: list[bytes] = []
        self.trailers: dict[str, str] = {}
        self.ended = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        self._listener.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        reader = h11.Connection(h11.SERVER)
        with connection:
            read = 0
            while read < self._bytes_max:
                event = reader.next_event()
                if event is h11.NEED_DATA:
                    data = connection.recv(min(65_536, self._bytes_max - read))
                    read += len(data)
                    reader.receive_data(data)
                elif isinstance(event, h11.Request):
                    self.request = event
                elif isinstance(event, h11.Data):
                    self.chunks.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self.trailers = {key.decode(): text.decode() for key, text in event.headers}
                    self.ended = True
                    self._before_reply()
                    connection.sendall(self._reply)
                    return
                else:
                    return


@pytest.fixture
def platform() -> Iterator[Lambda]:
    server = Lambda()
    yield server
    server.close()


def open_stream(server: Lambda, seconds: float = 10.0, **more: Any) -> ResponseStream:
    arguments = {"invocation_id": None, "content_type": "text/plain", **more}
    return ResponseStream(
        server.address, "request-1", chunk_seconds=seconds, reply_seconds=seconds, **arguments
    )


def fill(stream: ResponseStream) -> None:
    for _ in range(10_000):
        stream.write(b"x" * 65_536)


def test_a_response_is_what_the_runtime_api_specifies(platform: Lambda) -> None:
    stream = open_stream(platform, invocation_id="invocation-1")
    for chunk in (b"one", b"", b"x" * (JOINED_MAX_BYTES + 1), b"\0\r\n"):
        stream.write(chunk)
    stream.finish()
    platform.close()

    assert platform.request.method == b"POST"
    assert platform.request.target == b"/2018-06-01/runtime/invocation/request-1/response"
    assert dict(platform.request.headers) == {
        b"host": platform.request.headers[0][1],
        b"content-type": b"text/plain",
        b"lambda-runtime-function-response-mode": b"streaming",
        b"transfer-encoding": b"chunked",
        b"trailer": b"Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        b"lambda-runtime-invocation-id": b"invocation-1",
    }
    assert b"".join(platform.chunks) == b"one" + b"x" * (JOINED_MAX_BYTES + 1) + b"\0\r\n"
    assert (platform.trailers, platform.ended) == ({}, True)
    assert not stream.is_open


def test_an_error_is_told_by_the_trailers(platform: Lambda) -> None:
    stream = open_stream(platform)
    stream.write(b"one")
    stream.fail("ValueError", "wörds\r\nmore \ud800")
    platform.close()

    assert platform.trailers["lambda-runtime-function-error-type"] == "ValueError"
    body = base64.b64decode(platform.trailers["lambda-runtime-function-error-body"])
    assert json.loads(body) == {
        "errorMessage": "wörds\r\nmore \ud800", "errorType": "ValueError",
    }  # fmt: skip


@pytest.mark.parametrize("words", ["x" * 100_000, "😀" * 5_000, "\n" * 9_000])
def test_what_is_too_long_for_a_trailer_is_cut(platform: Lambda, words: str) -> None:
    stream = open_stream(platform)
    stream.fail("Very" * 200 + "LongError", words)
    platform.close()

    told = platform.trailers
    assert sum(len(name) + len(text) + 4 for name, text in told.items()) < 3_500
    body = json.loads(base64.b64decode(told["lambda-runtime-function-error-body"]))
    assert body["errorMessage"].endswith(" …")
    assert words.startswith(body["errorMessage"][:-2])
    assert len(body["errorMessage"]) > 60


def test_a_prelude_leaves_with_the_first_chunk_or_before_it(platform: Lambda) -> None:
    stream = open_stream(platform, prelude=b"{}" + bytes(8))
    stream.write(b"")
    until(lambda: b"".join(platform.chunks) == b"{}" + bytes(8))
    stream.write(b"one")
    stream.finish()
    platform.close()

    assert b"".join(platform.chunks) == b"{}" + bytes(8) + b"one"


def test_of_nothing_the_head_alone_leaves(platform: Lambda) -> None:
    stream = open_stream(platform)
    stream.finish()
    platform.close()

    assert (platform.chunks, platform.ended) == ([], True)


def test_what_lambda_refuses_is_raised_with_its_words() -> None:
    server = Lambda(b"HTTP/1.1 413 Too Large\r\ncontent-length: 8\r\n\r\ntoo much")
    stream = open_stream(server)
    stream.write(b"one")
    with pytest.raises(SidecarError, match=r"413.*too much"):
        stream.finish()
    server.close()


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 2", b"garbage\r\n\r\n"])
def test_an_end_that_is_not_acknowledged_has_no_reader(reply: bytes) -> None:
    server = Lambda(reply)
    stream = open_stream(server)
    with pytest.raises(ClientGoneError):
        stream.finish()
    server.close()


def test_a_reader_that_goes_is_noticed_and_stays_gone() -> None:
    server = Lambda(bytes_max=400)
    stream = open_stream(server)
    with pytest.raises(ClientGoneError):  # its system takes some more before it says so
        fill(stream)
    server.close()

    assert not stream.is_open
    with pytest.raises(ClientGoneError):
        stream.write(b"x")
    with pytest.raises(ClientGoneError):
        stream.finish()


def test_a_reader_that_stands_still_counts_as_gone_when_its_time_is_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        stream = ResponseStream(
            f"{host}:{port}",
            "r",
            None,
            content_type="text/plain",
            chunk_seconds=0.05,
            reply_seconds=10,
        )
        with pytest.raises(ClientGoneError):
            fill(stream)

    assert not stream.is_open


def test_a_slow_end_is_waited_for_as_long_as_there_is_time() -> None:
    """A runtime that goes on before its response has ended is refused, and ends."""
    go = threading.Event()
    server = Lambda(before_reply=go.wait)
    stream = open_stream(server, seconds=30)
    stream.write(b"one")
    ending = threading.Thread(target=stream.finish)
    ending.start()
    until(lambda: server.ended)
    assert ending.is_alive()
    go.set()
    ending.join(10)
    server.close()

    assert not ending.is_alive()
    assert not stream.is_open


def test_a_place_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        ResponseStream(
            f"127.0.0.1:{port}",
            "r",
            None,
            content_type="text/plain",
            chunk_seconds=1.0,
            reply_seconds=1.0,
        )
