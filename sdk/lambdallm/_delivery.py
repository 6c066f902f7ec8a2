"""How the answer of a handler of `@stream_handler` gets to whoever has asked.

    Streamed    posted to Lambda's Runtime API chunk by chunk, while the handler runs
    Pushed      sent as messages to the WebSocket connection that the event came from
    Buffered    collected, and returned: outside of Lambda, for other events, for unknown runtimes

    begin ──► pump: chunk, chunk, chunk … ──► [the unit of work ends] ──► finish
                 │                                      │
                 ├── the client has gone: cancel ───────┤
                 └── an error ──► the unit ends ──► fail: an event if asked, and the trailers

An answer is finished when the unit of work has ended well: who sees it whole knows it is stored.
"""

from __future__ import annotations

from lambdallm import _errors, _responses, _runtime_client, _settings, _sse
from lambdallm._chunks import Chunks
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

HTTP = ("function-url", "api-gateway")
VIAS = (*HTTP, "invoke", "websocket")
POLICIES = ("cancel", "finish")

LAST_MS = 50
"""Kept free before Lambda's deadline, to say that a chunk was not taken in time."""


class Delivery:
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

    def open(self, incoming: Incoming, context: LambdaLLMContext, *, outermost: bool) -> Answer:
        """Choose the way of one event's answer; nothing is sent yet.

        Args:
            incoming: The event.
            context: Of its handler.
            outermost: Whether Lambda itself has called this handler, and not another handler.
        """
        context.response_head = ResponseHead()
        if self.on_disconnect == "cancel":
            context.left_streams = "cancel"
        if self.via == "websocket":
            pushed = incoming.shape == "websocket" and _is_message(incoming.event)
            return (Pushed if pushed else Buffered)(self, incoming, context)
        nobody_waits = incoming.shape != "http" or incoming.resumed
        if not outermost or (self.via in HTTP and nobody_waits):
            return Buffered(self, incoming, context)
        why_not = _runtime_client.why_not(context.work.request_id)
        if why_not is None:
            return Streamed(self, incoming, context)
        if _settings.runtime_api():
            _runtime_client.tell_once(why_not)
        return Buffered(self, incoming, context)


class Answer:
    """One event's answer. `begun` once something of it has left."""

    begun = False
    cancelled = False
    """Whether its reader has gone before the end, and the handler was stopped for that."""

    def __init__(self, delivery: Delivery, incoming: Incoming, context: LambdaLLMContext) -> None:
        """Keep what it is made with."""
        self._delivery = delivery
        self._incoming = incoming
        self._context = context
        self._content_type = delivery.content_type or ""
        self.chunks_sent = self.bytes_sent = 0

    def pump(self, value: Any, headers: dict[str, str]) -> Any:
        """Send what a handler yields, or the body that it has returned.

        Args:
            value: The handler's.
            headers: Ours, which its own stand before.

        Returns:
            What goes back to the runtime, if nothing else happens.

        Raises:
            Exception: What the handler raises.
            ClientGoneError: Never: that is what the policy is for.
        """
        head = self._context.response_head
        assert head is not None  # noqa: S101 - `open` has set it
        body = value
        if isinstance(value, dict):
            body = value["body"]
            head.take_response(value)
        chunks = Chunks(body)
        try:
            self._pump(chunks, head, headers)
        except ClientGoneError:
            self._leave(chunks)
        finally:
            chunks.close()
            self._context.response_head = None
        self._context.metrics.record("response.chunks", self.chunks_sent)
        self._context.metrics.record("response.bytes", self.bytes_sent)
        return self._returned(head)

    def finish(self) -> None:
        """End it well."""

    def fail(self, error: Exception, problem: dict[str, Any]) -> Any:
        """End it with an error, after something has left; return what goes back to the runtime.

        Args:
            error: What was raised.
            problem: What may be told of it.
        """
        raise NotImplementedError

    def send(self, response: Any) -> Any:
        """Deliver an answer that is not streamed; return what goes back to the runtime."""
        return response

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
                self.chunks_sent += 1
                self.bytes_sent += len(data)
        if first:
            self._choose_type(chunks, head, "")
            self._begin(head, headers)

    def _choose_type(self, chunks: Chunks, head: ResponseHead, first: Any) -> None:
        said = head.headers.get("content-type") or self._delivery.content_type
        self._content_type = said or chunks.content_type_of(first)

    def _leave(self, chunks: Chunks) -> None:
        """Do as the policy says with a handler whose reader has gone."""
        context, policy = self._context, self._delivery.on_disconnect
        from lambdallm import _log

        _log.write(
            "INFO",
            "The client has gone before the answer's end.",
            on_disconnect=policy,
            chunks_sent=self.chunks_sent,
            request_id=context.work.request_id,
        )
        context.metrics.record("response.disconnected", 1)
        if policy == "finish":
            for _ in chunks:
                pass
            return
        self.cancelled = True
        said = context.last_stream
        text = "" if said is None else said.text
        chunks.close()
        session = context.session
        if not (self._delivery.keep_partial and text) or session is None:
            return
        if session.receipt is None:  # its last message is no answer
            session.add_message("assistant", text, partial=True)

    def _begin(self, head: ResponseHead, headers: dict[str, str]) -> None:
        """Make what goes before the first chunk; it leaves with that."""
        head.headers.setdefault("content-type", self._content_type)
        if self._content_type.startswith("text/event-stream"):
            headers = {**headers, **_sse.HEADERS}
        for name, value in headers.items():
            head.headers.setdefault(name, value)

    def _log_loss(self, error: Exception) -> None:
        from lambdallm import _log

        _log.write("INFO", str(error), request_id=self._context.work.request_id)

    def _flush_head(self) -> None:
        """Send it now, without a chunk."""

    def _put(self, data: bytes, chunk: Any) -> None:
        """Send a chunk: its bytes, or as it was yielded."""
        raise NotImplementedError

    def _returned(self, head: ResponseHead) -> Any:
        raise NotImplementedError


class Buffered(Answer):
    """An answer in one piece."""

    def __init__(self, delivery: Delivery, incoming: Incoming, context: LambdaLLMContext) -> None:
        """Begin with nothing."""
        super().__init__(delivery, incoming, context)
        self._data: list[bytes] = []

    def _put(self, data: bytes, chunk: Any) -> None:
        self._data.append(data)

    def _returned(self, head: ResponseHead) -> Any:
        data = b"".join(self._data)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = ""
        if self._delivery.via not in HTTP or self._incoming.shape != "http":
            return text if text or not data else data
        response = head.to_response()
        if self._incoming.lists_headers or self._delivery.via == "api-gateway":
            _with_listed_cookies(response)
        if text or not data:
            return {**response, "body": text}
        from binascii import b2a_base64

        encoded = b2a_base64(data, newline=False).decode()
        return {**response, "body": encoded, "isBase64Encoded": True}


def _with_listed_cookies(response: dict[str, Any]) -> None:
    """Say cookies as REST APIs read them, which know no `cookies`."""
    cookies = response.pop("cookies", None)
    if cookies:
        response["multiValueHeaders"] = {"set-cookie": cookies}


class Streamed(Answer):
    """An answer whose chunks leave as they are made."""

    def __init__(self, delivery: Delivery, incoming: Incoming, context: LambdaLLMContext) -> None:
        """Open nothing before there is something to send."""
        super().__init__(delivery, incoming, context)
        self._stream: ResponseStream | None = None

    @property
    def begun(self) -> bool:  # type: ignore[override]  # of each answer, not of all
        """Whether the head has left."""
        return self._stream is not None

    def finish(self) -> None:
        """End it, and have Lambda's acknowledgement."""
        if self._stream is not None and self._stream.is_open:
            try:
                self._stream.finish()
            except ClientGoneError as gone:
                self._log_loss(gone)

    def fail(self, error: Exception, problem: dict[str, Any]) -> Any:
        """Tell of the error, to a reader of events and to Lambda."""
        stream = self._stream
        assert stream is not None  # noqa: S101 - begun
        if stream.is_open:
            events = self._content_type.startswith("text/event-stream")
            try:
                if events and self._delivery.error_event:
                    stream.write(_sse.sse(problem, event="error").encode())
                stream.fail(type(error).__name__, self._told(error, problem))
            except (ClientGoneError, _errors.DeadlineExceededError) as gone:
                self._log_loss(gone)
        return self._stub(problem["status"])

    def send(self, response: Any) -> Any:
        """Send a whole answer with its prelude: without one its reader would see it as JSON."""
        if self.begun or self._delivery.via not in HTTP or not isinstance(response, dict):
            return response
        head = ResponseHead()
        head.take_response(response)
        data = str(response.get("body") or "").encode()
        if response.get("isBase64Encoded"):
            from binascii import a2b_base64

            data = a2b_base64(data)
        try:
            self._content_type = head.headers.get("content-type") or _responses.JSON
            self._begin(head, {})
            self._put(data, data)
        except ClientGoneError as gone:
            self._log_loss(gone)
        except _errors.SidecarError as error:  # nothing was sent: the runtime may do better
            self._log_loss(error)
            return response
        self.finish()
        return self._stub(head.status)

    def _begin(self, head: ResponseHead, headers: dict[str, str]) -> None:
        super()._begin(head, headers)
        request_id = self._context.work.request_id
        left = max(LAST_MS, self._context.remaining_time_ms - LAST_MS) / 1_000
        plain = self._delivery.via not in HTTP
        try:
            self._stream = ResponseStream(
                _settings.runtime_api(),
                request_id,
                _runtime_client.invocation_id(),
                content_type=self._content_type if plain else PRELUDE_TYPE,
                prelude=b"" if plain else _prelude(head) + PRELUDE_END,
                seconds=left,
            )
        except OSError as error:
            message = f"Lambda's Runtime API cannot be reached: {error}."
            raise _errors.SidecarError(message, source="lambda") from error
        _runtime_client.take(request_id)

    def _flush_head(self) -> None:
        self._put(b"", b"")

    def _put(self, data: bytes, chunk: Any) -> None:
        assert self._stream is not None  # noqa: S101 - begun
        self._stream.write(data)

    def _returned(self, head: ResponseHead) -> Any:
        return self._stub(head.status)

    def _stub(self, status: int) -> Any:
        """Return what tools around the handler may look at; the runtime drops it."""
        return {"statusCode": status} if self._delivery.via in HTTP else None

    def _told(self, error: Exception, problem: dict[str, Any]) -> dict[str, Any]:
        """Return an error as Lambda's runtimes tell it; all of it to whoever may invoke."""
        words = problem["detail"] if self._delivery.via in HTTP else str(error)
        return {"errorMessage": words, "errorType": type(error).__name__}


def _prelude(head: ResponseHead) -> bytes:
    return plain_json.dumps(head.to_response()).encode()


class Pushed(Answer):
    """An answer in messages to a WebSocket connection: nobody reads what is returned."""

    begun = True

    def fail(self, error: Exception, problem: dict[str, Any]) -> Any:
        """Tell of the error in a message of its own."""
        try:
            self._context.push({"error": problem})
        except _errors.LambdaLLMError as second:
            self._log_loss(second)
        return {"statusCode": problem["status"]}

    def _put(self, data: bytes, chunk: Any) -> None:
        if not self._context.push(chunk if isinstance(chunk, (str, dict, list)) else data):
            message = "The WebSocket connection is gone."
            raise ClientGoneError(message)

    def _returned(self, head: ResponseHead) -> Any:
        return {"statusCode": head.status}


def _is_message(event: Any) -> bool:
    """Say whether an event of a WebSocket can be answered by messages: its opening cannot."""
    request = event.get("requestContext")
    return isinstance(request, dict) and request.get("eventType", "MESSAGE") == "MESSAGE"
