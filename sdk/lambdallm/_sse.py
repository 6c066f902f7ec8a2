"""Server-sent events, as `EventSource` and every other reader of `text/event-stream` takes them.

Source: HTML Living Standard, section 9.2, "Server-sent events", 2026-11.
"""

from __future__ import annotations

import json

from lambdallm import _errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONTENT_TYPE = "text/event-stream; charset=utf-8"

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""Nothing on the way keeps events back: proxies hold what they may store."""

_ONE_LINE = ("event", "id")


class Event(str):
    """One event as it goes over the wire; a `str`, so that it can be joined and written.

    Attributes:
        text: What it shows to who reads messages: a text without a type of its own; else "".
    """

    __slots__ = ("text",)
    text: str


def sse(
    data: Any = "",
    *,
    event: str | None = None,
    id: str | int | None = None,  # noqa: A002 - the field's name
    retry_ms: int | None = None,
) -> Event:
    """Make one server-sent event, for a handler of `@stream_handler` to yield.

        yield sse("Hel")
        yield sse({"usd": context.total_cost}, event="cost")

    Args:
        data: A text, of which each line gets a `data:` of its own and comes back as it was;
            anything else goes as JSON.
        event: Its type; readers take one without for `message`.
        id: What a reader that connects again sends as `Last-Event-ID`.
        retry_ms: How long such a reader is to wait.

    Raises:
        InvalidRequestError: `event` or `id` has a line break or a NUL in it, which would end it.
    """
    lines = []
    for name, value in zip(_ONE_LINE, (event, None if id is None else str(id)), strict=True):
        if value is not None:
            if any(mark in value for mark in "\r\n\0"):
                message = f"sse({name}=…) takes one line, without NUL."
                raise _errors.InvalidRequestError(message)
            lines.append(f"{name}: {value}\n")
    if retry_ms is not None:
        lines.append(f"retry: {int(retry_ms)}\n")
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, allow_nan=False)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")  # each of the three ends a line
    lines.append("data: " + text.replace("\n", "\ndata: ") + "\n\n")
    made = Event("".join(lines))
    made.text = text if event is None and isinstance(data, str) else ""
    return made
