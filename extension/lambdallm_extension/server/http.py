"""The server on 127.0.0.1: a thread a connection, the guards, and nothing of the routes.

Refused before a route sees it: a missing or wrong token, a foreign `Host` (DNS rebinding), an
`Origin` (a browser), `X-Forwarded-For` (a proxy), a head or body that is too long.
"""

from __future__ import annotations

import _socket
import hmac
import time
from threading import Lock, Thread

from lambda_runtime_api import heads, http1
from lambda_runtime_api.declarations import Protocol
from lambdallm_extension.errors import ExtensionError
from lambdallm_extension.http_client.sockets import block
from lambdallm_extension.server.body_room import BodyRoom
from lambdallm_extension.server.replies import plain
from lambdallm_wire import codec, errors as wire_errors, names, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.server.replies import Body, Reply
    from lambdallm_wire.problems import Problem

CONNECTIONS_MAX = 512
"""Open at once. A process makes 64 calls at once, beside its lines and kept connections, and an
environment has one process; on Managed Instances it has up to 64 that serve one event each.
"""

SEND_SECONDS = 60.0
"""A reader who takes nothing for so long, with the buffers between full, has gone without a word.

Until then its answer counts as under way, and holds what is held for that.
"""

LINGER_SECONDS = 1.0
LINGER_MAX_BYTES = 2 * http1.BODY_MAX_BYTES
"""Read on, and thrown away, of a request that is refused before it is whole.

To close with bytes unread resets the connection, and the refusal may be lost with it.
Source: RFC 9112, section 9.6.
"""

ACCEPT_PAUSE_SECONDS = 0.05
"""After a failed accept, so that a lasting cause is no busy loop."""

FAREWELLS = (routes.APPEND.path, routes.END.path)
"""Requests whose sender need not be there any more: what a process has said before it was killed
counts. Who sends another one waits for its answer, or has gone elsewhere.
"""

FORBIDDEN_HEADERS = ("origin", "x-forwarded-for")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Api(Protocol):
    """What the server serves."""

    def serve_request(self, request: http1.Request, body: bytes, *, connection: int) -> Reply:
        """Answer one request. Never raises."""
        ...

    def disconnected(self, connection: int) -> None:
        """Know that a connection is gone."""
        ...


class Server:
    """Serves the API on a listening socket until it is closed."""

    def __init__(
        self,
        listener: _socket.socket,
        token: str,
        api: Api,
        log: Callable[[str], None],
        *,
        room_bytes: int = 0,
    ) -> None:
        """Take a socket that listens on 127.0.0.1.

        Args:
            listener: Bound and listening.
            token: What every request must carry.
            api: Answers the requests.
            log: Gets a sentence about a fault of ours.
            room_bytes: Of memory for large bodies, all together; at least for one.
        """
        self._room = BodyRoom(room_bytes)
        self._listener = listener
        self._tokens: tuple[bytes, ...] = (token.encode("ascii"),)
        self._api = api
        self._log = log
        port = listener.getsockname()[1]
        self._hosts = (f"{names.HOST}:{port}", f"localhost:{port}")
        self._lock = Lock()
        self._open: dict[int, _socket.socket] = {}
        self._next_connection = 1
        self._closed = False

    def start(self) -> None:
        """Serve from now on, on threads of its own."""
        Thread(target=self._accept, name="lambdallm-accept", daemon=True).start()

    def renew(self, token: str, hand_out: Callable[[str], None]) -> None:
        """Take another token in the place of the one before.

        Args:
            token: What every request must carry from now on.
            hand_out: Leaves it where the SDK looks for it; until then both are good.

        Raises:
            OSError: It could not be handed out. Nobody gets an answer any more.
        """
        fresh = token.encode("ascii")
        self._tokens = (fresh, *self._tokens)
        try:
            hand_out(token)
        finally:
            self._tokens = (fresh,)

    def tokens(self) -> tuple[bytes, ...]:
        """Return what requests may carry now."""
        return self._tokens

    def close(self) -> None:
        """Close the socket and every connection."""
        with self._lock:
            self._closed = True
            connections = list(self._open.values())
        for sock in (self._listener, *connections):
            _hang_up(sock)

    def _accept(self) -> None:
        while not self._is_closed():
            try:
                descriptor = _accepted(self._listener)
            except OSError as error:
                if self._is_closed():
                    return
                # Out of descriptors, or a client that was gone already: it passes.
                self._log(f"The localhost API could not accept a connection: {error}")
                time.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, descriptor)
            connection = self._admit(sock)
            if connection is None:
                sock.close()
                continue
            thread = Thread(target=self._serve, args=(sock, connection), daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                self._log(f"The localhost API could not start a thread: {error}")
                self._forget(connection)
                sock.close()

    def _admit(self, sock: _socket.socket) -> int | None:
        """Number a connection; None when there are too many."""
        with self._lock:
            if len(self._open) >= CONNECTIONS_MAX:
                return None
            connection = self._next_connection
            self._next_connection += 1
            self._open[connection] = sock
            return connection

    def _serve(self, sock: _socket.socket, connection: int) -> None:
        try:
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            self._serve_requests(sock, connection)
        except http1.ConnectionEndedError:
            pass  # how every connection ends
        except http1.ProtocolError as error:
            self._refuse(sock, error)
        except OSError:
            pass  # reset by the client, or closed by `close`
        except Exception as error:  # noqa: BLE001 - this connection ends, and is let go of
            self._log(f"The localhost API failed: {type(error).__name__}: {error}")
        finally:
            self._forget(connection)
            sock.close()
            self._api.disconnected(connection)

    def _is_closed(self) -> bool:
        return self._closed

    def _forget(self, connection: int) -> None:
        with self._lock:
            self._open.pop(connection, None)

    def _serve_requests(self, sock: _socket.socket, connection: int) -> None:
        reader = http1.Reader(requests=True)
        serving = _Serving(sock, connection)
        while serving.keep_alive:
            request = _receive_head(reader, sock)
            if not isinstance(request, http1.Request):
                return
            taken = self._room.take(request)
            try:
                self._serve_one(serving, request, _receive_body(reader, sock, request))
            finally:
                self._room.give_back(taken)

    def _serve_one(self, serving: _Serving, request: http1.Request, body: bytes) -> None:
        sock = serving.sock
        serving.keep_alive = request.keep_alive
        serving.gone = serving.gone or _has_left(sock)
        if serving.gone and request.target not in FAREWELLS:
            return  # this process stood still, and whoever asked has gone elsewhere
        problem = self._guard(request)
        if problem is None:
            reply = self._api.serve_request(request, body, connection=serving.connection)
        else:
            reply = plain(problem["status"], codec.encode(problem))
        if reply.pieces is not None:
            if not _send_pieces(sock, request, reply, reply.pieces):
                serving.keep_alive = False
            return
        whole = None if request.method == "HEAD" else reply.body
        try:
            sock.sendall(http1.encode_response(reply.status, reply.headers, whole))
        except OSError:
            serving.gone = True  # what else it said is here already, or on its way

    def _guard(self, request: http1.Request) -> Problem | None:
        """Return why a request is refused, or None."""
        if request.header("host") not in self._hosts:
            detail = f"Ask {self._hosts[0]} by that name: this API is for this environment alone."
            return wire_errors.problem("forbidden", detail)
        for name in FORBIDDEN_HEADERS:
            if request.header(name):
                detail = f"Requests with {name!r} are refused: they come from a browser or a proxy."
                return wire_errors.problem("forbidden", detail)
        if not request.target.startswith(names.SDK_PREFIX):
            return None  # what drop-in clients bring is looked at with their request
        given = request.header(names.TOKEN_HEADER).encode("latin-1")
        if not any(hmac.compare_digest(given, token) for token in self._tokens):
            detail = (
                f"Send the header {names.TOKEN_HEADER} with the token from the file "
                f"'{names.TOKEN_FILE}' in LAMBDALLM_DIRECTORY."
            )
            return wire_errors.problem("unauthorized", detail)
        return None

    def _refuse(self, sock: _socket.socket, error: http1.ProtocolError) -> None:
        code = "too_large" if error.status in (413, 431) else "invalid_request"
        problem = wire_errors.problem(code, str(error))
        reply = plain(error.status, codec.encode(problem))
        headers = [*reply.headers, ("connection", "close")]
        try:
            sock.sendall(http1.encode_response(reply.status, headers, reply.body))
            sock.shutdown(_socket.SHUT_WR)
            _linger(sock)
        except OSError:
            return  # the client has gone; there is nobody to tell


def _linger(sock: _socket.socket) -> None:
    """Let a client that is still sending come to its end, so that it reads what it was told."""
    sock.settimeout(LINGER_SECONDS)
    until, left = time.monotonic() + LINGER_SECONDS, LINGER_MAX_BYTES
    while left > 0 and time.monotonic() < until:
        thrown_away = len(sock.recv(http1.RECEIVE_BYTES))
        left -= thrown_away or left


class _Serving:
    """One connection: whether it goes on, and whether anybody reads there."""

    def __init__(self, sock: _socket.socket, connection: int) -> None:
        self.sock = sock
        self.connection = connection
        self.keep_alive = True
        self.gone = False


def _receive_head(reader: http1.Reader, sock: _socket.socket) -> http1.Request | http1.Response:
    while (head := reader.read_head()) is None:
        reader.feed(sock.recv(http1.RECEIVE_BYTES))
    return head


def _receive_body(reader: http1.Reader, sock: _socket.socket, head: http1.Request) -> bytes:
    """Read a request's body, and tell a client to go on that asks before it sends it."""
    if head.header("expect").lower() == "100-continue":
        sock.sendall(CONTINUE)
    while (body := reader.read_body()) is None:
        reader.feed(sock.recv(http1.RECEIVE_BYTES))
    reader.next_message()
    return body


def _send_pieces(sock: _socket.socket, request: http1.Request, reply: Reply, pieces: Body) -> bool:
    """Send a body as it comes; False when the connection is of no more use.

    A body that is cut is cut here too, so that nobody takes it for whole.
    """
    try:
        block(sock, SEND_SECONDS, _socket.SO_SNDTIMEO)
        if request.method == "HEAD" or reply.status in heads.BODILESS_STATUS:
            sock.sendall(http1.encode_response(reply.status, reply.headers, None))
        else:
            headers = [*reply.headers, ("transfer-encoding", "chunked")]
            sock.sendall(http1.encode_response(reply.status, headers, None))
            while piece := pieces.read():
                sock.sendall(http1.encode_chunk(piece))
            sock.sendall(http1.encode_last_chunk())
    except (OSError, ExtensionError):
        return False
    finally:
        pieces.close()
    return True


def _hang_up(sock: _socket.socket) -> None:
    """Close a socket, and wake whoever waits at it."""
    try:
        sock.shutdown(_socket.SHUT_RDWR)
    except OSError:
        return  # gone already, which is what is wanted
    finally:
        sock.close()


def _accepted(listener: _socket.socket) -> int:
    """Return the descriptor of the next connection, as `socket.socket.accept` gets it."""
    accepted: tuple[int, object] = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001
    return accepted[0]


def _has_left(sock: _socket.socket) -> bool:
    """Say whether the client has closed, and sent nothing more before."""
    try:
        return not sock.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True  # killed with answers unread: that resets the connection


def listen(port: int) -> _socket.socket:
    """Listen on 127.0.0.1.

    Raises:
        OSError: The port is taken.
    """
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    try:
        listener.bind((names.HOST, port))
        listener.listen(CONNECTIONS_MAX)
    except OSError:
        listener.close()
        raise
    return listener
