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


def keep(run: _runs.Run, value: Any, within: Callable[[], AbstractContextManager[Any]]) -> Any:
    """Return a handler's value whose stream ends the run when it has ended.

    Shape of the run's output:
        {"lambdallm_streamed": [["event", "data: Hel…"], ["text", "lo"], ["json", "{…}"],
        ["bytes", "base64"]], "head": {"statusCode": 200} or null}

    Args:
        run: Of the event.
        value: A stream, or a dict whose body is one.
        within: Opens the scope in which the stream is made.
    """
    head = None
    if isinstance(value, dict):
        head = {name: field for name, field in value.items() if name != "body"}
    stream = _recorded(run, body_of(value), head, within)
    return stream if head is None else {**head, "body": stream}


def replay(output: str) -> Any:
    """Return what was kept; of a stream one that yields the same again."""
    kept = plain_json.loads(output)
    if not isinstance(kept, dict) or _STREAMED not in kept:
        return kept
    stream = (_decode(*chunk) for chunk in kept[_STREAMED])
    return stream if kept["head"] is None else {**kept["head"], "body": stream}


def _recorded(
    run: _runs.Run,
    body: Any,
    head: dict[str, Any] | None,
    within: Callable[[], AbstractContextManager[Any]],
) -> Generator[Any, None, None]:
    kept = []
    chunks = Chunks(body)
    try:
        with within():
            for chunk in chunks:
                kept.append(_encode(chunk))
                yield chunk
        output = _runs.encode({_STREAMED: kept, "head": head}, "What an idempotent handler answers")
    except GeneratorExit:  # its reader has gone, and it was cancelled: who comes again begins anew
        run.close("interrupted", error="its reader has gone")
        raise
    except BaseException as error:
        run.close("failed", error=f"{type(error).__name__}: {error}"[:1_000])
        raise
    finally:
        chunks.close()
    run.close("completed", output=output)


def _encode(chunk: Any) -> list[Any]:
    if isinstance(chunk, _sse.Event):
        return ["event", str(chunk)]
    if isinstance(chunk, str):
        return ["text", chunk]
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return ["bytes", b2a_base64(bytes(chunk), newline=False).decode()]
    return ["json", plain_json.dumps(chunk)]  # as it is now: what grows is yielded many times


def _decode(kind: str, value: Any) -> Any:
    if kind == "event":
        return _sse.Event(value)
    if kind == "json":
        return plain_json.loads(value)
    return a2b_base64(value) if kind == "bytes" else value
