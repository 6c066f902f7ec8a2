"""One event's answer on its way out: a handler's chunks, one by one, and what becomes of them.

pump: chunk, chunk, chunk … ──► [the unit of work ends] ──► finish
         │                                      │
         ├── the client has gone: cancel ───────┤
         └── an error ──► the unit ends ──► fail

Buffered    collected, and returned
Pushed      sent as messages to the WebSocket connection that the event came from
`_streamed` posted to Lambda's Runtime API chunk by chunk, while the handler runs
"""

from __future__ import annotations

from lambdallm import _errors, _sse
from lambdallm._chunks import Chunks
from lambdallm._response_stream import ClientGoneError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._context import LambdaLLMContext
    from lambdallm._events import Incoming
    from lambdallm._response_head import ResponseHead

HTTP = ("function-url", "api-gateway")


class Declared:
    """What `@stream_handler` was given beside what `@handler` takes."""

    def __init__(
        self,
        *,
        via: str,
        content_type: str | None,
        on_disconnect: str,
        keep_partial: bool,
        error_event: bool,
    ) -> None:
        self.via = via
        self.content_type = content_type
        self.on_disconnect = on_disconnect
        self.keep_partial = keep_partial
        self.error_event = error_event


class Answer:
    """One event's answer. `begun` once something of it has left, or its way is the only one.

    Attributes:
        cancelled: Whether its reader has gone before the end, and the handler was stopped for it.
        returned: What a generator has returned without yielding: the answer is that.
    """

    begun = False

    def __init__(self, declared: Declared, incoming: Incoming, context: LambdaLLMContext) -> None:
        """Keep what it is made with."""
        self._declared = declared
        self._incoming = incoming
        self._context = context
        self._content_type = ""
        self._seen: list[str] = []
        self._chunks_sent = 0
        self.cancelled = False
        self.returned: Any = None

    def pump(self, value: Any, headers: dict[str, str]) -> Any:
        """Send what a handler yields, or the body that it has returned.

        Args:
            value: The handler's.
            headers: Ours, which its own stand before.

        Returns:
            What goes back to the runtime, if nothing else happens; None with `returned`.

        Raises:
            Exception: What the handler raises. That its reader has gone is for the policy.
        """
        head = self._context.response_head
        assert head is not None  # noqa: S101 - whoever has opened this has set it
        body = value
        if isinstance(value, dict):
            body = value["body"]
            if value.get("isBase64Encoded"):
                message = "A body that is made piece by piece is yielded as bytes, not as Base64."
                raise _errors.OutputError(message)
            head.take_response(value)
        chunks = Chunks(body)
        try:
            self._pump(chunks, head, headers)
        except ClientGoneError:
            self._leave(chunks)
        except BaseException:
            self._close_failed(chunks)
            raise
        finally:
            self._context.response_head = None
        chunks.close()
        self._context.metrics.record("response.chunks", self._chunks_sent)
        return None if self.returned is not None else self._returned(head)

    def check(self, response: Any) -> None:
        """Refuse an answer that is no stream and cannot be delivered.

        Raises:
            LambdaLLMError: It cannot.
        """

    def finish(self) -> None:
        """End it well."""

    def fail(self, error: Exception, problem: dict[str, Any]) -> Any:
        """End it with an error, after something has left; return what goes back to the runtime.

        Args:
            error: What was raised.
            problem: What may be told of it.
        """
        raise NotImplementedError  # each way has its own

    def send(self, response: Any) -> Any:
        """Deliver an answer that is no stream; return what goes back to the runtime."""
        return response

    def close(self) -> None:
        """Let go of what is still open, whatever has happened."""

    def _pump(self, chunks: Chunks, head: ResponseHead, headers: dict[str, str]) -> None:
        first = True
        for chunk in chunks:
            if first:
                self._choose_type(chunks, head, chunk)
            data = chunks.encode(chunk, self._content_type)
            if first:
                self._begin(head, headers)
                first = False
                if not data:
                    self._flush_head()
            if data:
                self._put(data, chunk)
                self._chunks_sent += 1
                if self._declared.keep_partial:
                    self._seen.append(_text_of(chunk))
        if not first:
            if chunks.returned is not None:
                self._log("WARNING", "What a handler returns after it has yielded goes nowhere.")
            return
        self.returned = chunks.returned
        if self.returned is None:
            self._choose_type(chunks, head, "")
            self._begin(head, headers)

    def _choose_type(self, chunks: Chunks, head: ResponseHead, first: Any) -> None:
        said = head.headers.get("content-type") or self._declared.content_type
        if not said and self._declared.error_event:
            said = _sse.CONTENT_TYPE
        self._content_type = said or chunks.content_type_of(first)

    def _leave(self, chunks: Chunks) -> None:
        """Do as the policy says with a handler whose reader has gone."""
        context, policy = self._context, self._declared.on_disconnect
        message = "The client has gone before the answer's end."
        self._log("INFO", message, on_disconnect=policy, chunks_sent=self._chunks_sent)
        context.metrics.record("response.disconnected", 1)
        if policy == "finish":
            for _ in chunks:
                pass
            return
        self.cancelled = True
        text = "".join(self._seen)
        if not text and context.last_stream is not None:  # none was sent: dicts, and such
            text = context.last_stream.text
        chunks.close()
        session = context.session
        if not (self._declared.keep_partial and text) or session is None:
            return
        if session.receipt is None:  # its last message is no answer
            session.add_message("assistant", text, partial=True)

    def _close_failed(self, chunks: Chunks) -> None:
        """Let go of a handler after an error, which stays the one that is told."""
        try:
            chunks.close()
        except Exception as second:  # noqa: BLE001 - the first error is the one to tell
            self._log("WARNING", f"The handler failed as it was let go of: {type(second).__name__}")

    def _begin(self, head: ResponseHead, headers: dict[str, str]) -> None:
        """Make what goes before the first chunk; it leaves with that, and cannot be changed."""
        self._context.response_head = None
        head.headers.setdefault("content-type", self._content_type)
        if self._content_type.startswith("text/event-stream"):
            headers = {**headers, **_sse.HEADERS}
        for name, value in headers.items():
            head.headers.setdefault(name, value)

    def _flush_head(self) -> None:
        """Send it now, without a chunk."""

    def _put(self, data: bytes, chunk: Any) -> None:
        """Send a chunk: its bytes, or as it was yielded."""
        raise NotImplementedError  # each way has its own

    def _returned(self, head: ResponseHead) -> Any:
        raise NotImplementedError  # each way has its own

    def _log(self, level: str, message: str, **facts: Any) -> None:
        from lambdallm import _log

        _log.write(level, message, request_id=self._context.work.request_id, **facts)


def _text_of(chunk: Any) -> str:
    """Return what a chunk shows to who reads text."""
    if isinstance(chunk, _sse.Event):
        return chunk.text
    return chunk if isinstance(chunk, str) else ""


class Buffered(Answer):
    """An answer in one piece."""

    def __init__(self, declared: Declared, incoming: Incoming, context: LambdaLLMContext) -> None:
        """Begin with nothing."""
        super().__init__(declared, incoming, context)
        self._data: list[bytes] = []

    def _put(self, data: bytes, chunk: Any) -> None:
        self._data.append(data)

    def _returned(self, head: ResponseHead) -> Any:
        data = b"".join(self._data)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = ""
        shape = self._incoming.shape
        if shape == "websocket":
            return {"statusCode": head.status, "body": text}
        if self._declared.via not in HTTP or shape != "http":
            return text if text or not data else data
        response = head.to_response()
        if self._incoming.lists_headers or self._declared.via == "api-gateway":
            _list_cookies(response)
        if text or not data:
            return {**response, "body": text}
        from binascii import b2a_base64

        encoded = b2a_base64(data, newline=False).decode()
        return {**response, "body": encoded, "isBase64Encoded": True}


def _list_cookies(response: dict[str, Any]) -> None:
    """Say cookies as REST APIs read them, which know no `cookies`."""
    cookies = response.pop("cookies", None)
    if cookies:
        response["multiValueHeaders"] = {"set-cookie": cookies}


class Pushed(Answer):
    """An answer in messages to a WebSocket connection: nobody reads what is returned."""

    begun = True

    def fail(self, error: Exception, problem: dict[str, Any]) -> Any:
        """Tell of the error in a message of its own."""
        try:
            self._context.push({"error": problem})
        except _errors.LambdaLLMError as second:
            self._log("INFO", second.detail)
        return {"statusCode": problem["status"]}

    def _choose_type(self, chunks: Chunks, head: ResponseHead, first: Any) -> None:
        """Leave it: messages have none."""

    def _put(self, data: bytes, chunk: Any) -> None:
        if not self._context.push(chunk if isinstance(chunk, (str, dict, list)) else data):
            message = "The WebSocket connection is gone."
            raise ClientGoneError(message)

    def _returned(self, head: ResponseHead) -> Any:
        return {"statusCode": head.status}
