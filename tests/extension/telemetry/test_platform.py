"""The listener for bills: what it takes, what it refuses, and that nothing there hurts anybody."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fakes.waiting import until
from lambda_runtime_api import http1
from lambda_runtime_api.extensions import ExtensionClient
from lambda_runtime_api.telemetry import BYTES_MAX, Report, RuntimeDone
from lambdallm_extension.telemetry import platform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPORT = {
    "type": "platform.report",
    "record": {
        "requestId": "r1",
        "status": "success",
        "metrics": {"billedDurationMs": 5, "memorySizeMB": 128},
    },
}


class Listening:
    """The listener, and what it has taken."""

    def __init__(self) -> None:
        self.taken: list[Report | RuntimeDone] = []
        self.said: list[str] = []
        self.fault: Exception | None = None
        self.listener = platform.listen("127.0.0.1")
        self.port = self.listener.getsockname()[1]
        arguments = (self.listener, "/", self._take, self.said.append)
        threading.Thread(target=platform.serve, args=arguments, daemon=True).start()

    def _take(self, events: list[Report | RuntimeDone]) -> None:
        if self.fault is not None:
            raise self.fault
        self.taken += events

    def send(self, raw: bytes) -> bytes:
        """Send bytes, and return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            try:
                connection.sendall(raw)
                answer = b""
                while piece := connection.recv(65_536):
                    answer += piece
            except ConnectionError:
                return b""
        return answer

    def post(self, body: bytes, method: str = "POST") -> int:
        host = [("host", f"sandbox.localdomain:{self.port}")]
        answer = self.send(http1.encode_request(method, "/", host, body))
        return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.fixture
def listening() -> Iterator[Listening]:
    opened = Listening()
    yield opened
    opened.listener.close()


def test_a_batch_is_taken(listening: Listening) -> None:
    assert listening.post(json.dumps([{"type": "platform.start"}, REPORT]).encode()) == 200
    assert listening.taken == [Report("r1", "success", 5, 128)]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"405"),
        (b"POST /other HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n[]", b"404"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n[1,", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n\xff\xff", b"400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nx: " + b"y" * platform.HEAD_MAX_BYTES, b"431"),
    ],
)
def test_what_is_no_batch_is_refused_and_the_next_one_is_taken(
    listening: Listening, raw: bytes, status: bytes
) -> None:
    assert listening.send(raw).split(b" ", 2)[1:2] in ([status], [])
    assert listening.post(json.dumps([REPORT]).encode()) == 200
    assert len(listening.taken) == 1
    assert listening.said == []


def test_a_batch_as_large_as_any_is_taken_and_a_larger_one_is_not(listening: Listening) -> None:
    start = {"type": "platform.start", "record": {"requestId": "x" * 100}}
    many = [start] * (2 * BYTES_MAX // len(json.dumps(start)))

    assert listening.post(json.dumps([*many, REPORT]).encode()) == 200
    assert listening.post(b"[" + b" " * platform.BODY_MAX_BYTES + b"]") in (413, 0)
    assert len(listening.taken) == 1
    assert listening.post(json.dumps([REPORT]).encode()) == 200


@pytest.mark.parametrize("depth", [100_000])
def test_what_is_nested_too_deeply_is_refused(listening: Listening, depth: int) -> None:
    assert listening.post(b"[" * depth) == 400
    assert listening.post(json.dumps([REPORT]).encode()) == 200


def test_one_who_connects_and_says_nothing_holds_it_up_for_a_second_at_most(
    listening: Listening,
) -> None:
    with (
        socket.create_connection(("127.0.0.1", listening.port), 10) as silent,
        socket.create_connection(("127.0.0.1", listening.port), 10) as slow,
    ):
        slow.sendall(b"POST / HTTP/1.1\r\n")

        assert listening.post(json.dumps([REPORT]).encode()) == 200
        assert silent.recv(1) == b""


def test_a_fault_of_ours_is_told_and_ends_nothing(listening: Listening) -> None:
    listening.fault = RuntimeError("no store")
    assert listening.post(json.dumps([REPORT]).encode()) == 0
    assert listening.said == ["A bill could not be read (RuntimeError: no store)."]

    listening.fault = None
    assert listening.post(json.dumps([REPORT]).encode()) == 200


def test_a_closed_listener_ends_its_thread() -> None:
    listener = platform.listen("127.0.0.1")
    ended = threading.Event()

    def serve() -> None:
        platform.serve(listener, "/", lambda _events: None, lambda _sentence: None)
        ended.set()

    threading.Thread(target=serve, daemon=True).start()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()

    assert ended.wait(5)


@pytest.mark.parametrize(
    ("hosts", "address"),
    [
        ("169.254.76.1 sandbox.localdomain sandbox\n", "169.254.76.1"),
        ("127.0.0.1 localhost\n\n# 1.2.3.4 sandbox.localdomain\n", "127.0.0.1"),
        ("fd00::1 sandbox.localdomain\n127.0.0.9 a sandbox.localdomain # ours\n", "127.0.0.9"),
        ("\xff\xfe", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_where_the_platform_reaches_us(tmp_path: Path, hosts: str, address: str) -> None:
    (tmp_path / "hosts").write_bytes(hosts.encode("latin-1"))

    for port in (9_001, 1):
        assert platform.address(port, str(tmp_path / "hosts")) == address
        assert platform.address(port, str(tmp_path / "none")) == "127.0.0.1"


class Api:
    """A Telemetry API of one answer; None: it takes the request, and never answers."""

    def __init__(self, status: int | None, body: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._kept = [self._listener]
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[Any] = []
        self._answer = (status, body)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        self._kept.append(connection)
        self.asked.append(http1.receive(http1.Reader(requests=True), connection.recv))
        status, body = self._answer
        if status is not None:
            connection.sendall(http1.encode_response(status, [], body))

    def close(self) -> None:
        for opened in self._kept:
            opened.close()


@pytest.mark.parametrize(
    ("status", "body", "subscribed", "said"),
    [
        (200, b'"OK"', True, 0),
        (202, b'{"errorType":"Telemetry.NotSupported","errorMessage":"no"}', False, 0),
        (403, b'{"errorType":"Telemetry.SubscriptionClosed","errorMessage":"late"}', False, 1),
        (400, b"\x00", False, 1),
        (500, b"", False, 1),
        (None, b"", False, 1),
    ],
)
def test_a_subscription_that_fails_costs_one_sentence_where_it_is_not_usual(
    status: int | None, body: bytes, subscribed: bool, said: int
) -> None:
    api, sentences = Api(status, body), list[str]()
    client = ExtensionClient(api.address, "me")

    assert platform.subscribe(client, lambda _events: None, sentences.append) is subscribed
    assert len(sentences) == said
    ((request, asked),) = api.asked
    assert (request.method, request.target) == ("PUT", "/2022-07-01/telemetry")
    assert request.header("lambda-extension-identifier") == "me"
    port, path = json.loads(asked)["destination"]["URI"].rpartition(":")[2].split("/")
    with socket.socket() as probe:
        assert (probe.connect_ex(("127.0.0.1", int(port))) == 0) is subscribed
    assert len(path) == 32, "nobody else guesses it"
    client.close()
    api.close()


def test_where_nobody_listens_nothing_is_raised() -> None:
    sentences: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    client = ExtensionClient(address, "me")

    assert not platform.subscribe(client, lambda _events: None, sentences.append)
    until(lambda: len(sentences) == 1)
