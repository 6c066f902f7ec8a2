"""An answer whose chunks leave while the handler runs, from the managed runtime."""

from __future__ import annotations

from lambdallm import _errors, _responses, _runtime_client, _settings, _sse
from lambdallm._outgoing import HTTP, Answer
from lambdallm._response_head import ResponseHead
from lambdallm._response_stream import (
    PRELUDE_END,
    PRELUDE_TYPE,
    ClientGoneError,
    ResponseStream,
)
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._context import LambdaLLMContext
    from lambdallm._events import Incoming
    from lambdallm._outgoing import Declared

LAST_MS = 50
"""Kept free before Lambda's deadline, to go back to the runtime."""


class Streamed(Answer):
    """Posted to Lambda's Runtime API.

    From its first byte on the invocation is answered here, and the runtime says nothing more. So
    its end has to arrive whatever happens: a runtime that goes on before is refused, and ends.
    """

    def __init__(self, declared: Declared, incoming: Incoming, context: LambdaLLMContext) -> None:
        """Open nothing before there is something to send."""
        super().__init__(declared, incoming, context)
        self._stream: ResponseStream | None = None

    @property
    def begun(self) -> bool:  # type: ignore[override]  # of each answer, not of all
        """Whether the head has left."""
        return self._stream is not None

    def check(self, response: Any) -> None:
        """Refuse what has no head or body that could be sent.

        Raises:
            ConfigurationError, OutputError: It has none.
        """
        if self._is_whole(response):
            _parted(response)[0].to_prelude()

    def finish(self) -> None:
        """End it, and have Lambda's acknowledgement."""
        if self._stream is not None and self._stream.is_open:
            try:
                self._stream.finish()
            except ClientGoneError as gone:
                self._log("INFO", str(gone))

    def fail(self, error: Exception, problem: dict[str, Any]) -> Any:
        """Tell of the error, to a reader of events and to Lambda."""
        stream = self._stream
        assert stream is not None  # noqa: S101 - begun
        if stream.is_open:
            name = type(error).__name__
            words = problem["detail"] if self._declared.via in HTTP else _words_of(error)
            event = b""
            if self._declared.error_event and self._content_type.startswith("text/event-stream"):
                told = plain_json.dumps(problem, ensure_ascii=True)
                event = _sse.sse(told, event="error").encode()
            try:
                stream.write(event)
                stream.fail(name, words)
            except (ClientGoneError, _errors.SidecarError) as second:
                self._log("INFO", str(second))
        return self._stub(problem["status"])

    def send(self, response: Any) -> Any:
        """Send a whole answer with its prelude: without one its reader would see it as JSON."""
        if self.begun or not self._is_whole(response):
            return response
        head, data = _parted(response)
        self._content_type = head.headers.get("content-type") or _responses.JSON
        try:
            self._begin(head, {})
            self._put(data, data)
            self.finish()
        except ClientGoneError as gone:
            self._log("INFO", str(gone))
        except _errors.SidecarError as error:
            self._log("ERROR", error.detail)
            if not self.begun:  # nothing was sent: the runtime may do better
                return response
        return self._stub(head.status)

    def close(self) -> None:
        """Cut it where it has not ended: its reader must not take it for whole."""
        if self._stream is not None:
            self._stream.close()

    def _is_whole(self, response: Any) -> bool:
        return self._declared.via in HTTP and isinstance(response, dict)

    def _begin(self, head: ResponseHead, headers: dict[str, str]) -> None:
        super()._begin(head, headers)
        context, plain = self._context, self._declared.via not in HTTP
        prelude = b"" if plain else head.to_prelude() + PRELUDE_END
        left_ms = max(0, context.remaining_time_ms - LAST_MS)
        try:
            self._stream = ResponseStream(
                _settings.runtime_api(),
                context.work.request_id,
                _runtime_client.invocation_id(),
                content_type=head.headers["content-type"] if plain else PRELUDE_TYPE,
                prelude=prelude,
                chunk_seconds=context.usable_time_ms / 1_000,
                reply_seconds=left_ms / 1_000,
            )
        except OSError as error:
            message = f"Lambda's Runtime API cannot be reached: {error}."
            raise _errors.SidecarError(message, source="lambda") from error
        _runtime_client.take(context.work.request_id)

    def _flush_head(self) -> None:
        self._put(b"", b"")

    def _put(self, data: bytes, chunk: Any) -> None:
        assert self._stream is not None  # noqa: S101 - begun
        self._stream.write(data)

    def _returned(self, head: ResponseHead) -> Any:
        return self._stub(head.status)

    def _stub(self, status: int) -> Any:
        """Return what tools around the handler may look at; the runtime drops it."""
        return {"statusCode": status} if self._declared.via in HTTP else None


def _words_of(error: Exception) -> str:
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - an error that cannot say itself must not hide
        return f"(it cannot be said: {type(second).__name__})"


def _parted(response: dict[str, Any]) -> tuple[ResponseHead, bytes]:
    """Part a whole answer into its head and its body.

    Raises:
        ConfigurationError, OutputError: It has none that could be sent.
    """
    head = ResponseHead()
    head.take_response(response)
    body = response.get("body")
    if body is None:
        return head, b""
    if isinstance(body, (bytes, bytearray)):
        return head, bytes(body)
    if not isinstance(body, str):
        body = plain_json.dumps_whole(body)
    data = body.encode("utf-8", "replace")
    if response.get("isBase64Encoded"):
        from binascii import a2b_base64

        try:
            data = a2b_base64(data)
        except ValueError as error:
            message = f"The body is called Base64, and is none: {error}."
            raise _errors.OutputError(message) from error
    return head, data
