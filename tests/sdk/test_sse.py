"""Server-sent events come back from readers of others as they were made."""

from typing import Any

import anthropic._streaming
import openai._streaming
import pytest
from hypothesis import given, strategies as st

from lambdallm import InvalidRequestError, sse

READERS = [openai._streaming.SSEDecoder, anthropic._streaming.SSEDecoder]

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20)


def read(reader: Any, *events: str) -> list[tuple[str | None, str]]:
    found = reader().iter_bytes(iter(["".join(events).encode()]))
    return [(event.event, event.data) for event in found]


@pytest.mark.parametrize("reader", READERS)
def test_what_is_said_is_what_is_read(reader: Any) -> None:
    events = (sse("Hel"), sse("two\n lines\n"), sse({"usd": 0.5}, event="cost"), sse([1, "ä"]))

    assert read(reader, *events) == [
        (None, "Hel"),
        (None, "two\n lines\n"),
        ("cost", '{"usd": 0.5}'),
        (None, '[1, "ä"]'),
    ]


@pytest.mark.parametrize("reader", READERS)
@given(texts=st.lists(st.tuples(LINE, TEXT), min_size=1, max_size=4))
def test_any_text_comes_back(reader: Any, texts: list[tuple[str, str]]) -> None:
    # These two readers split lines where Python does, the standard at CR and LF alone.
    texts = [(name.strip() or "e", "\n".join(text.splitlines())) for name, text in texts]
    texts = [(name, text) for name, text in texts if text]
    events = [sse(text, event=name) for name, text in texts]

    assert read(reader, *events) == texts


def test_all_fields() -> None:
    assert sse("x", event="e", id="7", retry_ms=250) == "event: e\nid: 7\nretry: 250\ndata: x\n\n"
    assert sse() == "data: \n\n"
    assert sse("a\r\nb\rc") == "data: a\ndata: b\ndata: c\n\n"


@pytest.mark.parametrize("field", ["event", "id"])
@pytest.mark.parametrize("value", ["a\nb", "a\r", "\0"])
def test_a_field_that_would_begin_another_event_is_refused(field: str, value: str) -> None:
    with pytest.raises(InvalidRequestError, match=field):
        sse("x", **{field: value})  # type: ignore[arg-type]
