"""A reply of the sidecar that is read while it comes, and its lines, from either host."""

from __future__ import annotations

from _thread import allocate_lock

from lambda_runtime_api import http1
from lambdallm import _errors
from lambdallm._connection import FIRST_REFUSAL, Connection, describe_loss
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from lambdallm._connection import Reply
    from lambdallm._pool import Pool

    class Source(Protocol):
        """The bytes of a streamed reply. For one thread at a time, but for `close`."""

        def read(self) -> bytes:
            """Wait for more; b"" at the end."""
            ...

        def close(self) -> None:
            """Let go of it, at its end or before; another thread that reads lets go of it, too."""
            ...


class SidecarStream:
    """One streamed reply, and the place among the calls under way that it takes."""

    def __init__(self, pool: Pool) -> None:
        """Begin with no connection; the caller has taken the place."""
        self._pool = pool
        self._connection: Connection | None = None
        self._timeout_seconds = 0.0
        self._status = 0
        self._lock = allocate_lock()
        self._closed = False
        self._reading = False
        self.begun = False

    def connect(self) -> Connection:
        """Take a connection.

        Raises:
            Unsent: Nobody listens.
        """
        self._connection = self._pool.take()
        return self._connection

    def open(self, method: str, data: bytes, timeout_seconds: float) -> bool:
        """Send the request and wait for the reply's head; say whether it is a success.

        Raises:
            Unsent, OSError, ProtocolError: As of `Connection`.
        """
        assert self._connection is not None  # noqa: S101 - connected before
        self._timeout_seconds = timeout_seconds
        self._connection.send(data)
        self._status = self._connection.open_reply(method, timeout_seconds)
        self.begun = self._status < FIRST_REFUSAL
        return self.begun

    def refusal(self) -> Reply:
        """Read what came in place of a stream."""
        assert self._connection is not None  # noqa: S101 - connected before
        body = bytearray()
        while piece := self._connection.read_piece():
            body += piece
        connection, self._connection = self._connection, None
        self._pool.give_back(connection)
        return self._status, bytes(body)

    def read(self) -> bytes:
        """Wait for more; b"" at the end.

        Raises:
            SidecarError: It was cut, or its time is over. The call may have happened.
        """
        connection = None if self._closed else self._connection
        if connection is None:
            return b""
        self._reading = True
        try:
            data = connection.read_piece()
        except (OSError, http1.ProtocolError) as error:
            raise describe_loss(error, self._timeout_seconds) from error
        finally:
            self._reading = False
            if self._closed:  # by another thread, which has left this to the one that reads
                self._discard()
        if not data:
            self._connection = None
            self._pool.give_back(connection)
            self.close()
        return data

    def close(self) -> None:
        """Let go of the connection; the sidecar reads on, for the books."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._pool.end_call()
        if self._reading:
            connection = self._connection
            if connection is not None:
                connection.interrupt()  # whoever reads closes it
        else:
            self._discard()

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.discard(connection)


class Lines:
    """The messages of a streamed reply, one a line."""

    def __init__(self, source: Source) -> None:
        """Read them from there."""
        self._source = source
        self._rest = b""
        self._ended = False
        self._broken = False
        self.closed = False

    def read(self) -> list[dict[str, Any]]:
        """Wait for more messages and return all that have come; none at the end.

        Raises:
            SidecarError: The reply was cut, or something else than JSON has come.
        """
        while not self._ended:
            data = self._source.read()
            if not data:
                self._ended = True
            if self._rest:
                data = self._rest + data
            whole, _, self._rest = data.rpartition(b"\n")
            if self._ended:
                whole, self._rest = data, b""
            if whole:
                return self._decode(whole)
        if self._broken:
            reason = "What the sidecar said is no JSON. The call may have happened."
            raise _errors.SidecarError(reason)
        return []

    def close(self) -> None:
        """Let go of it; nothing more is read."""
        self._ended = self.closed = True
        self._source.close()

    def _decode(self, whole: bytes) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        load = plain_json.loads
        try:
            for line in whole.split(b"\n"):
                if line:
                    messages.append(load(line))  # noqa: PERF401 - those before a broken one count
        except ValueError:
            self._ended = self._broken = True
        return messages or self.read()
