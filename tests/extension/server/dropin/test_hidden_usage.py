"""What was asked for in the client's place is taken out again, and not a byte besides."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.server.dropin import hidden_usage
from lambdallm_extension.server.dropin.hidden_usage import UsageHider

USAGE = {"prompt_tokens": 14, "completion_tokens": 9, "total_tokens": 23}


def event(chunk: Any, end: str = "\n", spaced: bool = True) -> bytes:
    separators = None if spaced else (",", ":")
    return f"data: {json.dumps(chunk, separators=separators)}{end}{end}".encode()


def usage_alone(**more: Any) -> dict[str, Any]:
    return {"id": "r", "object": "chat.completion.chunk", "choices": [], "usage": USAGE, **more}


def through(pieces: list[bytes]) -> bytes:
    hider = UsageHider()
    return b"".join(map(hider.hide, pieces)) + hider.hide(b"")


others = st.one_of(
    st.builds(
        lambda text, usage: {
            "id": "r", "choices": [{"index": 0, "delta": {"content": text}}], **usage,
        },
        st.text() | st.just('data: {"choices": [], "usage": {"x": 1}}\n\n'),
        st.sampled_from([{}, {"usage": None}, {"usage": USAGE}]),
    ),
    st.just({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
    st.just({"choices": [], "usage": None}),
    st.just({"choices": [], "usage": {}}),
    st.just({"error": {"message": '"choices": [] "usage"', "type": "server_error"}}),
)  # fmt: skip

raw = st.sampled_from(["data: [DONE]", ": keep-alive", "event: ping", 'data: "choices":[]"usage"'])


@given(
    chunks=st.lists(others | raw, max_size=8),
    used=st.none() | st.integers(0, 8),
    end=st.sampled_from(["\n", "\r\n"]),
    spaced=st.booleans(),
    tail=st.sampled_from([b"", b"data: [DONE]", b"\n"]),
    cuts=st.lists(st.integers(0, 3_000), max_size=12),
)
def test_whatever_the_cuts_exactly_the_events_of_usage_alone_are_missing(
    chunks: list[Any], used: int | None, end: str, spaced: bool, tail: bytes, cuts: list[int]
) -> None:
    events = [
        f"{chunk}{end}{end}".encode() if isinstance(chunk, str) else event(chunk, end, spaced)
        for chunk in chunks
    ]
    expected = b"".join(events) + tail
    if used is not None:
        events.insert(used, event(usage_alone(), end, spaced))
    sent = b"".join(events) + tail
    bounds = sorted({0, len(sent), *(cut % (len(sent) + 1) for cut in cuts)})
    pieces = [sent[start:stop] for start, stop in itertools.pairwise(bounds)]

    assert through(pieces) == expected
    assert through([sent]) == expected
    assert through([sent[at : at + 1] for at in range(len(sent))]) == expected


def test_an_event_is_handed_on_as_soon_as_it_is_whole() -> None:
    hider = UsageHider()
    first = event({"choices": [{"delta": {"content": "Hi"}}]})

    assert hider.hide(first[:-1]) == b""
    assert hider.hide(first[-1:] + b"data: {") == first
    assert hider.hide(b"") == b"data: {"
    assert hider.hide(b"") == b""


def test_an_event_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_usage, "EVENT_MAX_BYTES", 1_000)
    hider = UsageHider()
    sent = [b"data: " + b"x" * 600, b"x" * 600, b"x" * 600, b"\n\n", event({"choices": [1]})]
    received = [hider.hide(piece) for piece in sent]

    assert b"".join(received) == b"".join(sent)
    assert received[1] == sent[0] + sent[1]
