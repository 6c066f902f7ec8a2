"""One connection to one Redis: redis-py's, over a socket of ours whose every wait ends in time.

redis-py speaks the protocol, the handshake and the replies. What it would do by itself is off: it
repeats nothing, connects to nobody, and asks for no notifications. Its timeouts are for one read
each; a peer that sends a byte a second could hold an invocation beyond its deadline.
"""

from __future__ import annotations

from typing import Any

import redis
from redis import exceptions

from lambdallm_extension.errors import DeadlineError, SettingError
from lambdallm_extension.http_client.connection import connect_socket
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Mapping

    from lambdallm_extension.domain.moments import Moment
    from lambdallm_extension.http_client.connection import Patience
    from lambdallm_extension.http_client.tls import TlsStream
    from lambdallm_extension.stores.redis_urls import Target

OLDEST = (5, 2)
"""Of redis-py: the first that keeps what the server said of itself when it was greeted."""

if tuple(map(int, redis.__version__.split(".")[:2])) < OLDEST:
    message = (
        f"redis {redis.__version__} is too old for LAMBDALLM_STORE=redis://…: use 5.2 or newer."
    )
    raise SettingError(message)

_QUIET = (BlockingIOError,)


class _BoundedSocket:
    """What redis-py reads and writes; whoever uses the connection sets `patience`."""

    def __init__(
        self, stream: socket | TlsStream, quiet: tuple[type[OSError], ...], patience: Patience
    ) -> None:
        self._stream = stream
        self._quiet = quiet
        self.patience = patience

    def recv(self, size: int) -> bytes:
        seconds = self.patience.to_read()
        if seconds <= 0:
            raise TimeoutError
        self._stream.settimeout(seconds)
        return self._stream.recv(size)

    def recv_into(self, buffer: bytearray) -> int:
        received = self.recv(len(buffer))
        buffer[: len(received)] = received
        return len(received)

    def sendall(self, payload: bytes) -> None:
        self._stream.settimeout(self.patience.to_connect())
        self._stream.sendall(payload)

    def is_silent(self) -> bool:
        """Look, without waiting, whether nothing has come: what comes unasked is the end."""
        try:
            self._stream.settimeout(0)
            self._stream.recv(1)
        except self._quiet:
            return True
        except OSError:  # It is dead, whatever the reason; the caller opens another one.
            return False
        return False

    def settimeout(self, seconds: float | None) -> None:
        """Do nothing: `patience` holds."""

    def gettimeout(self) -> None:
        """Say the same."""

    def shutdown(self, how: int) -> None:
        """Do nothing: `close` follows."""

    def close(self) -> None:
        self._stream.close()


class _Connection(redis.Connection):
    """redis-py's connection, opened by `RedisConnection`."""

    def __init__(self, target: Target, opened: _BoundedSocket) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            host=target.host,
            port=target.port,
            db=target.db,
            username=target.username or None,
            password=target.password or None,
            protocol=3,
        )
        # Two round trips that tell the server a name; redis-py's versions keep it in these.
        self.driver_info = self.lib_name = self.lib_version = None
        self._opened = opened

    def _connect(self) -> Any:
        return self._opened


class RedisConnection:
    """A connection that belongs to one caller at a time; `http_client.pool` keeps idle ones.

    Attributes:
        idle_since: When it was last put aside; None before.
        clustered: Whether the server is a node of a cluster.
    """

    def __init__(self, target: Target, environ: Mapping[str, str], patience: Patience) -> None:
        """Connect and shake hands.

        Args:
            target: Where, and who we are there.
            environ: `SSL_CERT_FILE` and `SSL_CERT_DIR`, if the target names no certificates.
            patience: How long it may take.

        Raises:
            DeadlineError: There is no time left.
            NotSentError: Nobody answers there, or not as Redis does.
            SettingError: The certificate is not trusted.
            redis.RedisError: The server's own refusal.
        """
        self._name = target.name
        self.idle_since: Moment | None = None
        self._socket = _open(target, environ, patience)
        connection: Any = _Connection(target, self._socket)
        self._redis = connection
        try:
            self._redis.connect()
        except Exception as error:
            self._socket.close()
            if _is_reply(error) or isinstance(error, DeadlineError):
                raise
            if isinstance(error, _BROKEN):
                message = f"No handshake with {self._name}: {_words(error)}"
                raise NotSentError(message) from error
            raise
        told = self._redis.handshake_metadata
        self.clustered = told.get(b"mode", told.get("mode")) in (b"cluster", "cluster")

    def call(self, arguments: tuple[Any, ...], patience: Patience) -> Any:
        """Send one command and return its reply.

        Raises:
            DeadlineError: No time is left; nothing was sent.
            NotSentError: The command did not leave whole, so that it was not done.
            AnswerLostError: It left, and no whole answer came.
            redis.RedisError: The server's refusal.
        """
        self._socket.patience = patience
        try:
            self._redis.send_command(*arguments, check_health=False)
        except _BROKEN as error:
            message = f"{self._name} broke off while the command was being sent: {_words(error)}"
            raise NotSentError(message) from error
        try:
            return self._redis.read_response()
        except _BROKEN as error:
            if _is_reply(error):
                raise
            message = f"{self._name} did not answer: {_words(error)}; the command was sent."
            raise AnswerLostError(message) from error

    def is_alive(self) -> bool:
        """Look whether the peer has closed the idle connection."""
        return self._socket.is_silent()

    def close(self) -> None:
        """Close it; never fails."""
        self._redis.disconnect()
        self._socket.close()


_BROKEN = (exceptions.RedisError, OSError, ValueError, TypeError, RecursionError)
"""What redis-py raises when a connection ends, is silent, or brings what is not Redis's."""

_REPLIES = (
    exceptions.ResponseError,
    exceptions.BusyLoadingError,
    exceptions.AuthenticationError,
)


def _is_reply(error: Exception) -> bool:
    """Whether the server has said it; redis-py gives some of its words to lost connections."""
    said = isinstance(error, exceptions.ConnectionError) and "max number of clients" in str(error)
    return said or isinstance(error, _REPLIES)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _open(target: Target, environ: Mapping[str, str], patience: Patience) -> _BoundedSocket:
    opened = None
    try:
        opened = connect_socket(target.host, target.port, patience)
        if not target.tls:
            return _BoundedSocket(opened, _QUIET, patience)
        opened.settimeout(patience.to_connect())
        stream, quiet = _secure(opened, target, environ)
    except (OSError, UnicodeError, DeadlineError, SettingError) as error:
        if opened is not None:
            opened.close()
        if isinstance(error, (DeadlineError, SettingError)):
            raise
        message = f"No connection to {target.name}: {_words(error)}"
        raise NotSentError(message) from error
    return _BoundedSocket(stream, quiet, patience)


def _secure(
    opened: socket, target: Target, environ: Mapping[str, str]
) -> tuple[TlsStream, tuple[type[OSError], ...]]:
    from _ssl import SSLCertVerificationError

    from lambdallm_extension.http_client.tls import TlsStream, tls_context

    named = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    trusted = {name: environ[name] for name in named if name in environ}
    if target.ca:
        trusted = {"SSL_CERT_FILE": target.ca}
    try:
        context = tls_context(trusted, protocol="")
        return TlsStream(opened, target.host, context), TlsStream.QUIET
    except SSLCertVerificationError as error:
        message = (
            f"The certificate of {target.host} is not trusted ({error.verify_message}): name the "
            "file of its authority in LAMBDALLM_STORE=rediss://…?ca=FILE."
        )
        raise SettingError(message) from error
