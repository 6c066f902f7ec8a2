"""Our HTTP/1.1 against `h11`, an implementation that nobody here wrote.

What h11 sends we read alike, however the bytes are cut; what we send h11 reads alike; of broken
bytes we accept nothing that h11 refuses, and where we refuse what it accepts, the case is named.
"""

from __future__ import annotations

import re
import string
import time
from typing import Any, NamedTuple

import h11
import pytest
from hypothesis import assume, example, given, strategies as st

from lambda_runtime_api import http1

TOKEN = "!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
VALUE = VISIBLE + "".join(map(chr, range(0xA1, 0x100)))
FRAMING = {"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"}

names = st.text(TOKEN, min_size=1, max_size=12).filter(lambda name: name.lower() not in FRAMING)
words = st.text(VALUE, min_size=1, max_size=8)
values = st.just("") | words | st.tuples(words, words).map(" \t ".join)
header_lists = st.lists(st.tuples(names, values), max_size=5)
methods = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
targets = st.text(VISIBLE, max_size=30).map("/".__add__)
statuses = st.integers(200, 599)
bodies = st.binary(max_size=200)
pieces = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
cuts = st.lists(st.integers(1, 60), max_size=40)


class Message(NamedTuple):
    """A message as a reader understood it, ours or h11's."""

    line: tuple[Any, ...]
    headers: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    parts, start = [], 0
    for size in sizes:
        parts.append(data[start : start + size])
        start += size
    return [part for part in [*parts, data[start:]] if part]


def read(reader: http1.Reader, parts: list[bytes], *, end: bool = True) -> Message:
    """Read one message as a socket would bring it, with the peer's end behind it or not."""
    waiting = [*parts, b""] if end else list(parts)
    while (head := reader.read_head()) is None:
        reader.feed(waiting.pop(0))
    while (body := reader.read_body()) is None:
        reader.feed(waiting.pop(0))
    line = (
        (head.method, head.target)
        if isinstance(head, http1.Request)
        else (head.status, head.reason)
    )
    message = Message(line, head.headers, body, reader.trailers)
    reader.next_message()
    return message


def outcome(parts: list[bytes], *, requests: bool) -> Message | tuple[str, object]:
    """What reading comes to: never anything but a message or a ProtocolError."""
    reader = http1.Reader(requests=requests, head_max_bytes=400, body_max_bytes=300)
    try:
        return read(reader, parts)
    except http1.ConnectionEndedError as error:
        return ("ended", error.clean)
    except http1.ProtocolError as error:
        return ("refused", error.status)


def read_by_h11(data: bytes, *, requests: bool) -> Message | None:
    """Read one message with h11, until the peer's end; None when it refuses."""
    connection = h11.Connection(our_role=h11.SERVER if requests else h11.CLIENT)
    if not requests:
        connection.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
        connection.send(h11.EndOfMessage())
    line, headers, body = (), [], b""
    connection.receive_data(data)
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(b"")
            elif isinstance(event, h11.Request):
                line, headers = (event.method.decode(), event.target.decode()), event.headers
            elif isinstance(event, h11.Response):
                line, headers = (event.status_code, event.reason.decode("latin-1")), event.headers
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Message(line, as_text(headers), body, as_text(event.headers))
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


def as_text(headers: Any) -> list[tuple[str, str]]:
    return [(name.decode("ascii"), value.decode("latin-1")) for name, value in headers]


def as_bytes(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]


def lower(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers]


def sent_by_h11(head: Any, data: list[bytes], trailers: list[tuple[str, str]]) -> bytes:
    role = h11.CLIENT if isinstance(head, h11.Request) else h11.SERVER
    connection = h11.Connection(our_role=role)
    if role is h11.SERVER:
        connection.receive_data(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert isinstance(connection.next_event(), h11.Request)
    ending = h11.EndOfMessage(headers=as_bytes(trailers))
    sent = [connection.send(head), *(connection.send(h11.Data(data=piece)) for piece in data)]
    sent.append(connection.send(ending))
    return b"".join(part or b"" for part in sent)


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


# Broken bytes.

VALID = [
    (True, b"POST /a?b HTTP/1.1\r\nHost: h\r\nX-Y: z\r\nContent-Length: 5\r\n\r\nhello"),
    (True, b"PUT / HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: u\r\n\r\n"),
    (True, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    (False, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    (False, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
    (False, b"HTTP/1.1 502\r\nConnection: close\r\n\r\nbad"),
]  # fmt: skip
TELLING = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"5",
           b"-", b"+", b"x", b"\xff", b"chunked", b"Content-Length: 6\r\n",
           b"Transfer-Encoding: x\r\n", b"Host: g\r\n", b"\x16\x03\x01"]  # fmt: skip
WHITE_BEFORE_EXTENSION = re.compile(rb"(\r\n[0-9A-Fa-f]+)[ \t]+;")
mutations = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from([b"", *TELLING])),
    min_size=1,
    max_size=4,
)


def mutate(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for where, removed, inserted in changes:
        at = int(where * len(data))
        data = data[:at] + inserted + data[at + removed :]
    return data


@given(st.sampled_from(VALID), mutations, cuts)
def test_how_broken_bytes_are_cut_changes_nothing(valid, changes, sizes) -> None:
    requests, data = valid[0], mutate(valid[1], changes)

    assert outcome(cut(data, sizes), requests=requests) == outcome([data], requests=requests)


@given(st.sampled_from(VALID), mutations)
def test_nothing_is_accepted_that_h11_refuses_or_reads_otherwise(valid, changes) -> None:
    requests, data = valid[0], mutate(valid[1], changes)
    ours = outcome([data], requests=requests)
    assume(isinstance(ours, Message))
    assume(b"HTTP/1.1 101" not in data)  # an upgrade: nobody here asks for one

    theirs = read_by_h11(WHITE_BEFORE_EXTENSION.sub(rb"\1;", data), requests=requests)

    assert theirs is not None
    assert theirs._replace(headers=[]) == ours._replace(headers=[])
    assert set(theirs.headers) == set(ours.headers)  # h11 drops repeated equal lengths


@given(st.binary(max_size=120), st.booleans(), cuts)
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", True, [1])
def test_garbage_is_a_protocol_error(data, requests, sizes) -> None:
    result = outcome(cut(data, sizes), requests=requests)

    assert isinstance(result, (Message, tuple))


@pytest.mark.parametrize(
    ("requests", "data"),
    [
        pytest.param(True, b"GET / HTTP/1.1\nHost: h\n\n", id="bare line feeds"),
        pytest.param(True, b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", id="folded header"),
        pytest.param(True, b"GET / HTTP/1.1\r\nHost: h\r\nX: \x01\r\n\r\n", id="control character"),
        pytest.param(True, b"M-SEARCH / HTTP/1.1\r\nHost: h\r\n\r\n", id="method with a dash"),
        pytest.param(True, b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", id="minor version 2"),
        pytest.param(
            True,
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2, 2\r\n\r\nab",
            id="a list of equal lengths",
        ),
        pytest.param(
            True,
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\n",
            id="a length beside chunks",
        ),
        pytest.param(
            True,
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="chunks in HTTP/1.0",
        ),
        pytest.param(
            False,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 2\r\n\r\n",
            id="a length among the trailers",
        ),
        pytest.param(
            False,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;\x01\r\na\r\n0\r\n\r\n",
            id="control character in a chunk extension",
        ),
    ],
)
def test_stricter_than_h11(requests: bool, data: bytes) -> None:
    assert read_by_h11(data, requests=requests) is not None

    assert not isinstance(outcome([data], requests=requests), Message)


def test_more_lenient_than_h11_before_a_chunk_extension() -> None:
    """RFC 9112, 7.1.1, obliges a reader to take white space before the semicolon."""
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 ;x\r\na\r\n0\r\n\r\n"
    assert read_by_h11(data, requests=False) is None

    assert read(http1.Reader(requests=False), [data]).body == b"a"


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 301\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 400, 431),
        (CHUNKED + b"0\r\nX: " + b"x" * 400, 431),
        (CHUNKED + b"1;" + b"x" * 4096, 400),
        (CHUNKED + b"1\r\nab\r\n", 400),
        (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_a_server_is_told_what_to_answer(data: bytes, status: int) -> None:
    assert outcome([data], requests=True) == ("refused", status)


# Ends.


def test_an_end_between_messages_is_clean_and_one_inside_is_not() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    assert outcome([], requests=False) == ("ended", True)
    for length in range(1, len(answer)):
        assert outcome([answer[:length]], requests=False) == ("ended", False)


def test_an_end_after_an_interim_answer_is_not_clean() -> None:
    """The request has arrived there: to send it again would not be safe."""
    assert outcome([b"HTTP/1.1 100 Continue\r\n\r\n"], requests=False) == ("ended", False)


def test_a_head_answer_has_no_body_whatever_its_length_says() -> None:
    reader = http1.Reader(requests=False)
    reader.expect("HEAD")

    assert read(reader, [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"], end=False).body == b""


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_which_connections_are_kept(head: bytes, kept: bool) -> None:
    reader = http1.Reader(requests=False)
    reader.feed(head)

    response = reader.read_head()

    assert response is not None
    assert response.keep_alive is kept


def test_the_next_message_is_not_looked_for_inside_an_unread_body() -> None:
    reader = http1.Reader(requests=True)
    reader.feed(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\nGET /smuggled HTTP/1.1")
    reader.read_head()

    with pytest.raises(http1.ProtocolError, match="not read to its end"):
        reader.next_message()


def test_a_large_head_that_trickles_in_is_read_in_linear_time() -> None:
    def seconds(size: int) -> float:
        reader = http1.Reader(requests=True, head_max_bytes=size * 2)
        head = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * size + b"\r\n\r\n"
        begun = time.process_time()
        for code in head:
            reader.feed(bytes((code,)))
            found = reader.read_head()
        assert found is not None
        return time.process_time() - begun

    small, large = min(seconds(20_000) for _ in range(3)), min(seconds(160_000) for _ in range(3))

    assert large < small * 24  # 8 where it is linear, 64 where every byte searches all before it
