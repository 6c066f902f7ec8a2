"""The reader of server-sent events: the standard's rules, however the bytes are cut."""

import itertools
import tracemalloc

import pytest
from hypothesis import given, settings, strategies as st
from openai._streaming import SSEDecoder

from fakes.thoroughness import examples
from lambdallm_extension.providers.sse import EVENT_MAX_BYTES, EventReader, EventTooLongError


def read(*pieces: bytes) -> list[tuple[str, str]]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("", "a")]),
        (b"data:a\n\n", [("", "a")]),
        (b"data:  a\n\n", [("", " a")]),
        (b"data: a\r\n\r\n", [("", "a")]),
        (b"data: a\r\r", [("", "a")]),
        (b"data: a\r\n\n", [("", "a")]),
        (b"data: a\ndata: b\n\n", [("", "a\nb")]),
        (b"data\ndata\n\n", [("", "\n")]),
        (b"data:\n\n", [("", "")]),
        (b"event: error\ndata: a\n\n", [("error", "a")]),
        (b"event:error\ndata: a\n\ndata: b\n\n", [("error", "a"), ("", "b")]),
        (b"event: one\nevent: two\ndata: a\n\n", [("two", "a")]),
        (b"event: one\nevent\ndata: a\n\n", [("", "a")]),
        (b"event: lost\n\ndata: a\n\n", [("", "a")]),
        (b": comment\ndata: a\n:\n\n", [("", "a")]),
        (b"id: 1\nretry: 10\nunknown: x\nodd\ndata: a\n\n", [("", "a")]),
        (b" data: a\n\n", []),
        (b"\xef\xbb\xbfdata: a\n\n", [("", "a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("", "a")]),
        (b"data: \xff\n\n", [("", "\ufffd")]),
        ("data: Brü\u2028cke\x0b\x85\n\n".encode(), [("", "Brü\u2028cke\x0b\x85")]),
        (b"\n\n\n\n", []),
        (b"data: not yet\n", []),
        (b"data: not yet", []),
        (b"", []),
    ],
)
def test_the_rules(stream: bytes, events: list[tuple[str, str]]) -> None:
    assert read(stream) == events
    assert read(*(stream[at : at + 1] for at in range(len(stream)))) == events


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"", b"data: x", b"data", b"data:", b"event: e", b"event", b": c", b"id: 1"]
        ),
        st.text(max_size=12).map(lambda text: b"data: " + text.encode("utf-8", "surrogatepass")),
        st.binary(max_size=12),
    ),
    max_size=12,
)
STREAMS = st.builds(
    lambda lines, ends: b"".join(line + end for line, end in zip(lines, ends, strict=False)),
    LINES,
    st.lists(
        st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n"]), min_size=12, max_size=12
    ),
)


@given(STREAMS, st.lists(st.integers(0, 300), max_size=20))
def test_however_it_is_cut_the_events_are_the_same(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(stream), *(cut for cut in cuts if cut <= len(stream))})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]

    assert read(*pieces) == read(stream)


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_nothing_that_comes_makes_it_fail(pieces: list[bytes]) -> None:
    read(*pieces)


@settings(max_examples=examples(200))
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "error", "message_start"]),
            st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=40),
        ),
        max_size=8,
    ),
    st.sampled_from(["\n", "\r\n"]),
)
def test_openai_s_own_reader_finds_the_same(events: list[tuple[str, str]], end: str) -> None:
    text = "".join(
        (f"event: {name}{end}" if name else "") + f"data: {content}{end}{end}"
        for name, content in events
    )

    theirs = SSEDecoder().iter_bytes(iter([text.encode()]))

    assert read(text.encode()) == [(event.event or "", event.data) for event in theirs]


@pytest.mark.parametrize(
    "piece",
    [
        b"data: " + b"x" * 60_000,
        b"x" * 60_000,
        b"data: " + b"x" * 60_000 + b"\n",
        b"data\n" * 9_000,
    ],
    ids=["a long line", "a line without a field", "many long lines", "many empty lines"],
)
def test_an_endless_event_is_an_error_in_bounded_memory(piece: bytes) -> None:
    reader = EventReader()
    tracemalloc.start()
    try:
        with pytest.raises(EventTooLongError):
            feed_many(reader, piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * EVENT_MAX_BYTES


def feed_many(reader: EventReader, piece: bytes) -> None:
    for _ in range(3 * EVENT_MAX_BYTES // len(piece)):
        reader.feed(piece)


def test_endless_comments_and_names_take_no_memory() -> None:
    reader = EventReader()
    for _ in range(3 * EVENT_MAX_BYTES // 40_000):
        assert reader.feed(b": " + b"c" * 39_000 + b"\nevent: x\n") == []
    assert reader.feed(b"data: a\n\n") == [("x", "a")]


def test_an_event_of_megabytes_is_read_byte_by_byte_or_at_once() -> None:
    data = b"data: " + b"x" * (EVENT_MAX_BYTES // 2) + b"\n\n"

    ((_, text),) = read(*(data[at : at + 16_384] for at in range(0, len(data), 16_384)))

    assert len(text) == EVENT_MAX_BYTES // 2
