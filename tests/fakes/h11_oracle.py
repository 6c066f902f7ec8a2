"""Messages as `h11` sends and reads them, an HTTP/1.1 that nobody here wrote."""

from __future__ import annotations

import string
from typing import Any, NamedTuple

import h11
from hypothesis import strategies as st

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
