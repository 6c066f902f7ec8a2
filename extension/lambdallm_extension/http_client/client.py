"""A client of one remote HTTP API: keeps connections, and says exactly how a call failed.

It sends once. What may be sent again is for the caller to decide, who knows what it means; the
one exception is a connection that the peer gave up while it was idle, see `HttpClient.send`.

    send ──► HttpReply                            the whole answer
    open ──► Exchange ──► read … read ──► b""     an answer that is read as it comes
"""

from __future__ import annotations

from threading import Lock, Thread

from lambda_runtime_api import http1
from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.errors import DeadlineError, SettingError
from lambdallm_extension.http_client.connection import Connection, Patience, open_connection
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_extension.http_client.pool import Pool
from lambdallm_extension.http_client.proxies import pick_proxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambda_runtime_api.http1 import Headers, Response
    from lambdallm_extension.http_client.urls import Url
    from lambdallm_extension.ports import Clock

__all__ = ["AnswerLostError", "Exchange", "HttpClient", "HttpReply", "NotSentError", "Patience"]

KEPT_SILENCE_SECONDS = 1.0
"""After which a kept connection counts as dead, where asking again does no harm.

A NAT gateway forgets connections without a word; what is sent on them vanishes.
"""

OPEN_AHEAD_MS = 5_000
"""How long a connection that nobody waits for yet may take to open."""

_FIRST_ERROR_STATUS = 400


class HttpReply(NamedTuple):
    """A whole reply, whatever its status. Header names are lower case."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        """Return the first value of a header by its lower-case name, "" when it is missing."""
        return next((value for candidate, value in self.headers if candidate == name), "")


class Exchange:
    """A reply whose head has come and whose body is read as it comes. For one thread at a time.

    Attributes:
        status: HTTP status.
        headers: As they came, names in lower case.
    """

    def __init__(
        self, pool: Pool, connection: Connection, head: Response, patience: Patience
    ) -> None:
        self.status = head.status
        self.headers = head.headers
        self._pool = pool
        self._connection: Connection | None = connection
        self._keep_alive = head.keep_alive
        self._patience = patience

    def header(self, name: str) -> str:
        """Return the first value of a header by its lower-case name, "" when it is missing."""
        return next((value for candidate, value in self.headers if candidate == name), "")

    def read(self) -> bytes:
        """Return what comes next of the body, nothing at its end and after `close`.

        Raises:
            AnswerLostError: Not all of the body came, or none of it for too long.
        """
        connection = self._connection
        if connection is None:
            return b""
        try:
            piece = connection.read_piece(self._patience)
        except BaseException:
            self.close()
            raise
        if not piece:
            self._connection = None
            _let_go(self._pool, connection, keep=self._keep_alive)
        return piece

    def read_all(self, bytes_max: int) -> bytes:
        """Return the rest of the body.

        Raises:
            AnswerLostError: Not all of it came, or it is longer than `bytes_max`.
        """
        pieces: list[bytes] = []
        size = 0
        while piece := self.read():
            pieces.append(piece)
            size += len(piece)
            if size > bytes_max:
                self.close()
                message = f"The answer is longer than {bytes_max:,} bytes."
                raise AnswerLostError(message)
        return b"".join(pieces)

    def extend(self, deadline_ms: int, read_seconds: float) -> None:
        """Read the rest under other limits."""
        self._patience = self._patience._replace(deadline_ms=deadline_ms, read_seconds=read_seconds)

    def close(self) -> None:
        """Let go of the connection, which ends the answer where it has not ended yet."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.drop(connection)


class DecodedExchange(Exchange):
    """A reply whose body comes coded, as gzip mostly, and is read without that."""

    def __init__(
        self, pool: Pool, connection: Connection, head: Response, patience: Patience
    ) -> None:
        from lambdallm_extension.domain.content_coding import Inflater, without_coding

        super().__init__(pool, connection, head, patience)
        self.headers = without_coding(head.headers)
        self._inflater: Inflater | None = Inflater(http1.content_coding(head.headers))

    def read(self) -> bytes:
        """Return what comes next of the body, nothing at its end and after `close`.

        Raises:
            AnswerLostError: As `Exchange.read`, or its coding is damaged or cut.
        """
        inflater = self._inflater
        if inflater is None:
            return b""
        try:
            while not (piece := inflater.take()):
                received = super().read()
                if not received:
                    inflater.end()
                    break
                inflater.feed(received)
        except ValueError as error:
            self.close()
            raise AnswerLostError(str(error)) from None
        return piece

    def close(self) -> None:
        """Let go of the connection, and of what has not been read yet."""
        self._inflater = None
        super().close()


class HttpClient:
    """Calls one address. Threads share it; nothing is opened or read before the first call."""

    def __init__(
        self, name: str, url: Callable[[], Url], environ: Mapping[str, str], clock: Clock
    ) -> None:
        """Name the address.

        Args:
            name: Of the thread that opens connections ahead.
            url: Where it is, or a `SettingError` that says why nobody knows.
            environ: Proxies and trust.
            clock: Deadlines, and the age of idle connections.
        """
        self._name = name
        self._url = url
        self._environ = environ
        self._clock = clock
        self._pool = Pool(clock)
        self._opening = Lock()

    def patience(
        self, deadline_ms: int, *, connect_seconds: float = 3.0, read_seconds: float = 60.0
    ) -> Patience:
        """Say how long a call may take.

        Args:
            deadline_ms: Wall clock, epoch milliseconds; bounds all steps together.
            connect_seconds: For each step until the request leaves.
            read_seconds: For each wait for more bytes of the reply.
        """
        return Patience(self._clock, deadline_ms, connect_seconds, read_seconds)

    def send(
        self, method: str, request: bytes, patience: Patience, *, idempotent: bool = False
    ) -> HttpReply:
        """Send a request once and return the whole reply, whatever its status.

        Args:
            method: Of the request.
            request: Its bytes.
            patience: How long all of it may take.
            idempotent: Sending twice does no harm. A kept connection that was closed, or silent
                for a second, without a byte of an answer is then replaced once by a fresh one.

        Raises:
            DeadlineError: The deadline has passed; nothing was sent.
            NotSentError: Nothing was processed.
            AnswerLostError: It may have been processed. Its body may be in a coding that cannot
                be undone; one whose status is an error is then empty.
            SettingError: Endpoint, proxy or trust must be set right.
        """
        kept = self._pool.take(patience)
        if kept is None:
            return self._exchange(self._open(patience), method, request, patience)
        brief = min(patience.read_seconds, KEPT_SILENCE_SECONDS)
        hope = patience._replace(read_seconds=brief) if idempotent else patience
        lost: AnswerLostError | None = None
        try:
            return self._exchange(kept, method, request, hope)
        except NotSentError:
            pass  # Nothing was processed: a fresh connection may carry it.
        except AnswerLostError as error:
            if not (idempotent and error.silent):
                raise
            lost = error
        self._pool.drop_idle()  # What killed this one has killed those that are older.
        try:
            self._pool.claim(patience)
            return self._exchange(self._open(patience), method, request, patience)
        except (NotSentError, DeadlineError):
            if lost is None:
                raise
            raise lost from None  # The first sending may have been processed all the same.

    def open(
        self, method: str, request: bytes, patience: Patience, *, decode: bool = False
    ) -> Exchange:
        """Send a request once and return its reply as soon as the head is there.

        Args:
            method: Of the request.
            request: Its bytes.
            patience: How long all of it may take.
            decode: Undo a content coding of the body; else its bytes stay as they are.

        Raises:
            DeadlineError, NotSentError, AnswerLostError, SettingError: As `send`.
        """
        connection = self._pool.take(patience)
        if connection is not None:
            try:
                return self._begin(connection, method, request, patience, decode=decode)
            except NotSentError:
                self._pool.drop_idle()
                self._pool.claim(patience)
        return self._begin(self._open(patience), method, request, patience, decode=decode)

    def reopen(self, prepare: Callable[[], object] = bool) -> None:
        """Drop idle connections that a freeze may have killed, and open one if none is left.

        Returns at once; the connection is opened by a thread, which calls `prepare` before.
        """
        if self._pool.drop_idle(suspect_only=True) or not self._opening.acquire(blocking=False):
            return
        Thread(
            target=self._open_ahead, args=(prepare,), name=f"open {self._name}", daemon=True
        ).start()

    def close(self) -> None:
        """Close the connections, those in use when their call ends."""
        self._pool.close()

    def _open(self, patience: Patience) -> Connection:
        """Open a connection for a permit that the pool has given; hand it back on failure."""
        connection = None
        try:
            url = self._url()
            connection = open_connection(
                url, pick_proxy(url, self._environ), self._environ, patience
            )
            return connection
        finally:
            if connection is None:
                self._pool.drop(None)

    def _exchange(
        self, connection: Connection, method: str, request: bytes, patience: Patience
    ) -> HttpReply:
        whole = False
        try:
            head, body = connection.exchange(method, request, patience)
            whole = head.keep_alive
            coding = http1.content_coding(head.headers)
            return (_decoded if coding else HttpReply)(head.status, head.headers, body)
        finally:
            _let_go(self._pool, connection, keep=whole)

    def _begin(
        self,
        connection: Connection,
        method: str,
        request: bytes,
        patience: Patience,
        *,
        decode: bool,
    ) -> Exchange:
        try:
            connection.send(method, request, patience)
            head = connection.read_head(patience)
        except BaseException:
            self._pool.drop(connection)
            raise
        coded = decode and http1.content_coding(head.headers)
        return (DecodedExchange if coded else Exchange)(self._pool, connection, head, patience)

    def _open_ahead(self, prepare: Callable[[], object]) -> None:
        deadline_ms = self._clock.epoch_ms() + OPEN_AHEAD_MS
        patience = Patience(self._clock, deadline_ms, OPEN_AHEAD_MS / 1000, 0)
        try:
            prepare()
            self._pool.claim(patience)
            self._pool.put(self._open(patience))
        except (DeadlineError, NotSentError, SettingError):
            return  # The first call meets the same and tells it to somebody who waits.
        finally:
            self._opening.release()


def _let_go(pool: Pool, connection: Connection, *, keep: bool) -> None:
    """Give a connection back, if nothing has come on it that nobody asked for."""
    if keep and connection.reusable:
        pool.put(connection)
    else:
        pool.drop(connection)


def _decoded(status: int, headers: Headers, body: bytes) -> HttpReply:
    """Return a reply without the coding of its body.

    Raises:
        AnswerLostError: It cannot be undone, or is longer then than is taken.
    """
    from lambdallm_extension.domain.content_coding import inflate, without_coding

    try:
        body = inflate(http1.content_coding(headers), body, http1.BODY_MAX_BYTES)
    except ValueError as error:
        if status >= _FIRST_ERROR_STATUS:
            return HttpReply(status, headers, b"")  # the status alone says enough
        raise AnswerLostError(str(error)) from None
    return HttpReply(status, without_coding(headers), body)
