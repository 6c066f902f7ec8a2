"""Streamed answers that are kept while they leave, so that a repeated event gets them again."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from lambdallm import _runs, _sse
from lambdallm._chunks import Chunks, is_stream
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from typing import Any

_STREAMED = "lambdallm_streamed"
"""Name of a kept stream among outputs."""


def body_of(value: Any) -> Any:
    """Return the stream that a handler's value is or has, None for any other value."""
    body = value.get("body") if isinstance(value, dict) else value
    return body if is_stream(body) else None


def keep(
    run: _runs.Run, value: Any, context: Any, within: Callable[[], AbstractContextManager[Any]]
) -> Any:
    """Return a handler's value whose stream ends the run when it has ended.

    Shape of the run's output:
        {"lambdallm_streamed": [["event", "data: Hel…", "Hel"], ["text", "lo"], ["json", "{…}"],
        ["bytes", "base64"]], "head": {"statusCode": 200, …}}

    Args:
        run: Of the event.
        value: A stream, or a dict whose body is one.
        context: Of the event; what it has said of the answer's head is kept, too.
        within: Opens the scope in which the stream is made.
    """
    head: dict[str, Any] = {}
    if isinstance(value, dict):
        head = {name: field for name, field in value.items() if name != "body"}
    stream = _recorded(run, body_of(value), head, context, within)
    return {**head, "body": stream} if isinstance(value, dict) else stream


def replay(output: str) -> Any:
    """Return what was kept; of a stream one that yields the same again."""
    kept = plain_json.loads(output)
    if not isinstance(kept, dict) or _STREAMED not in kept:
        return kept
    stream = (_decode(*chunk) for chunk in kept[_STREAMED])
    return {**kept["head"], "body": stream} if kept["head"] else stream


def _recorded(
    run: _runs.Run,
    body: Any,
    head: dict[str, Any],
    context: Any,
    within: Callable[[], AbstractContextManager[Any]],
) -> Generator[Any, None, Any]:
    kept = []
    chunks = Chunks(body)
    try:
        with within():
            for chunk in chunks:
                if context.response_head is not None:  # until the first one has left
                    head = {**context.response_head.to_response(), **head}
                kept.append(_encode(chunk))
                yield chunk
        returned = None if kept else chunks.returned
        said = {_STREAMED: kept, "head": head} if returned is None else returned
        output = _runs.encode(said, "What an idempotent handler answers")
    except GeneratorExit:  # its reader has gone, and it was cancelled: who comes again begins anew
        run.close("interrupted", error="its reader has gone")
        raise
    except BaseException as error:
        run.close("failed", error=f"{type(error).__name__}: {error}"[:1_000])
        raise
    finally:
        chunks.close()
    run.close("completed", output=output)
    return returned


def _encode(chunk: Any) -> list[Any]:
    if isinstance(chunk, _sse.Event):
        return ["event", str(chunk), chunk.text]
    if isinstance(chunk, str):
        return ["text", chunk]
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return ["bytes", b2a_base64(bytes(chunk), newline=False).decode()]
    return ["json", plain_json.dumps(chunk)]  # as it is now: what grows is yielded many times


def _decode(kind: str, value: Any, text: str = "") -> Any:
    if kind == "event":
        event = _sse.Event(value)
        event.text = text
        return event
    if kind == "json":
        return plain_json.loads(value)
    return a2b_base64(value) if kind == "bytes" else value
