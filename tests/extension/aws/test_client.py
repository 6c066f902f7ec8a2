"""The client against real sockets: what it sends, keeps, drops, and how it says what failed."""

import os
import socket
import threading
import time

import pytest

from lambdallm_extension.aws.client import AnswerLostError, NotSentError
from lambdallm_extension.errors import DeadlineError
from lambdallm_extension.http_client import pool
from lambdallm_extension.settings import SystemClock

HEADERS = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "T.Op")]


def soon(seconds: float = 10.0) -> int:
    return SystemClock().epoch_ms() + int(seconds * 1000)


def answer_all(line):
    while True:
        line.read()
        line.reply()


def test_a_request_is_signed_and_its_reply_comes_back_whole(serve, connect):
    def behave(line):
        line.read()
        line.reply(b'{"a": 1}', 418, [("x-amzn-requestid", "r-1")])

    peer = serve(behave)
    reply = connect(peer.port).post("/model/a%3Ab/x", HEADERS, b"body", deadline_ms=soon())

    assert (reply.status, reply.body) == (418, b'{"a": 1}')
    assert reply.header("x-amzn-requestid") == "r-1"
    ((head, body),) = peer.requests
    assert (head.method, head.target, body) == ("POST", "/model/a%3Ab/x", b"body")
    assert head.header("host") == f"127.0.0.1:{peer.port}"
    assert head.header("x-amz-target") == "T.Op"
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-target" in head.header("authorization")


def test_an_endpoints_own_path_stands_before_the_requests(serve, connect):
    peer = serve(answer_all)

    connect(f"http://127.0.0.1:{peer.port}/base/").post("/x", HEADERS, b"", deadline_ms=soon())

    assert peer.requests[0][0].target == "/base/x"


def test_one_connection_carries_many_requests(serve, connect):
    peer = serve(answer_all)
    client = connect(peer.port)

    for _ in range(5):
        client.post("/", HEADERS, b"", deadline_ms=soon())

    assert (len(peer.requests), peer.connections) == (5, 1)


def test_a_connection_that_the_peer_closes_after_its_reply_is_not_kept(serve, connect):
    def behave(line):
        line.read()
        line.reply(headers=[("connection", "close")])

    peer = serve(behave)
    client = connect(peer.port)

    for _ in range(3):
        assert client.post("/", HEADERS, b"", deadline_ms=soon()).status == 200

    assert peer.connections == 3


def test_a_connection_that_was_closed_while_idle_is_noticed_before_it_is_used(serve, connect):
    closed = threading.Event()

    def behave(line):
        line.read()
        line.reply()
        if line.number == 1:
            line.socket.close()
            closed.set()
        else:
            answer_all(line)

    peer = serve(behave)
    client = connect(peer.port)
    client.post("/", HEADERS, b"", deadline_ms=soon())
    assert closed.wait(5)

    # Not idempotent: this would be an AnswerLostError if the dead connection were used.
    assert client.post("/", HEADERS, b"", deadline_ms=soon()).status == 200
    assert peer.connections == 2


def test_bytes_that_nobody_asked_for_end_a_connection(serve, connect):
    sent = threading.Event()

    def behave(line):
        line.read()
        line.reply()
        line.socket.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong")
        sent.set()
        answer_all(line)

    peer = serve(behave)
    client = connect(peer.port)
    client.post("/", HEADERS, b"", deadline_ms=soon())
    assert sent.wait(5)

    assert client.post("/", HEADERS, b"", deadline_ms=soon()).body == b"{}"


@pytest.mark.parametrize("age_ms", [pool.IDLE_AGE_MAX_MS + 1, -1])
def test_after_a_freeze_an_idle_connection_is_judged_by_the_wall_clock(
    serve, connect, hand_clock, age_ms
):
    peer = serve(answer_all)
    client = connect(peer.port, hand_clock)
    client.post("/", HEADERS, b"", deadline_ms=hand_clock.now_ms + 10_000)

    hand_clock.now_ms += age_ms
    client.post("/", HEADERS, b"", deadline_ms=hand_clock.now_ms + 10_000)

    assert peer.connections == 2


@pytest.mark.parametrize("which", ["monotonic", "boottime"])
def test_another_clock_than_the_wall_s_may_be_the_one_that_saw_the_freeze(
    serve, connect, hand_clock, which
):
    peer = serve(answer_all)
    client = connect(peer.port, hand_clock)
    client.post("/", HEADERS, b"", deadline_ms=hand_clock.now_ms + 10_000)

    hand_clock.jump(which, pool.IDLE_AGE_MAX_MS / 1_000 + 1)
    client.post("/", HEADERS, b"", deadline_ms=hand_clock.now_ms + 10_000)

    assert peer.connections == 2


def test_an_answer_that_is_cut_is_lost_even_where_sending_twice_does_no_harm(serve, connect):
    def behave(line):
        line.read()
        line.reply()
        line.read()
        line.socket.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")

    peer = serve(behave)
    client = connect(peer.port)
    client.post("/", HEADERS, b"", deadline_ms=soon())

    with pytest.raises(AnswerLostError) as caught:
        client.post("/", HEADERS, b"", deadline_ms=soon(), idempotent=True)

    assert not caught.value.silent


def test_an_answer_that_is_no_http_is_lost(serve, connect):
    def behave(line):
        line.read()
        line.socket.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

    with pytest.raises(AnswerLostError):
        connect(serve(behave).port).post("/", HEADERS, b"", deadline_ms=soon())


def test_a_reset_is_a_lost_answer(serve, connect):
    def behave(line):
        line.read()
        line.reset()

    with pytest.raises(AnswerLostError):
        connect(serve(behave).port).post("/", HEADERS, b"", deadline_ms=soon())


def test_a_request_that_cannot_leave_whole_was_not_sent(serve, connect):
    def behave(line):
        line.socket.recv(100)
        line.reset()

    with pytest.raises(NotSentError):
        connect(serve(behave).port).post("/", HEADERS, bytes(30_000_000), deadline_ms=soon())


def test_nobody_listening_means_that_nothing_was_sent(connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(NotSentError, match=f"127.0.0.1:{port}"):
        connect(port).post("/", HEADERS, b"", deadline_ms=soon())


def test_a_name_that_does_not_resolve_means_that_nothing_was_sent(connect):
    label = "x" * 70  # Longer than a label may be: refused without asking anybody.

    with pytest.raises(NotSentError):
        connect(f"http://{label}.invalid").post("/", HEADERS, b"", deadline_ms=soon())


def test_after_the_deadline_nothing_is_sent(serve, connect):
    peer = serve(answer_all)

    with pytest.raises(DeadlineError):
        connect(peer.port).post("/", HEADERS, b"", deadline_ms=soon(-1))

    assert peer.requests == []


def test_the_deadline_bounds_the_wait_for_an_answer(serve, connect):
    peer = serve(lambda line: (line.read(), line.wait_for_end()))
    started = time.monotonic()

    with pytest.raises(AnswerLostError):
        connect(peer.port).post("/", HEADERS, b"", deadline_ms=soon(0.1))

    assert time.monotonic() - started < 5


def test_the_read_timeout_bounds_the_wait_for_an_answer(serve, connect):
    peer = serve(lambda line: (line.read(), line.wait_for_end()))
    started = time.monotonic()

    with pytest.raises(AnswerLostError):
        connect(peer.port).post("/", HEADERS, b"", deadline_ms=soon(60), read_timeout_seconds=0.05)

    assert time.monotonic() - started < 5


def test_the_deadline_bounds_an_answer_that_drips(serve, connect):
    stop = threading.Event()

    def behave(line):
        line.read()
        while not stop.wait(0.01):
            line.socket.sendall(b"H")

    peer = serve(behave)
    started = time.monotonic()

    with pytest.raises(AnswerLostError):
        connect(peer.port).post("/", HEADERS, b"", deadline_ms=soon(0.1))

    assert time.monotonic() - started < 5
    stop.set()


def test_no_more_connections_are_open_than_allowed(serve, connect):
    gate, crowd = threading.Event(), pool.CONNECTIONS_MAX + 16

    def behave(line):
        while True:
            line.read()
            gate.wait(10)
            line.reply()

    peer = serve(behave)
    client = connect(peer.port)
    replies = []
    threads = [
        threading.Thread(
            target=lambda: replies.append(client.post("/", HEADERS, b"", deadline_ms=soon(30)))
        )
        for _ in range(crowd)
    ]
    for thread in threads:
        thread.start()
    while len(peer.requests) < pool.CONNECTIONS_MAX:
        time.sleep(0.001)
    open_at_once = peer.connections
    gate.set()
    for thread in threads:
        thread.join()

    assert open_at_once == pool.CONNECTIONS_MAX
    assert [reply.status for reply in replies] == [200] * crowd


def test_reopen_opens_a_connection_that_the_next_call_uses(serve, connect):
    peer = serve(answer_all)
    client = connect(peer.port)

    client.reopen()
    while peer.connections == 0:
        time.sleep(0.001)
    client.reopen()
    while not client._http._pool._idle:
        time.sleep(0.001)
    client.post("/", HEADERS, b"", deadline_ms=soon())

    assert peer.connections == 1


def test_reopen_replaces_a_connection_that_died(serve, connect):
    closed = threading.Event()

    def behave(line):
        if line.number == 1:
            line.read()
            line.reply()
            line.socket.close()
            closed.set()
        else:
            answer_all(line)

    peer = serve(behave)
    client = connect(peer.port)
    client.post("/", HEADERS, b"", deadline_ms=soon())
    assert closed.wait(5)

    client.reopen()
    while peer.connections < 2:
        time.sleep(0.001)


def test_reopen_of_what_cannot_be_reached_says_nothing(connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = connect(port)

    client.reopen()

    with pytest.raises(NotSentError):
        client.post("/", HEADERS, b"", deadline_ms=soon())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_opens_its_own_connection(serve, connect):
    peer = serve(answer_all)
    client = connect(peer.port)
    client.post("/", HEADERS, b"parent", deadline_ms=soon())
    read_end, write_end = os.pipe()

    child = os.fork()
    if child == 0:
        try:
            reply = client.post("/", HEADERS, b"child", deadline_ms=soon())
            os.write(write_end, b"%d" % reply.status)
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert os.read(read_end, 10) == b"200"
    assert peer.connections == 2
    assert client.post("/", HEADERS, b"parent", deadline_ms=soon()).status == 200
    assert peer.connections == 2
    os.close(read_end)
    os.close(write_end)
