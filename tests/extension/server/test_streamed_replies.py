"""Replies in pieces, over real sockets: as they come, to their end, or to their reader's."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from lambda_runtime_api import http1
from lambdallm_extension import errors
from lambdallm_extension.server import http as server_http
from lambdallm_extension.server.http import Server, listen
from lambdallm_extension.server.replies import Reply, plain

WAIT_SECONDS = 10


class PlayedBody:
    """Bytes are a piece, an error is raised, a function is called on the way."""

    def __init__(self, steps: list[Any], closed: Queue[Any]) -> None:
        self._steps = iter(steps)
        self._closed = closed

    def read(self) -> bytes:
        for step in self._steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, bytes):
                return step
            step()
        return b""

    def close(self) -> None:
        self._closed.put(self)


class Api:
    """Answers by the target: pieces where a test has said some, else its name."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[Any]] = {}
        self.status = 200
        self.closed: Queue[Any] = Queue()
        self.ended: Queue[int] = Queue()
        self.taken: list[int] = []

    def serve_request(self, request: http1.Request, body: bytes, *, connection: int) -> Reply:
        self.taken.append(len(body))
        steps = self.bodies.get(request.target)
        if steps is None:
            return plain(200, request.target.encode())
        headers = [("content-type", "text/event-stream"), ("x-a", "1")]
        return Reply(self.status, headers, b"", PlayedBody(steps, self.closed))

    def disconnected(self, connection: int) -> None:
        self.ended.put(connection)


class Served:
    def __init__(self) -> None:
        self.api = Api()
        self.logged: list[str] = []
        listener = listen(0)
        self.port = listener.getsockname()[1]
        self._connections: list[http.client.HTTPConnection] = []
        self.server = Server(listener, "token", self.api, self.logged.append)
        self.server.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_SECONDS)

    def request(self, target: str, method: str = "POST", body: bytes | None = b"{}") -> bytes:
        return http1.encode_request(method, target, [("host", f"127.0.0.1:{self.port}")], body)

    def client(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        self._connections.append(connection)
        return connection

    def ask(self, target: str) -> http.client.HTTPResponse:
        connection = self.client()
        connection.request("POST", target, b"{}")
        return connection.getresponse()

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self.server.close()

    def wait_closed(self) -> None:
        self.api.closed.get(timeout=WAIT_SECONDS)


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


def rest(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(65_536):
        received += data
    return received


def test_pieces_are_sent_as_they_come_with_the_apis_headers(served: Served) -> None:
    go = threading.Event()
    served.api.bodies["/a"] = [b"one", lambda: go.wait(WAIT_SECONDS), b"two", b"x" * 300_000]
    reply = served.ask("/a")

    assert (reply.status, reply.headers["x-a"]) == (200, "1")
    assert reply.read(3) == b"one"
    go.set()
    assert reply.read() == b"two" + b"x" * 300_000
    served.wait_closed()


def test_a_connection_goes_on_behind_a_whole_body(served: Served) -> None:
    served.api.bodies["/a"] = [b"one"]
    connection = served.client()
    for target, body in (("/a", b"one"), ("/b", b"/b"), ("/a", b"one")):
        connection.request("POST", target, b"{}")
        assert connection.getresponse().read() == body
    connection.close()

    assert served.api.ended.get(timeout=WAIT_SECONDS) == 1


def test_requests_that_came_together_are_answered_in_their_order(served: Served) -> None:
    served.api.bodies["/a"] = [b"one", b"two"]
    with served.connect() as connection:
        connection.sendall(b"".join(map(served.request, ("/a", "/b", "/a", "/c"))))
        reader = http1.Reader(requests=False)
        bodies = []
        for _ in range(3):
            reader.expect("POST")
            bodies.append(http1.receive(reader, connection.recv)[1])

    assert bodies == [b"onetwo", b"/b", b"onetwo"]


@pytest.mark.parametrize("error", [errors.ProviderError("cut"), errors.SettingError("cut")])
def test_a_body_that_is_cut_is_not_ended_properly(
    served: Served, error: errors.ExtensionError
) -> None:
    served.api.bodies["/a"] = [b"one", error]
    with pytest.raises(http.client.IncompleteRead) as caught:
        served.ask("/a").read()

    assert caught.value.partial == b"one"
    served.wait_closed()
    assert served.logged == []


def test_a_fault_ends_its_connection_with_a_sentence_and_no_other(served: Served) -> None:
    served.api.bodies["/a"] = [b"one", ZeroDivisionError("by zero")]
    with pytest.raises(http.client.IncompleteRead):
        served.ask("/a").read()

    served.wait_closed()
    assert served.api.ended.get(timeout=WAIT_SECONDS) == 1
    assert served.logged == ["The localhost API failed: ZeroDivisionError: by zero"]
    assert served.ask("/b").read() == b"/b"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 204), ("POST", 304)])
def test_where_there_is_no_body_none_is_sent_and_the_connection_goes_on(
    served: Served, method: str, status: int
) -> None:
    served.api.bodies["/a"] = [b"one"]
    served.api.status = status
    connection = served.client()
    for _ in range(2):
        connection.request(method, "/a")
        reply = connection.getresponse()
        assert (reply.status, reply.read(), reply.headers["x-a"]) == (status, b"", "1")
        served.wait_closed()


def test_a_whole_reply_to_head_has_no_body_either(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(served.request("/b", "HEAD", None) + served.request("/b", "GET", None))
        reader = http1.Reader(requests=False)
        bodies = []
        for method in ("HEAD", "GET"):
            reader.expect(method)
            bodies.append(http1.receive(reader, connection.recv)[1])

    assert bodies == [b"", b"/b"]


# Readers


def test_a_slow_reader_gets_all_of_it(served: Served) -> None:
    pieces = [b"%06d" % number * 20_000 for number in range(100)]  # 12 MB: no buffer holds them
    there = threading.Event()
    served.api.bodies["/a"] = [*pieces[:3], there.set, *pieces[3:]]
    with served.connect() as connection:
        connection.sendall(served.request("/a"))
        assert there.wait(WAIT_SECONDS)
        reader = http1.Reader(requests=False)
        reader.expect("POST")
        _, body = http1.receive(reader, connection.recv)

    assert body == b"".join(pieces)
    served.wait_closed()


def test_a_reader_that_takes_nothing_any_more_has_gone(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_http, "SEND_SECONDS", 0.05)

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65_536

    served.api.bodies["/a"] = endless()  # type: ignore[assignment]
    with served.connect() as connection:
        connection.sendall(served.request("/a"))
        served.wait_closed()
        assert served.api.ended.get(timeout=WAIT_SECONDS) == 1


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
@pytest.mark.parametrize("goes", ["close", "reset"])
def test_readers_that_go_in_the_middle_leave_nothing_behind(served: Served, goes: str) -> None:
    """Each is noticed at the next piece; its body is closed, its thread and descriptors end."""
    left = threading.Semaphore(0)

    def wait_until_left() -> None:
        left.acquire(timeout=WAIT_SECONDS)

    def pieces() -> Iterator[Any]:
        yield b"one"
        yield wait_until_left
        while True:
            yield b"x" * 100

    others = threading.enumerate()
    before = descriptors()
    for number in range(1, 201):
        served.api.bodies["/a"] = pieces()  # type: ignore[assignment]
        with served.connect() as connection:
            connection.sendall(served.request("/a"))
            assert connection.recv(4_096)
            if goes == "reset":
                linger = b"\1\0\0\0\0\0\0\0"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        left.release()
        served.wait_closed()
        assert served.api.ended.get(timeout=WAIT_SECONDS) == number

    for thread in threading.enumerate():
        if thread not in others:
            thread.join(WAIT_SECONDS)
    assert descriptors() == before
    assert [thread for thread in threading.enumerate() if thread not in others] == []
    assert served.logged == []


def test_many_streams_at_once_do_not_mix(served: Served) -> None:
    together = threading.Barrier(32)
    for number in range(32):
        piece = b"%d;" % number
        served.api.bodies[f"/{number}"] = [piece, together.wait, *[piece] * 50]
    replies: dict[int, bytes] = {}

    def ask(number: int) -> None:
        replies[number] = served.ask(f"/{number}").read()

    threads = [threading.Thread(target=ask, args=[number]) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)

    assert replies == {number: b"%d;" % number * 51 for number in range(32)}


# Requests


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(served: Served) -> None:
    head = served.request("/b", body=None).replace(
        b"\r\n\r\n", b"\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
    )
    with served.connect() as connection:
        connection.sendall(head)
        assert connection.recv(4_096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert connection.recv(4_096).startswith(b"HTTP/1.1 200")

    assert served.api.taken == [5]


TOO_LONG = http1.BODY_MAX_BYTES + 1_048_576


def chunked(connection: socket.socket, head: bytes) -> None:
    connection.sendall(head.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n"))
    piece = http1.encode_chunk(bytes(1_048_576))
    for _ in range(TOO_LONG // 1_048_576):
        connection.sendall(piece)
    connection.sendall(http1.encode_last_chunk())


def measured(connection: socket.socket, head: bytes) -> None:
    connection.sendall(head.replace(b"\r\n\r\n", b"\r\ncontent-length: %d\r\n\r\n" % TOO_LONG))
    connection.sendall(bytes(TOO_LONG))


@pytest.mark.parametrize("send", [chunked, measured])
def test_a_body_that_is_too_long_is_refused_and_its_sender_reads_so(
    served: Served, send: Callable[[socket.socket, bytes], None]
) -> None:
    """It may send all of it before it reads: a reset would take the refusal away from it."""
    with served.connect() as connection:
        send(connection, served.request("/b", body=None))
        received = rest(connection)

    assert received.startswith(b"HTTP/1.1 413 ")
    assert served.api.taken == []
    assert served.api.ended.get(timeout=WAIT_SECONDS) == 1


def test_a_head_of_a_megabyte_is_refused_and_its_sender_reads_so(served: Served) -> None:
    with served.connect() as connection:
        request = served.request("/b", body=None)
        connection.sendall(request.replace(b"\r\n\r\n", b"\r\nx-long: " + b"x" * 1_000_000))
        received = rest(connection)

    assert received.startswith(b"HTTP/1.1 431 ")
    assert served.api.taken == []


def test_a_refused_sender_that_never_ends_is_left(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_http, "LINGER_SECONDS", 0.05)
    with served.connect() as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert served.api.ended.get(timeout=WAIT_SECONDS) == 1
        with contextlib.suppress(ConnectionResetError):
            assert rest(connection).startswith(b"HTTP/1.1 400 ")
