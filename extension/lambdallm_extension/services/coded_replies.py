"""Answers that came as gzip to clients of others: what is read of them for their books.

The bytes go on as they are. Where an event has to be taken out of a stream they cannot: then it
goes on without its coding, which is the same answer.
"""

from __future__ import annotations

from lambda_runtime_api import http1
from lambdallm_extension.domain.content_coding import (
    READABLE,
    Inflater,
    inflate,
    without_coding,
)
from lambdallm_extension.errors import ProviderError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_extension.model_ports import RawReply, StreamReader
    from lambdallm_wire.chat import ChatDelta

OK = 200


def may_decode(headers: Headers) -> bool:
    """Say whether the coding of a reply can be undone here."""
    return http1.content_coding(headers) in READABLE


def read_body(headers: Headers, body: bytes, bytes_max: int) -> bytes:
    """Return a copy of a whole body without its coding.

    Raises:
        ProviderError: It cannot be undone, or is longer then.
    """
    try:
        return inflate(http1.content_coding(headers), body, bytes_max)
    except ValueError as error:
        raise _unreadable(error) from None


class DecodedReply:
    """A `model_ports.RawReply` without the coding that it came in."""

    def __init__(self, reply: RawReply) -> None:
        """Take a reply whose head has come."""
        self.status = reply.status
        self.headers = without_coding(reply.headers)
        self.extend = reply.extend
        self.close = reply.close
        self._reply = reply
        self._inflater = Inflater(http1.content_coding(reply.headers))

    def read(self) -> bytes:
        """Return what comes next of the body, nothing at its end.

        Raises:
            ProviderError: It was cut, or its coding is damaged.
        """
        try:
            while not (piece := self._inflater.take()):
                received = self._reply.read()
                if not received:
                    self._inflater.end()
                    break
                self._inflater.feed(received)
        except ValueError as error:
            raise _unreadable(error) from None
        return piece


class CodedReader:
    """A `model_ports.StreamReader` of coded bytes; pieces are for nobody here."""

    def __init__(self, headers: Headers, reader: StreamReader) -> None:
        """Take the reply's headers, and the reader of what is in it."""
        self.answer: AnswerSoFar = reader.answer
        self._reader = reader
        self._inflater = Inflater(http1.content_coding(headers))

    def feed(self, data: bytes) -> list[ChatDelta]:
        """Take bytes as they came.

        Raises:
            ProviderError: What the reader inside raises, or the coding is damaged.
        """
        self._inflater.feed(data)
        try:
            while piece := self._inflater.take():
                self._reader.feed(piece)
        except ValueError as error:
            raise _unreadable(error) from None
        return []

    def end(self) -> None:
        """Know that no more bytes come.

        Raises:
            ProviderError: What the reader inside raises, or the coding is cut.
        """
        try:
            self._inflater.end()
        except ValueError as error:
            raise _unreadable(error) from None
        self._reader.end()


def _unreadable(error: ValueError) -> ProviderError:
    detail = f"The answer cannot be read. {error} It may be billed; it is not asked for again."
    return ProviderError(detail, status=OK, kind="MalformedReply")
