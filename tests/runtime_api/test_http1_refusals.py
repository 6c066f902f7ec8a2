"""Of broken bytes we accept nothing that `h11` refuses; where we refuse what it accepts, the case
is named.
"""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import HealthCheck, assume, example, given, settings, strategies as st

from fakes.h11_oracle import Message, cut, cuts, outcome, read, read_by_h11
from lambda_runtime_api import http1

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


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # most are refused, as they should
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
