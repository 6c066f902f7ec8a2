"""Status, headers and cookies of an answer that is streamed: said before its first chunk."""

from __future__ import annotations

from lambdallm import _errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

STATUSES = range(100, 600)


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

    def take(self, status: Any, headers: Any, cookies: Any) -> None:
        """Set it.

        Raises:
            ConfigurationError: It is no status, or no mapping of texts.
        """
        if isinstance(status, bool) or not isinstance(status, int) or status not in STATUSES:
            message = f"status={status!r}: a streamed answer needs a whole number, 100 to 599."
            raise _errors.ConfigurationError(message)
        self.status = status
        for name, value in dict(headers or {}).items():
            self.add(str(name).lower(), value)
        self.cookies += [str(cookie) for cookie in cookies or ()]

    def take_response(self, response: Mapping[str, Any]) -> None:
        """Set it by a dict in API Gateway's form, multi-value headers included."""
        self.take(response.get("statusCode", 200), response.get("headers"), response.get("cookies"))
        for name, values in dict(response.get("multiValueHeaders") or {}).items():
            for value in values:
                self.add(str(name).lower(), value)

    def add(self, name: str, value: Any) -> None:
        """Add a header; a cookie goes to the cookies, of which an answer may have many."""
        text = str(value)
        if name == "set-cookie":
            self.cookies.append(text)
        elif name in self.headers and self.headers[name] != text:
            self.headers[name] += f", {text}"
        else:
            self.headers[name] = text

    def to_response(self) -> dict[str, Any]:
        """Return it as a dict in API Gateway's form, without a body."""
        response: dict[str, Any] = {"statusCode": self.status, "headers": self.headers}
        return {**response, "cookies": self.cookies} if self.cookies else response


class StartsResponse:
    """What a context can say of its streamed answer, and knows of those of models."""

    left_streams = ""
    """What becomes of a model's answer that is let go of early: "" or "cancel"."""

    _last_stream: Any = None

    response_head: ResponseHead | None = None
    """Of a handler of `@stream_handler`, until the first chunk has left."""

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

        Called again it adds headers and cookies, and the last status holds.

        Args:
            status: HTTP's.
            headers: One value a name.
            cookies: Whole `Set-Cookie` values.

        Raises:
            ConfigurationError: The handler is none of `@stream_handler`, its answer has begun, or
                the status is none.
        """
        if self.response_head is None:
            message = (
                "start_response() is for handlers of @stream_handler, before their first chunk."
            )
            raise _errors.ConfigurationError(message)
        self.response_head.take(status, headers, cookies)
