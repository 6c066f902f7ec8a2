"""What `h11` sends we read alike, however the bytes are cut; what we send `h11` reads alike."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given, strategies as st

from fakes.h11_oracle import (
    Message,
    as_bytes,
    bodies,
    cut,
    cuts,
    header_lists,
    lower,
    methods,
    pieces,
    read,
    read_by_h11,
    sent_by_h11,
    statuses,
    targets,
    words,
)
from lambda_runtime_api import http1

# What h11 sends, we read.


@given(methods, targets, header_lists, bodies, cuts)
def test_a_request_with_a_length(method, target, headers, body, sizes) -> None:
    framed = [("Host", "h"), *headers, ("Content-Length", str(len(body)))]
    data = sent_by_h11(
        h11.Request(method=method, target=target, headers=as_bytes(framed)), [body], []
    )

    message = read(http1.Reader(requests=True), cut(data, sizes), end=False)

    assert message == Message((method, target), lower(framed), body, [])


@given(methods, targets, header_lists, pieces, header_lists, cuts)
def test_a_request_in_chunks(method, target, headers, data, trailers, sizes) -> None:
    framed = [("Host", "h"), *headers, ("Transfer-Encoding", "chunked")]
    head = h11.Request(method=method, target=target, headers=as_bytes(framed))

    message = read(
        http1.Reader(requests=True), cut(sent_by_h11(head, data, trailers), sizes), end=False
    )

    assert message == Message((method, target), lower(framed), b"".join(data), lower(trailers))


@given(pieces, st.sampled_from([b"", b"0\r\nContent-Length: 1\r\n\r\n", b"nonsense\r\n"]), cuts)
@example([b"one", b"two"], b"nonsense\r\n", [])
def test_what_has_arrived_of_a_body_is_read_at_once_and_a_fault_after_it(
    data, fault, sizes
) -> None:
    reader = http1.Reader(requests=False)
    reader.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    reader.read_head()
    framed = b"".join(map(http1.encode_chunk, data)) + (fault or http1.encode_last_chunk())
    received: list[bytes] = []
    refusals = 0

    for part in cut(framed, sizes):
        reader.feed(part)
        try:
            while arrived := reader.read_arrived():
                received.append(arrived)
        except http1.ProtocolError:
            refusals += 1

    assert b"".join(received) == b"".join(data)
    assert all(received), "nothing is the end alone"
    assert len(received) <= len(sizes) + 1, "one reading for all that came at once"
    assert bool(refusals) == bool(fault)
    assert fault or reader.read_arrived() == b""


@given(statuses, header_lists, pieces, header_lists, cuts)
def test_a_response_in_chunks(status, headers, data, trailers, sizes) -> None:
    if status in (204, 304):
        data, trailers = [], []
    framed = [*headers, ("Transfer-Encoding", "chunked")]
    head = h11.Response(status_code=status, headers=as_bytes(framed), reason=b"As it is")

    message = read(
        http1.Reader(requests=False), cut(sent_by_h11(head, data, trailers), sizes), end=False
    )

    assert message.line == (status, "As it is")
    assert (message.body, message.trailers) == (b"".join(data), lower(trailers))


@given(header_lists, bodies, cuts)
def test_a_response_that_lasts_until_the_peer_closes(headers, body, sizes) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(
        f"{name}: {value}\r\n".encode("latin-1") for name, value in headers
    )
    data = head + b"\r\n" + body

    message = read(http1.Reader(requests=False), cut(data, sizes))

    assert message == read_by_h11(data, requests=False)


@given(st.lists(st.tuples(methods, bodies), min_size=2, max_size=5), cuts)
def test_messages_one_after_the_other(messages, sizes) -> None:
    data = b"".join(
        http1.encode_request(method, "/", [("host", "h")], body) for method, body in messages
    )
    reader, parts = http1.Reader(requests=True), cut(data, sizes)
    waiting = iter(parts)

    received = [http1.receive(reader, lambda _: next(waiting)) for _ in messages]

    assert [(head.method, body) for head, body in received] == messages
    assert not reader.buffered


# What we send, h11 reads.


@given(methods, targets, header_lists, bodies)
def test_h11_reads_our_requests(method, target, headers, body) -> None:
    data = http1.encode_request(method, target, [("host", "h"), *headers], body)

    expected = [("host", "h"), *lower(headers), ("content-length", str(len(body)))]
    assert read_by_h11(data, requests=True) == Message((method, target), expected, body, [])


@given(statuses, header_lists, bodies, words)
def test_h11_reads_our_responses(status, headers, body, reason) -> None:
    data = http1.encode_response(status, headers, body, reason)

    message = read_by_h11(data, requests=False)

    assert message is not None
    assert message.line == (status, reason)
    assert message.body == (b"" if status in (204, 304) else body)


@given(header_lists, pieces, header_lists)
def test_h11_reads_our_chunks(headers, data, trailers) -> None:
    sent = (
        http1.encode_response(200, [*headers, ("transfer-encoding", "chunked")], None)
        + b"".join(map(http1.encode_chunk, data))
        + http1.encode_last_chunk(trailers)
    )

    message = read_by_h11(sent, requests=False)

    assert message is not None
    assert (message.body, message.trailers) == (b"".join(data), lower(trailers))


@given(st.text(max_size=10), st.text(max_size=10))
@example("x", "a\r\ny: b")
@example("x\r\ny", "b")
@example("x:", "")
@example("", "b")
@example("é", "")
def test_no_header_breaks_out_of_its_line(name, value) -> None:
    try:
        data = http1.encode_request("GET", "/", [("host", "h"), (name, value)])
    except http1.ProtocolError:
        return
    head = read(http1.Reader(requests=True), [data], end=False)
    assert head.headers == [("host", "h"), (name.lower(), value.strip(" \t"))]


@pytest.mark.parametrize(
    ("method", "target"), [("G T", "/"), ("", "/"), ("GÉT", "/"), ("GET", ""), ("GET", "/ x"),
                           ("GET", "/\r\nx: y"), ("GET", "/ü"), ("GET", "/Ā")]
)  # fmt: skip
def test_no_request_line_breaks_out(method: str, target: str) -> None:
    with pytest.raises(http1.ProtocolError, match="Not a request line"):
        http1.encode_request(method, target, [("host", "h")])


@pytest.mark.parametrize(("status", "reason"), [(99, ""), (1000, ""), (200, "OK\r\nx: y")])
def test_no_status_line_breaks_out(status: int, reason: str) -> None:
    with pytest.raises(http1.ProtocolError, match="Not a status line"):
        http1.encode_response(status, [], b"", reason)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_a_body_has_one_framing(name: str) -> None:
    with pytest.raises(http1.ProtocolError, match="contradict"):
        http1.encode_request("POST", "/", [("host", "h"), (name, "3")], b"abc")


@pytest.mark.parametrize(
    ("values", "coding"),
    [
        ([], ""),
        (["identity"], ""),
        (["GZip"], "gzip"),
        (["identity, gzip "], "gzip"),
        (["gzip", "br"], "gzip, br"),
        ([" , "], ""),
        (["utf-8", "none", "gzip"], "gzip"),
    ],
)
def test_how_a_body_is_coded(values: list[str], coding: str) -> None:
    headers = [("content-type", "a"), *(("content-encoding", value) for value in values)]
    assert http1.content_coding(headers) == coding
