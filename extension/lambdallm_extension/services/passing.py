"""Requests of clients that never heard of us: passed on byte for byte, and metered on the way.

forward ──► no success ──► the API's own refusal, as it came; booked as failed
├─► whole answer ──► read for its usage ──► settled ──► as it came
└─► stream ──► each piece is read for its usage, then handed on as it came;
settled before the piece with the API's end mark is handed on
"""

from __future__ import annotations

from lambda_runtime_api import http1
from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.services.streaming import Drain, MeteredAnswer
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.domain.answers import ChatAnswer
    from lambdallm_extension.model_ports import (
        Dialect,
        Provider,
        RawReply,
        RawRequest,
        StreamReader,
    )
    from lambdallm_extension.services.calls import Books, Call, Settled
    from lambdallm_extension.services.metering import Totals
    from lambdallm_extension.services.open_streams import OpenStreams

ANSWER_MAX_BYTES = 33_554_432
"""Of an answer that is not streamed; images as Base64 are the largest."""

_CONVERSE = ("/converse", "/converse-stream")

OK = 200
NOT_TAKEN = (400, 422)
"""How servers refuse a field that they do not know."""


class Passage(NamedTuple):
    """A client's request, and what is known of it.

    Attributes:
        request: As it goes on.
        provider: Whose API it is for.
        dialect: Reads the answer; None where nobody does: then it is unmetered.
        model: `provider/model`, as far as the request says.
        model_id: As the API knows it.
        streamed: Whether it asks for a stream.
        operation: `chat` or `embeddings`.
        hide: Takes out of a stream what was asked for in the client's place; None: nothing was.
        own_body: The client's own body, sent where the API refuses what was asked for; None where
            nothing was.
        free: Whether nothing is generated, so that no budget is asked.
    """

    request: RawRequest
    provider: Provider
    dialect: Dialect | None
    model: str
    model_id: str
    streamed: bool = False
    operation: str = "chat"
    hide: Callable[[bytes], bytes] | None = None
    own_body: bytes | None = None
    free: bool = False


class Passed(NamedTuple):
    """What goes back to the client: its body at once, or in pieces; and how a whole one was booked.

    Attributes:
        answer: As its dialect has read it; None where nobody has, or could.
        settled: How it was booked, None where it was not, or later.
        failure: Why it was booked as none; None where it was booked as one.
    """

    status: int
    headers: Headers
    body: bytes
    pieces: PassedStream | None
    answer: ChatAnswer | None = None
    settled: Settled | None = None
    failure: errors.ProviderError | None = None


class Passing:
    """Passes requests on."""

    def __init__(self, books: Books, streams: OpenStreams, *, drain_seconds: float) -> None:
        """Stand on these; see `services.chat.Chat`."""
        self._books = books
        self._streams = streams
        self._drain_seconds = drain_seconds

    def send(
        self, passage: Passage, call_id: str, work_id: str, totals: Totals, *, deadline_ms: int
    ) -> Passed:
        """Pass a request on once: clients bring retries of their own.

        Raises:
            ProviderError: The API was not reached, or its answer was lost.
            DeadlineError, SettingError: Nothing was sent.
        """
        operation = passage.operation if passage.dialect is not None else "unmetered"
        call = self._books.open(
            call_id,
            work_id,
            totals,
            deadline_ms=deadline_ms,
            operation=operation,
            body=None if passage.dialect is None else lambda _: _body_of(passage),
        )
        call.intend(passage.model, region=passage.request.region, free=passage.free)
        totals.note_passed(call_id)
        try:
            passage, reply = _forward(passage, deadline_ms)
            try:
                return self._pass(passage, reply, call, deadline_ms)
            except BaseException:
                reply.close()
                raise
        except errors.ProviderError as error:
            call.refused(error)
            call.fail(passage.model, error)
            raise
        except BaseException as error:
            call.break_off(passage.model, error)
            raise

    def _pass(self, passage: Passage, reply: RawReply, call: Call, deadline_ms: int) -> Passed:
        if passage.dialect is None:
            call.pass_unmetered(passage.model)
            return Passed(reply.status, reply.headers, b"", PassedStream(reply))
        if reply.status == OK and passage.streamed:
            reader = passage.dialect.read_stream(passage.model_id, reply.headers)
            hide = passage.hide
            if http1.content_coding(reply.headers):
                from lambdallm_extension.services import coded_replies

                if hide is not None and coded_replies.may_decode(reply.headers):
                    reply = coded_replies.DecodedReply(reply)
                else:
                    reader, hide = coded_replies.CodedReader(reply.headers, reader), None
            region = passage.request.region
            metered = MeteredAnswer(
                reader.answer, call, self._streams, model=passage.model, region=region
            )
            drain = Drain(self._books.clock, self._drain_seconds, deadline_ms)
            pieces = MeteredStream(reply, reader, metered, drain, hide)
            return Passed(reply.status, reply.headers, b"", pieces)
        body = _read_all(reply)
        passed = Passed(reply.status, reply.headers, body, None)
        if reply.status != OK:
            said = _said(reply, body)
            error = passage.dialect.refusal(passage.model_id, reply.status, reply.headers, said)
            call.refused(error)
            call.fail(passage.model, error)
            return passed._replace(failure=error)
        try:
            plain = _plain(reply.headers, body)
            answer = passage.dialect.decode(passage.model_id, reply.headers, plain)
        except errors.ProviderError as unreadable:  # which the client gets all the same
            call.refused(unreadable)
            call.fail(passage.model, unreadable)
            return passed._replace(failure=unreadable)
        if passage.operation == "embeddings":  # which generate nothing
            answer = answer._replace(usage={**answer.usage, "output_tokens": 0})
        settled = call.settle(
            passage.model,
            answer,
            region=passage.request.region,
            estimated=answer.raw_usage is None and any(answer.usage.values()),
        )
        return passed._replace(answer=answer, settled=settled)


class PassedStream:
    """A body as it comes."""

    def __init__(self, reply: RawReply) -> None:
        """Take a reply whose head has come."""
        self._reply = reply

    def read(self) -> bytes:
        """Return the next piece, nothing at the end.

        Raises:
            ProviderError: It was cut.
        """
        return self._reply.read()

    def close(self) -> None:
        """Let go of it."""
        self._reply.close()


class MeteredStream(PassedStream):
    """A streamed answer as it comes, which is read for its usage on the way."""

    def __init__(
        self,
        reply: RawReply,
        reader: StreamReader,
        metered: MeteredAnswer,
        drain: Drain,
        hide: Callable[[bytes], bytes] | None,
    ) -> None:
        """Take a 200 whose head has come, and the reader of its form."""
        super().__init__(reply)
        self._reader = reader
        self._metered = metered
        self._drain = drain
        self._hide = hide
        self._failed = False
        self._ended = False

    def read(self) -> bytes:
        """Return the next piece as it came, nothing at the end.

        Raises:
            ProviderError: It was cut, and so must be what the client gets of it.
        """
        while not self._ended:
            try:
                piece = self._reply.read()
            except errors.ProviderError as error:
                self._ended = True
                self._metered.fail(error)
                raise
            self._take(piece)
            if not piece:
                self._ended = True
                return b"" if self._hide is None else self._hide(b"")
            shown = piece if self._hide is None else self._hide(piece)
            if shown:
                return shown
        return b""

    def close(self) -> None:
        """Let go of it, and read the rest for its usage where the client went before the end."""
        try:
            goes_on = not (self._ended or self._metered.call.ended)
            if goes_on and not self._drain.run(self._reply, self._goes_on):
                self._metered.leave()
        except errors.ProviderError as error:
            self._metered.fail(error)
        finally:
            self._ended = True
            super().close()
            self._metered.release()

    def _goes_on(self) -> bool:
        piece = self._reply.read()
        self._take(piece)
        return bool(piece)

    def _take(self, piece: bytes) -> None:
        """Read a piece for what it says, and book the answer when it is whole.

        What the reader refuses is the client's to judge: it gets the bytes all the same.
        """
        if self._failed:
            return
        try:
            if piece:
                self._reader.feed(piece)
            else:
                self._reader.end()
        except errors.ProviderError as error:
            self._failed = True
            self._metered.fail(error)
            return
        if self._metered.answer.ended or not piece:
            self._metered.settle()


def _forward(passage: Passage, deadline_ms: int) -> tuple[Passage, RawReply]:
    """Send a request; where the API refuses what was asked for in the client's place, without that.

    A refusal generates nothing.
    """
    reply = passage.provider.forward(passage.request, deadline_ms=deadline_ms)
    if reply.status not in NOT_TAKEN or passage.own_body is None:
        return passage, reply
    reply.close()
    own = passage.request._replace(body=passage.own_body)
    passage = passage._replace(request=own, hide=None, own_body=None)
    return passage, passage.provider.forward(own, deadline_ms=deadline_ms)


def _body_of(passage: Passage) -> Any:
    """Return a request as JSON tells it, None where it is none: then nothing bounds it.

    One of Converse has its form, whatever stands beside what that API reads.
    """
    try:
        body = plain_json.loads(passage.request.body)
    except (ValueError, RecursionError):
        return None
    if isinstance(body, dict) and passage.request.path.endswith(_CONVERSE):
        return {"messages": [], "inferenceConfig": {}, **body}
    return body


def _plain(headers: Headers, body: bytes) -> bytes:
    """Return a copy of a body as its dialect reads it.

    Raises:
        ProviderError: It is in a coding that cannot be undone.
    """
    if not http1.content_coding(headers):
        return body
    from lambdallm_extension.services import coded_replies

    return coded_replies.read_body(headers, body, ANSWER_MAX_BYTES)


def _said(reply: RawReply, body: bytes) -> bytes:
    """Return what a refusal says, nothing where it cannot be read: the status says enough."""
    try:
        return _plain(reply.headers, body)
    except errors.ProviderError:
        return b""


def _read_all(reply: RawReply) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := reply.read():
            pieces.append(piece)
            size += len(piece)
            if size > ANSWER_MAX_BYTES:
                detail = f"The answer is longer than {ANSWER_MAX_BYTES:,} bytes."
                raise errors.ProviderError(detail, kind="TooLong", status=OK)
    finally:
        reply.close()
    return b"".join(pieces)
