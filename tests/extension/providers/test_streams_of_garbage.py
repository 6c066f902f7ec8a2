"""Readers of streams before whatever a server may send: typed errors, and bounded memory."""

import json

import pytest
from hypothesis import given, settings, strategies as st

from fakes.api_server import load
from fakes.thoroughness import examples
from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers import find_dialect

DIALECTS = {
    "openai.chat": "openai_chat.json",
    "openai.responses": "openai_responses.json",
    "anthropic.messages": "anthropic_messages.json",
}
SSE = [("content-type", "text/event-stream")]

KINDS = ("MalformedReply", "CutStream")


@pytest.fixture(params=DIALECTS, scope="module")
def dialect(request):
    return find_dialect(request.param, "m")


def events_of(name: str, reply: str) -> list[bytes]:
    return list(load(DIALECTS[name]).replies[reply].pieces)


def feed_all(dialect, pieces):
    """Return the reader after the pieces, and the error that it ended with."""
    reader = dialect.read_stream("m", SSE)
    try:
        for piece in pieces:
            reader.feed(piece)
        reader.end()
    except ProviderError as error:
        return reader, error
    return reader, None


def decode(name: str, body: bytes) -> ProviderError | None:
    try:
        find_dialect(name, "m").decode("m", [], body)
    except ProviderError as error:
        return error
    return None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def damaged(draw, name: str) -> list[bytes]:
    """Events of a recorded stream, some of whose values are something else."""
    pieces = []
    for event in events_of(name, draw(st.sampled_from(["text_stream", "tools_stream"]))):
        head, _, text = event.decode().partition("data: ")
        if draw(st.integers(0, 3)) or text.startswith("[DONE]"):
            pieces.append(event)
            continue
        value = json.loads(text)
        holders = [value]
        for holder in holders:
            inner = holder.values() if isinstance(holder, dict) else holder
            holders += [each for each in inner if isinstance(each, (dict, list)) and each]
        holder = draw(st.sampled_from(holders))
        places = sorted(holder) if isinstance(holder, dict) else range(len(holder))
        holder[draw(st.sampled_from(list(places)))] = draw(JSON)
        pieces.append(f"{head}data: {json.dumps(value)}\n\n".encode())
    return pieces


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=examples(120), deadline=None)
@given(data=st.data())
def test_damaged_events_end_in_a_typed_error_or_an_answer(name: str, data) -> None:
    pieces = data.draw(damaged(name))

    reader, error = feed_all(find_dialect(name, "m"), pieces)

    usage, _ = reader.answer.spent()
    assert all(isinstance(count, int) and count >= 0 for count in usage.values())
    assert isinstance(reader.answer.text, str)
    json.dumps(reader.answer.content).encode("ascii")
    if error is None:
        assert reader.answer.ended
    else:
        assert error.kind in KINDS or error.status >= 400


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_end_in_a_typed_error(pieces: list[bytes]) -> None:
    for name in DIALECTS:
        _, error = feed_all(find_dialect(name, "m"), pieces)
        assert error is not None
        assert error.kind in KINDS or error.status >= 400


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_ends_in_a_typed_error_or_an_answer(body: bytes) -> None:
    for name in (*DIALECTS, "openai.embeddings"):
        error = decode(name, body)
        assert error is None or error.kind == "MalformedReply" or error.status >= 400


def test_events_that_nobody_knows_are_read_over(dialect) -> None:
    pieces = events_of(dialect.name, "text_stream")
    unknown = [
        b'data: {"type": "response.hologram.delta", "delta": {"x": 1}}\n\n',
        b'event: vertex_event\ndata: {"type": "vertex_event"}\n\n',
        b": keep-alive\n\n",
        b"data: \n\n",
        b"data: null\n\n",
        b'data: "hello"\n\n',
        b"data: []\n\n",
    ]
    mixed = [part for piece in pieces for part in (*unknown, piece)]

    reader, error = feed_all(dialect, mixed)
    plain, _ = feed_all(dialect, pieces)

    assert error is None
    assert reader.answer.to_answer() == plain.answer.to_answer()


def test_what_comes_after_the_end_changes_nothing_that_was_said(dialect) -> None:
    pieces = events_of(dialect.name, "text_stream")
    reader, error = feed_all(dialect, [*pieces, b": bye\n\n", b"data: half"])

    assert error is None
    assert reader.answer.ended


@pytest.mark.parametrize(
    "event",
    [
        b"event: error\ndata: upstream timed out\n\n",
        b'event: error\ndata: {"message": "upstream timed out"}\n\n',
        b'data: {"error": {"message": "upstream timed out"}}\n\n',
        b'data: {"error": "upstream timed out"}\n\n',
        b'data: {"error": {"message": "upstream timed out", "code": 504}}\n\n',
    ],
)
def test_a_failure_in_any_form(dialect, event: bytes) -> None:
    _, error = feed_all(dialect, [event])

    assert error is not None
    assert "upstream timed out" in str(error)
    assert error.status >= 500
    assert error.retryable


def test_an_error_does_not_swallow_the_pieces_that_came_with_it(dialect) -> None:
    pieces = events_of(dialect.name, "failed_stream")
    reader = dialect.read_stream("m", SSE)

    deltas = reader.feed(b"".join(pieces))

    assert "".join(delta.get("text", "") for delta in deltas) == "Die "
    with pytest.raises(ProviderError):
        reader.end()
    with pytest.raises(ProviderError):
        reader.feed(b"data: {}\n\n")


def test_a_stream_that_is_plain_json_is_read_at_its_end() -> None:
    recording = load("openai_chat.json")
    headers = [("content-type", "application/json; charset=utf-8")]
    dialect = find_dialect("openai.chat", "m")
    for name in ("text", "failed"):
        reader = dialect.read_stream("m", headers)
        (body,) = recording.replies[name].pieces
        assert reader.feed(body[:40]) == []
        assert reader.feed(body[40:]) == []
        if name == "text":
            reader.end()
            assert reader.answer.to_answer().text == recording.expected["text"]["text"]
        else:
            with pytest.raises(ProviderError, match="had an error"):
                reader.end()


def test_half_characters_come_out_as_text_that_can_be_written(dialect) -> None:
    pieces = [
        piece.replace("🌉".encode(), b"\\ud83c") for piece in events_of(dialect.name, "text_stream")
    ]

    reader, error = feed_all(dialect, pieces)

    assert error is None
    assert reader.answer.text.encode() == "Die Brücke steht \ufffd.".encode()


def test_an_endless_answer_is_bounded() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "x" * 100_000}}]}
    event = f"data: {json.dumps(chunk)}\n\n".encode()
    reader = find_dialect("openai.chat", "m").read_stream("m", SSE)
    for _ in range(60):
        reader.feed(event)

    assert reader.answer.truncated
    assert len(reader.answer.text) <= 4_194_304
    assert reader.answer.spent()[0]["output_tokens"] == 2_000_000


def test_parallel_calls_that_share_an_index() -> None:
    def chunk(call: dict) -> bytes:
        choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
        return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()

    def call(number: int, **more) -> dict:
        function = {"name": "get", "arguments": f'{{"n":{number}}}'}
        return {"id": f"call_{number}", "function": function, **more}

    end = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    reader, error = feed_all(
        find_dialect("openai.chat", "m"),
        [
            chunk(call(1, index=0)),
            chunk(call(2, index=0)),
            chunk(call(3)),
            end,
            b"data: [DONE]\n\n",
        ],
    )

    assert error is None
    uses = [block["toolUse"] for block in reader.answer.content]
    assert [(use["toolUseId"], use["input"]) for use in uses] == [
        ("call_1", {"n": 1}),
        ("call_2", {"n": 2}),
        ("call_3", {"n": 3}),
    ]
    assert reader.answer.finish_reason == "tool_calls"


def test_usage_that_comes_with_every_chunk_is_no_end() -> None:
    used = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}}], "usage": used}

    reader, error = feed_all(
        find_dialect("openai.chat", "m"), [f"data: {json.dumps(chunk)}\n\n".encode()]
    )

    assert error is not None
    assert error.kind == "CutStream"
    assert reader.answer.spent()[0]["uncached_input_tokens"] == 9


def test_other_choices_are_counted_and_not_mixed_in() -> None:
    pieces = events_of("openai.chat", "text_stream")
    other = b'data: {"choices": [{"index": 1, "delta": {"content": "other"}}]}\n\n'

    reader, _ = feed_all(find_dialect("openai.chat", "m"), [pieces[1], other])

    assert reader.answer.text == "Die Brü"
    assert reader.answer.generated_characters == len("Die Brüother")
