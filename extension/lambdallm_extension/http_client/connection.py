"""One connection to one service: opened, used for a message at a time, checked before reuse."""

from __future__ import annotations

import _socket
from binascii import b2a_base64

from lambda_runtime_api import http1
from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.errors import DeadlineError, SettingError
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_extension.http_client.sockets import Socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from lambdallm_extension.domain.moments import Moment
    from lambdallm_extension.http_client.tls import TlsStream
    from lambdallm_extension.http_client.urls import Url
    from lambdallm_extension.ports import Clock

    T = TypeVar("T")


_OK = 200

WAIT_MARGIN_SECONDS = 0.05
"""By which a read may end late, so that not every chunk of a stream sets a time of its own."""


class Patience(NamedTuple):
    """How long one call may take: each step has its own limit, and all of it the deadline."""

    clock: Clock
    deadline_ms: int
    connect_seconds: float
    read_seconds: float

    def left_seconds(self) -> float:
        """Return what is left until the deadline; it may be negative."""
        return (self.deadline_ms - self.clock.epoch_ms()) / 1000

    def to_connect(self) -> float:
        """Return the time for one step before the request leaves.

        Raises:
            DeadlineError: There is none left.
        """
        left = self.left_seconds()
        if left <= 0:
            message = "No time left before the deadline; nothing was sent."
            raise DeadlineError(message)
        return min(self.connect_seconds, left)

    def to_read(self) -> float:
        """Return the time for one step of reading; zero or less when the deadline has passed."""
        left = (self.deadline_ms - self.clock.epoch_ms()) / 1000
        return min(self.read_seconds, left)


class Connection:
    """A connected socket and the reader of its replies. It belongs to one caller at a time.

    Attributes:
        idle_since: When it was last put aside; None before.
    """

    __slots__ = ("_name", "_quiet", "_reader", "_received", "_socket", "_waits", "idle_since")

    def __init__(
        self,
        connected: Socket | TlsStream,
        name: str,
        quiet: tuple[type[OSError], ...] = (BlockingIOError,),
    ) -> None:
        """Take a connected socket.

        Args:
            connected: Plain or TLS.
            name: Host and port, for errors.
            quiet: What a read raises that found nothing and would have to wait.
        """
        self._socket = connected
        self._quiet = quiet
        self._reader = http1.Reader(requests=False)
        self._received = False
        self._waits = 0.0
        self._name = name
        self.idle_since: Moment | None = None

    def exchange(
        self, method: str, request: bytes, patience: Patience
    ) -> tuple[http1.Response, bytes]:
        """Send one request and read its whole reply; see `send` and `read_head`."""
        self.send(method, request, patience)
        return self.read_head(patience), self.read_body(patience)

    def send(self, method: str, request: bytes, patience: Patience) -> None:
        """Send one request, whose answer `read_head` and `read_piece` read.

        Raises:
            DeadlineError: No time is left; nothing was sent.
            NotSentError: The request did not leave whole.
        """
        timeout = patience.to_connect()
        self._received = False
        self._reader.expect(method)
        try:
            self._waits = 0.0
            self._socket.settimeout(timeout)
            self._socket.sendall(request)
        except OSError as error:
            # The peer cannot have the whole request: its last byte was never handed over.
            message = f"{self._name} broke off while the request was being sent: {error}"
            raise NotSentError(message) from error

    def read_head(self, patience: Patience) -> http1.Response:
        """Read the head of the answer.

        Raises:
            AnswerLostError: None came, or none that is HTTP.
        """
        head = self._read(self._reader.read_head, patience)
        if not isinstance(head, http1.Response):  # pragma: no cover - the reader reads responses
            raise TypeError(head)
        return head

    def read_piece(self, patience: Patience) -> bytes:
        """Read what has come next of the body, nothing at its end; `reusable` tells what then is.

        Raises:
            AnswerLostError: Not all of it came.
        """
        reader = self._reader
        try:
            while (piece := reader.read_arrived()) is None:
                self._receive(patience)
        except (OSError, http1.ProtocolError) as error:
            raise self._lost(error) from error
        if not piece:
            reader.next_message()
        return piece

    def read_body(self, patience: Patience) -> bytes:
        """Read the whole body, where nothing of it was read yet.

        Raises:
            AnswerLostError: Not all of it came, or more than is taken.
        """
        body = self._read(self._reader.read_body, patience)
        self._reader.next_message()
        return body

    def _read(self, read: Callable[[], T | None], patience: Patience) -> T:
        """Feed the reader until it has what is asked for."""
        try:
            while (found := read()) is None:
                self._receive(patience)
        except (OSError, http1.ProtocolError) as error:
            raise self._lost(error) from error
        return found

    def _lost(self, error: Exception) -> AnswerLostError:
        """Make the error of an answer that did not come, or not all of it."""
        if isinstance(error, TimeoutError):
            message = f"{self._name} did not answer in time; the request was sent."
        else:
            message = f"{self._name} broke off before its answer was whole: {error}"
        return AnswerLostError(message, silent=not self._received)

    def _receive(self, patience: Patience) -> None:
        seconds = patience.to_read()
        if seconds <= 0:
            raise TimeoutError
        if not self._waits - WAIT_MARGIN_SECONDS <= seconds <= self._waits:
            self._waits = seconds
            self._socket.block(seconds)
        try:
            received = self._socket.recv(http1.RECEIVE_BYTES)
        except self._quiet as error:
            raise TimeoutError from error
        if received:
            self._received = True
        self._reader.feed(received)

    @property
    def reusable(self) -> bool:
        """Whether nothing has come that nobody asked for."""
        return not self._reader.buffered

    def is_alive(self) -> bool:
        """Look, without waiting, whether the peer has closed the idle connection.

        Only silence is life. A real `recv` is needed rather than a look at the socket: over TLS
        1.3 session tickets arrive unasked, and OpenSSL consumes them here.
        """
        self._waits = 0.0
        try:
            self._socket.settimeout(0)
            self._socket.recv(1)
        except self._quiet:
            return True
        except OSError:  # It is dead, whatever the reason; the caller opens another one.
            return False
        return False

    def close(self) -> None:
        """Close the socket; never fails."""
        self._socket.close()


def open_connection(
    url: Url, proxy: Url | None, environ: Mapping[str, str], patience: Patience
) -> Connection:
    """Connect, through a proxy's tunnel if one is given, with TLS if the URL says so.

    Raises:
        DeadlineError: There is no time left.
        NotSentError: Nobody answers there, or the handshake failed.
        SettingError: The peer's certificate is not trusted, or a setting about trust is wrong.
    """
    name = f"{url.host}:{url.port}"
    opened: Socket | None = None
    connection: Connection | None = None
    try:
        where = proxy or url
        opened = connect_socket(where.host, where.port, patience)
        if proxy is not None:
            _open_tunnel(opened, proxy, url, patience)
        if url.scheme == "https":
            connection = _secure(opened, name, url, environ, patience)
        else:
            connection = Connection(opened, name)
    except (OSError, UnicodeError, http1.ProtocolError) as error:  # Unicode: the host's name.
        via = f" through the proxy {proxy.host}:{proxy.port}" if proxy else ""
        message = f"No connection to {name}{via}: {str(error) or type(error).__name__}"
        raise NotSentError(message) from error
    else:
        return connection
    finally:
        if opened is not None and connection is None:
            opened.close()


def connect_socket(host: str, port: int, patience: Patience) -> Socket:
    """Try each address of the host; unlike `create_connection`, all within one deadline.

    Raises:
        DeadlineError: There is no time left.
        OSError, UnicodeError: Nobody answers there, or it is no name of a host.
    """
    failure: OSError = OSError("the name has no address")
    # As bytes it needs no codec for international names, which loads four modules.
    name = host.encode("ascii") if host.isascii() else host
    found = _socket.getaddrinfo(name, port, 0, _socket.SOCK_STREAM)
    for family, kind, protocol, _, address in found:
        attempt = Socket(family, kind, protocol)
        try:
            attempt.settimeout(patience.to_connect())
            attempt.connect(address)
            attempt.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            failure = error
            attempt.close()
        except DeadlineError:
            attempt.close()
            raise
        else:
            return attempt
    raise failure


def _secure(
    opened: Socket, name: str, url: Url, environ: Mapping[str, str], patience: Patience
) -> Connection:
    import _ssl  # OpenSSL, which plain endpoints do without.

    from lambdallm_extension.http_client.tls import TlsStream, tls_context

    context = tls_context(environ)
    opened.settimeout(patience.to_connect())
    try:
        stream = TlsStream(opened, url.host, context)
    except _ssl.SSLCertVerificationError as error:
        message = (
            f"The certificate of {url.host} is not trusted ({error.verify_message}): if your "
            "network has its own authority, name its file in AWS_CA_BUNDLE."
        )
        raise SettingError(message) from error
    return Connection(stream, name, TlsStream.QUIET)


def _open_tunnel(opened: Socket, proxy: Url, url: Url, patience: Patience) -> None:
    host = f"[{url.host}]" if ":" in url.host else url.host
    target = f"{host}:{url.port}"
    headers = [("host", target)]
    if proxy.userinfo:
        token = b2a_base64(_unquote(proxy.userinfo), newline=False).decode("ascii")
        headers.append(("proxy-authorization", f"Basic {token}"))
    reader = http1.Reader(requests=False)
    reader.expect("CONNECT")
    opened.settimeout(patience.to_connect())
    opened.sendall(http1.encode_request("CONNECT", target, headers))
    while (head := reader.read_head()) is None:
        opened.settimeout(patience.to_connect())
        reader.feed(opened.recv(http1.RECEIVE_BYTES))
    if isinstance(head, http1.Response) and head.status != _OK:
        message = f"the proxy answers {head.status}"
        raise OSError(message)


def _unquote(text: str) -> bytes:
    first, *rest = text.split("%")
    try:
        decoded = [bytes.fromhex(part[:2]) + part[2:].encode() for part in rest]
    except ValueError:  # Not percent-encoded: a password with a bare "%".
        return text.encode()
    return b"".join([first.encode(), *decoded])
