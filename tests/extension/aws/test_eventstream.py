"""The event stream against botocore's reader: what is valid, cut, damaged, too large."""

import itertools
import struct
import tracemalloc
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given, settings, strategies as st

from fakes.thoroughness import examples
from lambdallm_extension.aws.eventstream import (
    MESSAGE_MAX_BYTES,
    DamagedStreamError,
    EventStreamReader,
    encode,
)

VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=40),
    st.binary(max_size=40),
)
HEADERS = st.dictionaries(
    st.text(min_size=1, max_size=30, alphabet=st.characters(codec="utf-8")), VALUES, max_size=6
)
MESSAGES = st.lists(st.tuples(HEADERS, st.binary(max_size=300)), max_size=5)


def read(pieces):
    """Return what our reader makes of it, and whether it refused something."""
    reader = EventStreamReader()
    found = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (message := reader.next()) is not None:
                found.append((dict(message.headers), message.payload))
    except DamagedStreamError:
        return found, True
    return found, False


def read_by_botocore(pieces):
    buffer = EventStreamBuffer()
    found = []
    try:
        for piece in pieces:
            buffer.add_data(piece)
            for message in buffer:
                found.append((message.headers, message.payload))  # noqa: PERF401 - kept on errors
    except (ParserError, struct.error, KeyError, UnicodeDecodeError):
        return found, True
    return found, False


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(MESSAGES, st.lists(st.integers(0, 5_000), max_size=12))
def test_botocore_reads_what_is_written_and_we_read_it_cut_anywhere(messages, places):
    data = b"".join(encode(headers, payload) for headers, payload in messages)

    assert read_by_botocore([data]) == (messages, False)
    assert read(cut(data, places)) == (messages, False)


@given(MESSAGES.filter(bool), st.data())
def test_damage_is_found_where_botocore_finds_it(messages, data):
    stream = bytearray(b"".join(encode(headers, payload) for headers, payload in messages))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at] ^= data.draw(st.integers(1, 255))
    pieces = cut(bytes(stream), data.draw(st.lists(st.integers(0, 5_000), max_size=5)))

    assert read(pieces) == read_by_botocore(pieces)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for_as_botocore_does(data):
    assert read([data]) == read_by_botocore([data])


@given(st.binary(max_size=60), st.binary(max_size=20))
@settings(max_examples=examples(400))
def test_headers_that_cannot_be_are_refused(block, payload):
    """With right checksums; botocore takes a value that is cut off by its message's end."""
    prelude = struct.pack("!II", 16 + len(block) + len(payload), len(block))
    content = prelude + struct.pack("!I", crc32(prelude)) + block + payload
    data = content + struct.pack("!I", crc32(content))

    ours, refused = read([data])
    theirs, they_refused = read_by_botocore([data])
    assert refused or (ours, they_refused) == (theirs, False)
    assert refused or they_refused is False


def test_all_types_of_values_are_read():
    pairs = [
        ("true", b"\x00", True),
        ("false", b"\x01", False),
        ("byte", b"\x02\xff", -1),
        ("short", b"\x03\x01\x00", 256),
        ("integer", b"\x04\x00\x00\x00\x07", 7),
        ("long", b"\x05" + (2**40).to_bytes(8, "big"), 2**40),
        ("bytes", b"\x06\x00\x02ab", b"ab"),
        ("string", b"\x07\x00\x02\xc3\xa9", "é"),
        ("timestamp", b"\x08" + (1_795_267_110_000).to_bytes(8, "big"), 1_795_267_110_000),
        ("uuid", b"\x09" + bytes(range(16)), bytes(range(16))),
    ]
    block = b"".join(bytes((len(name),)) + name.encode() + raw for name, raw, _ in pairs)
    prelude = struct.pack("!II", 16 + len(block), len(block))
    content = prelude + struct.pack("!I", crc32(prelude)) + block
    data = content + struct.pack("!I", crc32(content))

    expected = [({name: value for name, _, value in pairs}, b"")]
    assert read([data]) == (expected, False)
    assert read_by_botocore([data]) == (expected, False)


def test_messages_are_named_by_their_headers():
    reader = EventStreamReader()
    for kind, header in (("event", "event-type"), ("exception", "exception-type")):
        reader.feed(encode({":message-type": kind, f":{header}": "x"}, b"{}"))
        message = reader.next()
        assert (message.kind, message.name, message.payload) == (kind, "x", b"{}")
    reader.feed(encode({":message-type": "error", ":error-code": "500"}, b""))
    assert reader.next()[:2] == ("error", "500")


def test_it_knows_whether_it_stands_within_a_message():
    frame = encode({":event-type": "x"}, b"payload")
    reader = EventStreamReader()

    assert not reader.within
    reader.feed(frame[:5])
    assert reader.next() is None
    assert reader.within
    reader.feed(frame[5:])
    assert reader.next() is not None
    assert not reader.within


@pytest.mark.parametrize(
    ("length", "headers_length"),
    [(MESSAGE_MAX_BYTES + 1, 0), (2**32 - 1, 0), (200_000, 140_000), (15, 0), (20, 5), (0, 0)],
)
def test_lengths_that_cannot_be_are_refused_before_the_bytes_come(length, headers_length):
    prelude = struct.pack("!II", length, headers_length)
    reader = EventStreamReader()
    reader.feed(prelude + struct.pack("!I", crc32(prelude)))

    with pytest.raises(DamagedStreamError, match="bytes"):
        reader.next()


def test_the_largest_message_comes_in_small_pieces_at_bounded_memory():
    frame = encode({":event-type": "x"}, bytes(MESSAGE_MAX_BYTES - 64))
    reader = EventStreamReader()
    tracemalloc.start()
    try:
        for start in range(0, len(frame), 16_384):
            reader.feed(frame[start : start + 16_384])
            message = reader.next()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(message.payload) == MESSAGE_MAX_BYTES - 64
    assert peak < 4 * MESSAGE_MAX_BYTES


def test_many_kinds_of_headers_are_not_all_kept():
    reader = EventStreamReader()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(4_000):
            reader.feed(encode({":event-type": f"kind {number}"}, b""))
            assert reader.next().name == f"kind {number}"
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert grown < 100_000


@pytest.mark.parametrize(
    "headers", [{"": "x"}, {"n" * 256: "x"}, {"name": "v" * 65_536}, {"name": b"v" * 65_536}]
)
def test_what_does_not_fit_is_not_written(headers):
    with pytest.raises(ValueError, match="byte"):
        encode(headers, b"")
