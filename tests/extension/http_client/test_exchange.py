"""Replies that are read as they come, over real sockets: whole, cut, silent, kept, let go of."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fakes.clocks import HandClock
from lambda_runtime_api import http1
from lambdallm_extension.http_client.client import AnswerLostError, Exchange, HttpClient
from lambdallm_extension.http_client.pool import CONNECTIONS_MAX
from lambdallm_extension.http_client.urls import Url
from lambdallm_extension.settings import SystemClock

CHUNKED = [("transfer-encoding", "chunked")]
REQUEST = http1.encode_request("POST", "/", [("host", "peer")], b"{}")


@pytest.fixture
def client() -> Iterator[Callable[..., HttpClient]]:
    clients: list[HttpClient] = []

    def make(port: int, clock: Any = None) -> HttpClient:
        url = Url("http", "127.0.0.1", port)
        clients.append(HttpClient("peer", lambda: url, {}, clock or SystemClock()))
        return clients[-1]

    yield make
    for made in clients:
        made.close()


def open_exchange(
    client: HttpClient, seconds: float = 10.0, read_seconds: float = 5.0, method: str = "POST"
) -> Exchange:
    deadline_ms = SystemClock().epoch_ms() + round(seconds * 1_000)
    patience = client.patience(deadline_ms, read_seconds=read_seconds)
    request = REQUEST.replace(b"POST", method.encode(), 1)
    return client.open(method, request, patience)


def head(line: Any, status: int = 200, headers: Any = CHUNKED) -> None:
    line.read()
    line.socket.sendall(http1.encode_response(status, headers, None))


def chunks(line: Any, *pieces: bytes, end: bool = True) -> None:
    for piece in pieces:
        line.socket.sendall(http1.encode_chunk(piece))
    if end:
        line.socket.sendall(http1.encode_last_chunk())


def test_a_piece_is_handed_out_when_it_comes_and_not_when_all_has(serve, client) -> None:
    go = threading.Event()

    def behave(line: Any) -> None:
        head(line, 201, [*CHUNKED, ("X-A", "1")])
        chunks(line, b"one", end=False)
        go.wait(10)
        chunks(line, b"two")

    exchange = open_exchange(client(serve(behave).port))

    assert (exchange.status, exchange.header("x-a"), exchange.header("x-b")) == (201, "1", "")
    assert exchange.read() == b"one"
    go.set()
    assert (exchange.read(), exchange.read(), exchange.read()) == (b"two", b"", b"")


def test_pieces_that_came_together_are_handed_out_together(serve, client) -> None:
    def behave(line: Any) -> None:
        line.read()
        answer = http1.encode_response(200, CHUNKED, None)
        answer += b"".join(map(http1.encode_chunk, (b"one", b"two", b"three")))
        line.socket.sendall(answer + http1.encode_last_chunk())

    exchange = open_exchange(client(serve(behave).port))

    assert [exchange.read(), exchange.read()] == [b"onetwothree", b""]


def test_a_connection_is_used_again_after_a_whole_body_and_only_then(serve, client) -> None:
    def behave(line: Any) -> None:
        while True:
            head(line)
            chunks(line, b"one", b"two")

    peer = serve(behave)
    asking = client(peer.port)
    assert open_exchange(asking).read_all(100) == b"onetwo"
    assert open_exchange(asking).read_all(100) == b"onetwo"
    assert peer.connections == 1

    early = open_exchange(asking)
    early.read()
    early.close()
    early.close()
    assert early.read() == b""
    assert open_exchange(asking).read_all(100) == b"onetwo"
    assert peer.connections == 2, "nobody else gets the rest of an answer that was left"


@pytest.mark.parametrize(
    "sent",
    [
        b"5\r\nhello\r\n",
        b"5\r\nhel",
        b"5\r\nhello\r\n0\r\n",
        b"5\r\nhello\r\nnonsense\r\n",
        b"5\r\nhelloworld\r\n0\r\n\r\n",
    ],
)
def test_a_body_that_is_cut_or_broken_is_lost_after_what_came(serve, client, sent: bytes) -> None:
    def behave(line: Any) -> None:
        head(line)
        line.socket.sendall(sent)

    exchange = open_exchange(client(serve(behave).port))
    received: list[bytes] = []
    with pytest.raises(AnswerLostError):
        received.extend(iter(exchange.read, b""))

    assert b"hello".startswith(b"".join(received))
    assert exchange.read() == b"", "it is let go of"


def test_a_reset_in_the_middle_is_a_lost_answer(serve, client) -> None:
    def behave(line: Any) -> None:
        head(line)
        chunks(line, b"one", end=False)
        line.socket.recv(1)
        line.reset()

    exchange = open_exchange(client(serve(behave).port))
    assert exchange.read() == b"one"
    exchange._connection._socket.sendall(b"x")  # type: ignore[union-attr]
    with pytest.raises(AnswerLostError):
        exchange.read()


@pytest.mark.parametrize(("seconds", "read_seconds"), [(10, 0.05), (0.2, 10)])
def test_silence_is_cut_by_the_read_timeout_or_the_deadline(
    serve, client, seconds: float, read_seconds: float
) -> None:
    def behave(line: Any) -> None:
        head(line)
        chunks(line, b"one", end=False)
        line.wait_for_end()

    exchange = open_exchange(client(serve(behave).port), seconds, read_seconds)
    assert exchange.read() == b"one"
    with pytest.raises(AnswerLostError, match="did not answer in time"):
        exchange.read()


def test_a_head_that_does_not_come_is_a_lost_answer(serve, client) -> None:
    peer = serve(lambda line: (line.read(), line.wait_for_end()))
    with pytest.raises(AnswerLostError):
        open_exchange(client(peer.port), read_seconds=0.05)


def test_limits_may_change_on_the_way(serve, client) -> None:
    clock, extended = HandClock(), threading.Event()

    def behave(line: Any) -> None:
        head(line)
        chunks(line, b"one", end=False)
        extended.wait(10)
        chunks(line, b"two", end=False)
        line.wait_for_end()

    asking = client(serve(behave).port, clock)
    patience = asking.patience(clock.now_ms + 1_000, read_seconds=5)
    exchange = asking.open("POST", REQUEST, patience)
    assert exchange.read() == b"one"
    clock.now_ms += 2_000
    exchange.extend(clock.now_ms + 60_000, 0.5)
    extended.set()
    assert exchange.read() == b"two", "it has more time now"
    with pytest.raises(AnswerLostError):
        exchange.read()


def test_bytes_that_nobody_asked_for_are_no_part_of_the_next_answer(serve, client) -> None:
    def behave(line: Any) -> None:
        head(line)
        line.socket.sendall(
            b"3\r\none\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong"
        )
        line.wait_for_end()

    peer = serve(behave)
    asking = client(peer.port)
    assert open_exchange(asking).read_all(100) == b"one"
    assert open_exchange(asking).read_all(100) == b"one"
    assert peer.connections == 2


def test_a_body_until_the_peer_closes_ends_there_and_its_connection_is_not_kept(
    serve, client
) -> None:
    def behave(line: Any) -> None:
        head(line, headers=[])
        line.socket.sendall(b"all of it")

    peer = serve(behave)
    asking = client(peer.port)
    for _ in range(2):
        assert open_exchange(asking).read_all(100) == b"all of it"
    assert peer.connections == 2


def test_a_connection_that_the_peer_will_close_is_not_kept(serve, client) -> None:
    def behave(line: Any) -> None:
        head(line, headers=[*CHUNKED, ("connection", "close")])
        chunks(line, b"one")
        line.wait_for_end()  # it is slow to do so

    peer = serve(behave)
    asking = client(peer.port)
    for _ in range(2):
        assert open_exchange(asking).read_all(100) == b"one"
    assert peer.connections == 2


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [("POST", 204, []), ("POST", 304, [("content-length", "7")]), ("HEAD", 200, CHUNKED),
     ("POST", 200, [("content-length", "0")])],
)  # fmt: skip
def test_an_answer_without_a_body_ends_at_once_and_keeps_its_connection(
    serve, client, method: str, status: int, headers: Any
) -> None:
    def behave(line: Any) -> None:
        while True:
            head(line, status, headers)

    peer = serve(behave)
    asking = client(peer.port)
    for _ in range(2):
        exchange = open_exchange(asking, method=method)
        assert (exchange.status, exchange.read()) == (status, b"")
    assert peer.connections == 1


def test_a_body_that_is_too_long_is_given_up(serve, client) -> None:
    def behave(line: Any) -> None:
        head(line)
        while True:
            chunks(line, b"x" * 50_000, end=False)

    exchange = open_exchange(client(serve(behave).port))
    with pytest.raises(AnswerLostError, match=r"longer than 100,000 bytes"):
        exchange.read_all(100_000)
    assert exchange.read() == b""


def test_a_kept_connection_that_has_died_is_replaced_before_anything_is_sent(serve, client) -> None:
    closed = threading.Event()

    def behave(line: Any) -> None:
        head(line)
        chunks(line, b"one")
        line.socket.close()
        closed.set()

    peer = serve(behave)
    asking = client(peer.port)
    for _ in range(2):
        assert open_exchange(asking).read_all(100) == b"one"
        assert closed.wait(5)
        closed.clear()
    assert [body for _, body in peer.requests] == [b"{}", b"{}"]


def test_as_many_at_once_as_there_are_connections_and_each_has_its_own_answer(
    serve, client
) -> None:
    all_there = threading.Barrier(CONNECTIONS_MAX)

    def behave(line: Any) -> None:
        head(line)
        own = b"%d;" % line.number
        all_there.wait(20)
        chunks(line, *[own] * 20)

    peer = serve(behave)
    asking = client(peer.port)
    answers: list[bytes] = []

    def ask() -> None:
        answers.append(open_exchange(asking, 30, 20).read_all(10_000))

    threads = [threading.Thread(target=ask) for _ in range(CONNECTIONS_MAX)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(answers) == sorted(b"%d;" % number * 20 for number in range(1, 65))
    assert peer.connections == CONNECTIONS_MAX


def test_permits_come_back_however_an_answer_ends(serve, client) -> None:
    """More exchanges than connections: whoever kept one would stop the others."""

    def behave(line: Any) -> None:
        head(line, headers=[*CHUNKED, ("connection", "close")])
        if line.number % 3 == 0:
            chunks(line, b"one", end=False)
        else:
            chunks(line, b"one")

    asking = client(serve(behave).port)
    for number in range(2 * CONNECTIONS_MAX):
        exchange = open_exchange(asking)
        if number % 2:
            exchange.close()
            continue
        try:
            assert exchange.read_all(100) == b"one"
        except AnswerLostError:
            continue
