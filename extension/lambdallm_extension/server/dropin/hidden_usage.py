"""OpenAI's chat streams say what they used only when asked: it is asked for, and taken out again.

    {"stream": true, …}  ──►  {"stream_options":{"include_usage":true},"stream": true, …}
    data: {… "choices": [], "usage": {…}}  ──►  nothing

Source: OpenAI API reference, "Create chat completion", `stream_options`, 2026-11.
"""

from __future__ import annotations

from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_OPTION = b'"stream_options":{"include_usage":true},'

_NO_CHOICE = b'"choices":[]'
_NO_CHOICE_SPACED = b'"choices": []'
"""As servers write it; only an event with one of them is decoded."""

EVENT_MAX_BYTES = 4_194_304
"""Held back of one event; a longer one is passed on as it comes."""


def ask_for_usage(
    body: bytes, asked: dict[str, Any]
) -> tuple[bytes, Callable[[bytes], bytes] | None]:
    """Return the body that asks for usage, and what takes the answer out of the stream.

    The bytes of the body stay as they are but for what is added, so that cached prefixes hold.

    Args:
        body: Of a request for a stream.
        asked: The same, decoded.
    """
    options = asked.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage") is True:
        return body, None  # the client wants it itself
    if "stream_options" not in asked and b"\0" not in body:  # else it is no UTF-8
        brace = body.index(b"{") + 1
        return body[:brace] + _OPTION + body[brace:], UsageHider().hide
    if options is not None and not isinstance(options, dict):
        return body, None  # the API refuses it
    asked = {**asked, "stream_options": {**(options or {}), "include_usage": True}}
    encoded = plain_json.dumps(asked, ensure_ascii=True, allow_nan=True).encode()
    return encoded, UsageHider().hide


class UsageHider:
    """Takes the event out of a stream that holds the usage and no choice."""

    def __init__(self) -> None:
        self._held = b""

    def hide(self, piece: bytes) -> bytes:
        """Return what may be passed on now: whole events, without that one."""
        held = self._held + piece
        end = max(held.rfind(b"\n\n"), held.rfind(b"\r\n\r\n") + 2 if b"\r\n\r\n" in held else -1)
        if not piece:
            self._held = b""
            return held
        if end < 0:
            if len(held) > EVENT_MAX_BYTES:
                self._held = b""
                return held
            self._held = held
            return b""
        whole, self._held = held[: end + 2], held[end + 2 :]
        if b'"usage"' not in whole:
            return whole
        return b"".join(event for event in _events(whole) if not _is_usage_alone(event))


def _events(whole: bytes) -> list[bytes]:
    """Cut behind each blank line."""
    separator = b"\r\n\r\n" if b"\r\n\r\n" in whole else b"\n\n"
    parts = whole.split(separator)
    return [part + separator for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _is_usage_alone(event: bytes) -> bool:
    line = event.strip()
    if not line.startswith(b"data:") or not (_NO_CHOICE in line or _NO_CHOICE_SPACED in line):
        return False
    try:
        chunk = plain_json.loads(line[len(b"data:") :])
    except (ValueError, RecursionError):
        return False
    return isinstance(chunk, dict) and chunk.get("choices") == [] and bool(chunk.get("usage"))
