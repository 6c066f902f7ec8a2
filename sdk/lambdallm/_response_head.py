"""Status, headers and cookies of an answer that is streamed: said before its first chunk."""

from __future__ import annotations

from lambdallm import _errors
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

STATUSES = range(200, 600)
"""What may be the last answer to a request; 1xx are not."""

PRELUDE_MAX_BYTES = 16_384
"""Of all of it. Source: API Gateway developer guide, "Lambda proxy integration with payload
response streaming" (metadata and delimiter stand within the first 16 KB), 2026-11."""

_NAME = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
"""Of a header's name in lower case. Source: RFC 9110, section 5.6.2."""


class ResponseHead:
    """What goes before a streamed body.

    Attributes:
        status: HTTP's.
        headers: By their names in lower case.
        cookies: Each a whole `Set-Cookie` value.
    """

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.cookies: list[str] = []

    def take(self, status: Any, headers: Any = None, cookies: Any = ()) -> None:
        """Set it; headers that are there already get the new value.

        Raises:
            ConfigurationError: It is no head of an HTTP answer; the message names what is not.
        """
        self.status = _status(status)
        if not isinstance(headers, dict | None):
            _refuse("headers", headers, "a dict of texts")
        for name, value in (headers or {}).items():
            if value is not None:
                self._add(name, value, joined=False)
        for cookie in _listed(cookies or ()):
            self.cookies.append(_text("set-cookie", cookie))

    def take_response(self, response: Mapping[str, Any]) -> None:
        """Set it by a dict in API Gateway's form, multi-value headers included.

        Raises:
            ConfigurationError: As `take`.
        """
        self.take(response.get("statusCode", 200), response.get("headers"), response.get("cookies"))
        for name, values in dict(response.get("multiValueHeaders") or {}).items():
            for value in _listed(values):
                self._add(name, value, joined=True)

    def to_response(self) -> dict[str, Any]:
        """Return it as a dict in API Gateway's form, without a body."""
        response: dict[str, Any] = {"statusCode": self.status, "headers": self.headers}
        return {**response, "cookies": self.cookies} if self.cookies else response

    def to_prelude(self) -> bytes:
        """Return it as it goes before a streamed body.

        Raises:
            ConfigurationError: It is too long.
        """
        prelude = plain_json.dumps(self.to_response()).encode("latin-1", "replace")
        if len(prelude) > PRELUDE_MAX_BYTES - 8:
            message = (
                f"Status, headers and cookies are {len(prelude):,} bytes, and may have "
                f"{PRELUDE_MAX_BYTES - 8:,}."
            )
            raise _errors.ConfigurationError(message)
        return prelude

    def _add(self, name: Any, value: Any, *, joined: bool) -> None:
        lower = name.lower() if isinstance(name, str) else ""
        if not lower or not _NAME.issuperset(lower):
            _refuse("a header's name", name, "letters, digits and '-'")
        text = _text(lower, value)
        if lower == "set-cookie":
            self.cookies.append(text)
        elif joined and lower in self.headers:
            self.headers[lower] += f", {text}"
        else:
            self.headers[lower] = text


def _status(status: Any) -> int:
    if isinstance(status, str) and status.isascii() and status.isdecimal():
        status = int(status)
    if isinstance(status, bool) or not isinstance(status, int) or status not in STATUSES:
        _refuse("status", status, "a whole number, 200 to 599")
    return int(status)


def _text(name: str, value: Any) -> str:
    """Return a header's value as HTTP can carry it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join([_text(name, each) for each in value])
    if not isinstance(value, str) or any(mark in value for mark in "\r\n\0"):
        _refuse(f"the header {name!r}", value, "a text of one line")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        _refuse(f"the header {name!r}", value, "Latin-1; anything else has to be encoded")
    return str(value)


def _listed(values: Any) -> Iterable[Any]:
    return [values] if isinstance(values, str) else values


def _refuse(what: str, given: Any, wanted: str) -> None:
    message = f"{what} of a streamed answer cannot be {given!r:.100}: it takes {wanted}."
    raise _errors.ConfigurationError(message)


class StartsResponse:
    """What a context can say of its streamed answer, and knows of those of models."""

    left_streams = ""
    """What becomes of a model's answer that is let go of early: "" or "cancel"."""

    response_head: ResponseHead | None = None
    """Of a handler of `@stream_handler`, until the first chunk has left."""

    _last_stream: Any = None

    @property
    def last_stream(self) -> Any:
        """The answer that was streamed last, None when nobody reads it any more."""
        return None if self._last_stream is None else self._last_stream()

    def note_stream(self, stream: Any) -> None:
        """Know of a streamed answer, without keeping it alive: its end frees its connection."""
        from _weakref import ref

        self._last_stream = ref(stream)

    def start_response(
        self,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        cookies: Iterable[str] = (),
    ) -> None:
        """Say the status, headers and cookies of a streamed answer, before its first chunk.

        Called again it adds headers and cookies; the last status, and the last value of a header,
        hold.

        Args:
            status: HTTP's, 200 to 599.
            headers: One value a name, in Latin-1; None leaves a header out.
            cookies: Whole `Set-Cookie` values.

        Raises:
            ConfigurationError: The handler is none of `@stream_handler`, its answer has begun, or
                this is no head of one; the message says what is not.
        """
        if self.response_head is None:
            message = (
                "start_response() is for handlers of @stream_handler, before their first chunk."
            )
            raise _errors.ConfigurationError(message)
        self.response_head.take(status, headers, cookies)
