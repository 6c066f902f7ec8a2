"""Answers that are read as they come: in an API's own bytes, or in our pieces of them."""

from __future__ import annotations

from lambdallm_extension.errors import ProviderError
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_extension.http_client.client import Exchange
    from lambdallm_extension.model_ports import StreamReader
    from lambdallm_wire.chat import ChatDelta

    T = TypeVar("T")

READ_TIMEOUT_SECONDS = 900.0
"""A model may be silent until its whole answer stands; the call's deadline is the real limit.

Source: 900 s is the longest a Lambda invocation can last (Lambda quotas, 2026-11).
"""

REFUSAL_MAX_BYTES = 1_048_576
"""Of the body of a reply that is no success; longer ones are cut off by an error of ours."""


class RawExchange:
    """A reply as it comes; its errors are a provider's."""

    def __init__(self, name: str, exchange: Exchange) -> None:
        """Take a reply whose head has come."""
        self.status = exchange.status
        self.headers = exchange.headers
        self._name = name
        self._exchange = exchange

    def read(self) -> bytes:
        """Return what comes next of the body, nothing at its end.

        Raises:
            ProviderError: It was cut.
        """
        try:
            return self._exchange.read()
        except AnswerLostError as error:
            raise lost(self._name, error) from error

    def extend(self, deadline_ms: int, read_seconds: float) -> None:
        """Read the rest under other limits."""
        self._exchange.extend(deadline_ms, read_seconds)

    def close(self) -> None:
        """Let go of the connection."""
        self._exchange.close()


class ProviderStream:
    """A streamed answer: bytes from a connection, pieces from the reader of its form."""

    def __init__(self, name: str, exchange: Exchange, reader: StreamReader) -> None:
        """Take a 200 whose head has come, and the reader of its form."""
        self.answer: AnswerSoFar = reader.answer
        self.extend = exchange.extend
        self.close = exchange.close
        self._name = name
        self._exchange = exchange
        self._reader = reader

    def read(self) -> list[ChatDelta] | None:
        """Return the next pieces, perhaps none of them yet; None at the end.

        Raises:
            ProviderError: It was cut, or the model failed within it.
        """
        try:
            self._reader.feed(b"")  # raises what it was told beside its last pieces
            received = self._exchange.read()
            if received:
                return self._reader.feed(received)
            self._reader.end()
        except AnswerLostError as error:
            raise lost(self._name, error) from error  # it has let go of its connection
        except BaseException:
            self.close()
            raise
        return None


def ask(name: str, send: Callable[[], T]) -> T:
    """Return what a sending returns; that it failed is told as a provider's error.

    Raises:
        ProviderError: It was not reached, or did not answer.
    """
    try:
        return send()
    except NotSentError as error:
        raise unreached(name, error) from error
    except AnswerLostError as error:
        raise lost(name, error) from error


def unreached(name: str, error: NotSentError) -> ProviderError:
    """Make the error of a call that was never sent."""
    detail = (
        f"{name} was not reached: {error.detail} In a VPC the function needs a NAT gateway, or an "
        "endpoint for this service."
    )
    return ProviderError(detail, kind="NotSent", retryable=True, sent=False, source=name)


def lost(name: str, error: AnswerLostError) -> ProviderError:
    """Make the error of a call whose answer did not come, or not all of it."""
    detail = (
        f"{name}'s answer was lost: {error.detail} It may be billed, so it is not asked for again. "
        "If it takes too long: give the function a longer timeout, ask for fewer tokens "
        "(max_tokens), or ask a faster model."
    )
    return ProviderError(detail, kind="AnswerLost", source=name)


def cut(name: str) -> ProviderError:
    """Make the error of a stream that ended without its API's own mark of the end."""
    detail = (
        f"{name}'s stream ended before the answer was whole. What came of it has been generated, "
        "and is billed; it is not asked for again."
    )
    return ProviderError(detail, status=200, kind="CutStream", source=name)


def read_refusal(exchange: Exchange) -> bytes:
    """Return the body of a reply that is no success, as far as it comes."""
    try:
        return exchange.read_all(REFUSAL_MAX_BYTES)
    except AnswerLostError:
        return b""  # the status alone says enough
