"""One connection to the sidecar, and how long its silence is believed.

*   begin, append and health are answered at once: after five slices of 10 ms it stands still,
    unless its process may run and only lacks the CPU
*   window, save and end wait for the store: after 20 ms somebody looks whether it lives
*   chat: looked at before, and then waited for
*   stream: the same; then read piece by piece
"""

from __future__ import annotations

import os
import sys
from _socket import (  # the C module alone: `socket` costs 4 ms more to import
    AF_INET,
    IPPROTO_TCP,
    MSG_PEEK,
    SHUT_RDWR,
    SO_RCVTIMEO,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    socket,
)
from contextlib import suppress

from lambda_runtime_api import http1
from lambdallm import _errors, _settings
from lambdallm_wire import codec, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Reply = tuple[int, bytes]

CONNECT_SECONDS = 0.05
"""A connection on the same machine takes microseconds; more than this is no sidecar."""

SLICES = 5
SLICE_SECONDS = 0.01
"""A sidecar that says nothing for five slices of 10 ms is hung.

Slices, because a small function's processes are throttled together (7 % of a CPU at 128 MB, in
periods of 20 ms or more): a single wait of 50 ms would expire while nobody was allowed to run.
"""

LATE_SECONDS = 0.005
LATE_WEIGHT = 0.1
"""A wait that ends late counts a tenth: we were not let run, and so neither was the sidecar.

Where it stands still nobody uses up what the processes may use, and waits end on time.
"""

SLOW_SECONDS = 2.0
"""So long a sidecar is waited for whose process may run: it lacks the CPU, not the will."""

QUIET_SECONDS = 0.02
"""Silence after which a call that may take longer is looked after; doubled each time it lives."""

QUIET_MAX_SECONDS = 1.0

PIECE_SECONDS = 1.0
"""A piece of a stream is waited for in slices: a timeout of its own would be a system call each."""

PIECE_BYTES = 16_384
"""Read at once of a stream: many pieces, if the reader is slower than the model."""

FIRST_REFUSAL = 300
"""HTTP's successes end there."""

_STAT_MAX_BYTES = 512
_MAY_RUN = (b"R", b"S", b"D")
"""Running, sleeping, waiting for a disk: not stopped, traced or dead (proc_pid_stat(5))."""


class SilentError(TimeoutError):
    """Nothing came for so long that the sidecar must be standing still."""


class Unsent(Exception):  # noqa: N818 - it says what is true of the request, not what went wrong
    """The sidecar cannot have got the whole request; the cause is why."""


class SidecarLostError(_errors.SidecarError):
    """The sidecar has ended or stands still.

    `sent` says whether it may have got the request; `silent` that it stands still, and may go on.
    """

    def __init__(self, message: str, *, sent: bool, silent: bool) -> None:
        happened = "may have happened" if sent else "was not made"
        super().__init__(f"{message} The call {happened}.", retryable=not sent)
        self.sent = sent
        self.silent = silent


class Connection:
    """One TCP connection and the reader of its replies. For one request at a time."""

    def __init__(self, port: int, pid: int = 0) -> None:
        """Connect.

        Args:
            port: Where the sidecar listens.
            pid: Its process, 0 if nobody knows.

        Raises:
            OSError: Nobody listens, or no place is left in the queue.
        """
        self._socket = socket(AF_INET, SOCK_STREAM)
        try:
            self._socket.settimeout(CONNECT_SECONDS)
            self._socket.connect((names.HOST, port))
            self._socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        except BaseException:
            self._socket.close()
            raise
        self._reader = http1.Reader(requests=False)
        self.pid = pid
        self.reusable = True
        self._until = 0.0

    def exchange_at_once(self, method: str, data: bytes, slices: int = SLICES) -> Reply:
        """Send a request that a living sidecar answers at once, and return the reply.

        Raises:
            Unsent: Not all of the request went out.
            SilentError: The sidecar stands still.
            OSError, ProtocolError: The connection ended, or something else answers.
        """
        self.send(data)
        return self.read_at_once(method, slices)

    def read_at_once(self, method: str, slices: int = SLICES) -> Reply:
        """Read a reply that a living sidecar has sent, or is about to.

        Raises:
            SilentError: The sidecar stands still.
            OSError, ProtocolError: The connection ended, or something else answers.
        """
        return self._read(method, lambda size: self._in_slices(self._socket.recv, size, slices))

    def exchange(
        self,
        method: str,
        data: bytes,
        timeout_seconds: float,
        watch: Callable[[], None] | None = None,
    ) -> Reply:
        """Send a request that may take its time, and return the reply; see `send` and `read`."""
        self.send(data)
        return self.read(method, timeout_seconds, watch)

    def send(self, data: bytes) -> None:
        """Send a request whose reply is read later.

        Raises:
            Unsent: Not all of it went out.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._in_slices(self._socket.send, rest, SLICES) :]
        except OSError as error:
            raise Unsent from error

    def read(
        self, method: str, timeout_seconds: float, watch: Callable[[], None] | None = None
    ) -> Reply:
        """Wait for the reply to what was sent.

        Args:
            method: Of the request.
            timeout_seconds: From now on.
            watch: Called while nothing comes; raises what is to end the wait.

        Raises:
            TimeoutError: No reply came in time.
            OSError, ProtocolError: The connection ended, or something else answers.
        """
        until = _settings.monotonic() + timeout_seconds
        quiet, believed = QUIET_SECONDS, 1.0

        def receive(size: int) -> bytes:
            nonlocal quiet, believed
            while (started := _settings.monotonic()) < until:
                wait = until - started if watch is None else min(until - started, quiet)
                self._socket.settimeout(wait)
                try:
                    return self._socket.recv(size)
                except TimeoutError:
                    believed -= _weight(started, wait)
                    if watch is not None and believed <= 0:
                        watch()
                        quiet, believed = min(2 * quiet, QUIET_MAX_SECONDS), 1.0
            raise TimeoutError

        return self._read(method, receive)

    def open_reply(self, method: str, timeout_seconds: float) -> int:
        """Wait for the head of the reply to what was sent, and return its status.

        Args:
            method: Of the request.
            timeout_seconds: From now on, for the whole reply, which `read_piece` returns.

        Raises:
            TimeoutError: No head came in time.
            OSError, ProtocolError: The connection ended, or something else answers.
        """
        self._until = _settings.monotonic() + timeout_seconds
        self._block(PIECE_SECONDS)
        self._reader.expect(method)
        while (head := self._reader.read_head()) is None:
            self._reader.feed(self._receive_piece())
        self.reusable = head.keep_alive
        return head.status  # type: ignore[union-attr]  # a client's reader reads responses

    def read_piece(self) -> bytes:
        """Wait for more of the reply's body and return all that has come; b"" once, at its end.

        Raises:
            TimeoutError: The reply's time is over.
            OSError, ProtocolError: It was cut.
        """
        reader = self._reader
        while (data := reader.read_arrived()) is None:
            reader.feed(self._receive_piece())
        if not data:
            reader.next_message()
        return data

    def interrupt(self) -> None:
        """End the wait of another thread that reads here."""
        with suppress(OSError):  # it has ended by itself
            self._socket.shutdown(SHUT_RDWR)

    def _receive_piece(self) -> bytes:
        while (left := self._until - _settings.monotonic()) > 0:
            if left < PIECE_SECONDS:
                self._block(left)
            try:
                return self._socket.recv(PIECE_BYTES)
            except BlockingIOError:
                pass  # nothing came in this slice
        raise TimeoutError

    def _block(self, seconds: float) -> None:
        """Let the kernel end each read: a timeout of Python's own is two calls of the system."""
        whole = int(seconds)
        parts = (whole, max(1, int((seconds - whole) * 1_000_000)))
        self._socket.settimeout(None)
        timeval = b"".join(part.to_bytes(8, sys.byteorder) for part in parts)
        self._socket.setsockopt(SOL_SOCKET, SO_RCVTIMEO, timeval)

    def say(self, data: bytes) -> None:
        """Leave a last message, which nobody waits for an answer to, and close."""
        try:
            self._socket.settimeout(0)
            self._socket.send(data)
            self._socket.recv(http1.RECEIVE_BYTES)  # what is unread would make the end a reset
        except OSError:
            pass  # it has ended, or is full of what was never read: then the end is the message
        finally:
            self.close()

    def is_stale(self) -> bool:
        """Say whether the peer has closed, or said something that nobody asked for."""
        self._socket.settimeout(0)  # MSG_DONTWAIT would not do: a timeout waits before `recv`
        try:
            self._socket.recv(1, MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Close it; the sidecar sees that at once."""
        self._socket.close()

    def _in_slices(self, call: Callable[[Any], Any], argument: object, slices: int) -> Any:
        """Wait for a call on the socket as long as the sidecar may be given the benefit."""
        self._socket.settimeout(SLICE_SECONDS)
        left: float = slices
        slow_until = _settings.monotonic() + SLOW_SECONDS
        while True:
            started = _settings.monotonic()
            try:
                return call(argument)
            except TimeoutError:
                left -= _weight(started, SLICE_SECONDS)
                if left <= 0 and not (started < slow_until and _may_run(self.pid)):
                    raise SilentError from None

    def _read(self, method: str, receive: Callable[[int], bytes]) -> Reply:
        self._reader.expect(method)
        head, body = http1.receive(self._reader, receive)
        self.reusable = head.keep_alive
        return head.status, body  # type: ignore[union-attr]  # a client's reader reads responses


def decode_reply(status: int, body: bytes) -> dict[str, Any]:
    """Return a successful reply's message.

    Raises:
        LambdaLLMError: The problem that it carries otherwise, rebuilt.
    """
    if status >= FIRST_REFUSAL:
        raise refusal_of(body)
    return codec.decode(body)


def refusal_of(body: bytes) -> _errors.LambdaLLMError:
    """Rebuild the error that a reply carries whose status is no success."""
    return _errors.from_problem(codec.decode(body))


def describe_loss(
    error: Exception, timeout_seconds: float, *, silent: bool = False
) -> _errors.SidecarError:
    """Make the error that a caller gets of what a connection has met.

    Args:
        error: That.
        timeout_seconds: How long was waited.
        silent: Whether it was seen before to stand still, where nothing was tried any more.

    Returns:
        A `SidecarLostError`, unless the sidecar lives and was late.
    """
    sent = not isinstance(error, Unsent)
    cause = error if sent else error.__cause__
    if cause is not None:
        silent = isinstance(cause, SilentError) or (isinstance(cause, TimeoutError) and not sent)
    if isinstance(cause, TimeoutError) and not silent:
        message = f"The sidecar did not answer within {timeout_seconds:.1f} s."
        return _errors.SidecarError(f"{message} The call may have happened.")
    message = "The sidecar stands still." if silent else "The sidecar has ended."
    return SidecarLostError(message, sent=sent, silent=silent)


def _weight(started: float, seconds: float) -> float:
    """Say how much a wait in vain is worth as evidence."""
    return LATE_WEIGHT if _settings.monotonic() - started > seconds + LATE_SECONDS else 1


def _may_run(pid: int) -> bool:
    """Say whether a process is there and not stopped; False if nobody can tell."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        state = os.read(descriptor, _STAT_MAX_BYTES).rpartition(b") ")[2][:1]
    except OSError:
        return False  # it has just ended
    finally:
        os.close(descriptor)
    return state in _MAY_RUN
