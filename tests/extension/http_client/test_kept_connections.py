"""A kept connection that has died unnoticed: replaced where sending twice does no harm."""

import pytest

from lambdallm_extension.aws.client import AnswerLostError
from lambdallm_extension.settings import SystemClock

HEADERS = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "T.Op")]


def soon(seconds: float = 10.0) -> int:
    return SystemClock().epoch_ms() + int(seconds * 1000)


def close_second_request_unanswered(line):
    """Answer the first request; read the second one of connection 1 and close without a byte."""
    line.read()
    line.reply()
    line.read()
    if line.number > 1:
        line.reply()


def test_a_stale_connection_is_replaced_once_where_sending_twice_does_no_harm(serve, connect):
    peer = serve(close_second_request_unanswered)
    client = connect(peer.port)
    client.post("/", HEADERS, b"1", deadline_ms=soon())

    reply = client.post("/", HEADERS, b"2", deadline_ms=soon(), idempotent=True)

    assert reply.status == 200
    assert [body for _, body in peer.requests] == [b"1", b"2", b"2"]


def test_a_connection_that_the_network_forgot_is_replaced_after_a_second(serve, connect):
    def behave(line):
        line.read()
        line.reply()
        if line.number == 1:
            line.read()  # and nothing comes: a NAT gateway has forgotten the connection
            line.socket.recv(1)

    peer = serve(behave)
    client = connect(peer.port)
    client.post("/", HEADERS, b"1", deadline_ms=soon())

    reply = client.post("/", HEADERS, b"2", deadline_ms=soon(), idempotent=True)

    assert reply.status == 200
    assert peer.connections == 2


def test_an_answer_stays_lost_when_the_second_sending_cannot_leave(serve, connect):
    """What was sent first may have been processed, whatever becomes of the repetition."""
    peer = serve(close_second_request_unanswered)
    client = connect(peer.port)
    client.post("/", HEADERS, b"1", deadline_ms=soon())
    peer.refuse()

    with pytest.raises(AnswerLostError):
        client.post("/", HEADERS, b"2", deadline_ms=soon(), idempotent=True)


def test_a_stale_connection_is_not_replaced_where_sending_twice_might_do_harm(serve, connect):
    peer = serve(close_second_request_unanswered)
    client = connect(peer.port)
    client.post("/", HEADERS, b"1", deadline_ms=soon())

    with pytest.raises(AnswerLostError):
        client.post("/", HEADERS, b"2", deadline_ms=soon())

    assert [body for _, body in peer.requests] == [b"1", b"2"]


def test_a_fresh_connection_that_is_closed_unanswered_is_not_retried(serve, connect):
    peer = serve(lambda line: line.read())

    with pytest.raises(AnswerLostError) as caught:
        connect(peer.port).post("/", HEADERS, b"", deadline_ms=soon(), idempotent=True)

    assert caught.value.silent
    assert len(peer.requests) == 1
