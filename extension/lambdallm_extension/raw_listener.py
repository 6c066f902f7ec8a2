"""Who listens on the port when the features do not: takes connections, and loads nothing for them.

    features cannot be loaded        a thread of the sidecar's own process
    the sidecar's process has ended  a process of its own: this file, run by the launcher

Clients of OpenAI, Anthropic and Bedrock that were pointed at the sidecar have no other way, so
their requests are passed on (`raw_forwarding`, loaded for the first of them). The SDK has one, its
embedded engine, and is told at once to take it.
"""

from __future__ import annotations

import _socket
import _thread
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOST = "127.0.0.1"
BACKLOG = 128
CONNECTIONS_MAX = 128
"""At once; an environment has 1,024 file descriptors, and each request takes two."""

ACCEPT_PAUSE_SECONDS = 0.05
"""After a failed accept, so that a lasting cause is no busy loop."""

LINGER_SECONDS = 0.5
RECEIVE_BYTES = 65_536
PEEK_BYTES = 16
SDK_REQUESTS = (b"GET /v1/", b"POST /v1/")

_BODY = (
    b'{"type":"about:blank","title":"sidecar","status":503,"code":"sidecar","detail":"The sidecar '
    b'cannot serve; its log says why.","retryable":true,"source":"lambdallm"}'
)
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_BODY), _BODY)
)


class RawListener:
    """Takes connections on a listening socket until that is closed."""

    def __init__(
        self, listener: _socket.socket, client_key: str, environ: Mapping[str, str]
    ) -> None:
        """Take a socket that listens on 127.0.0.1.

        Args:
            listener: Bound and listening.
            client_key: What clients bring that have no key of the environment's.
            environ: Addresses, keys, proxies and trust.
        """
        self._listener = listener
        self._client_key = client_key
        self._environ = environ
        self._lock = _thread.allocate_lock()
        self._open = 0
        self._serve_client: Callable[[int], None] | None = None

    def run(self) -> None:
        """Take connections. Return when the socket has been closed."""
        while self._listener.fileno() >= 0:
            try:
                descriptor = self._listener._accept()[0]  # type: ignore[attr-defined]  # noqa: SLF001
            except OSError:
                _pause(ACCEPT_PAUSE_SECONDS)
                continue
            connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, descriptor)
            if self._open >= CONNECTIONS_MAX:
                connection.close()
                continue
            with self._lock:
                self._open += 1
            try:
                _thread.start_new_thread(self._serve, (connection,))
            except RuntimeError:
                self._leave(connection)

    def _serve(self, connection: _socket.socket) -> None:
        try:
            if connection.recv(PEEK_BYTES, _socket.MSG_PEEK).startswith(SDK_REQUESTS):
                _refuse(connection)
            else:
                self._forward(connection.detach())
        except OSError:
            pass  # the client has gone
        except Exception as error:  # noqa: BLE001 - one request must not end the others' way
            _say(f"A request could not be passed on ({type(error).__name__}: {error}).")
        finally:
            self._leave(connection)

    def _forward(self, descriptor: int) -> None:
        with self._lock:
            if self._serve_client is None:
                from lambdallm_extension.raw_forwarding import Forwarder

                self._serve_client = Forwarder(self._client_key, self._environ).serve
                _say("Requests of clients are passed on without being metered.")
        self._serve_client(descriptor)

    def _leave(self, connection: _socket.socket) -> None:
        connection.close()
        with self._lock:
            self._open -= 1


def _refuse(connection: _socket.socket) -> None:
    """Answer, and read what comes: closing with something unread would take the answer back."""
    connection.settimeout(LINGER_SECONDS)
    connection.sendall(UNAVAILABLE)
    connection.shutdown(_socket.SHUT_WR)
    while connection.recv(RECEIVE_BYTES):
        pass


def _pause(seconds: float) -> None:
    import time

    time.sleep(seconds)


def _say(sentence: str) -> None:
    sys.stdout.write(f"lambdallm: {sentence}\n")
    sys.stdout.flush()


def read_client_key(directory: str) -> tuple[int, str]:
    """Return the port and the client key that the sidecar has left.

    Raises:
        OSError, ValueError: It has not come so far.
    """
    with open(f"{directory}/clients", encoding="ascii") as left:  # noqa: PTH123 - pathlib is heavy
        port, _, client_key = left.read().strip().partition(" ")
    return int(port), client_key


def start(listener: _socket.socket, client_key: str) -> None:
    """Take connections from now on, on a thread."""
    import os

    _thread.start_new_thread(RawListener(listener, client_key, dict(os.environ)).run, ())


def main() -> int:
    """Stand in for a sidecar whose process has ended. Return when that is not possible."""
    import os

    environ = dict(os.environ)
    directory = environ.get("LAMBDALLM_DIRECTORY") or "/tmp/lambdallm"  # noqa: S108 - the sidecar's
    try:
        port, client_key = read_client_key(directory)
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except (OSError, ValueError) as error:
        _say(f"Requests of clients cannot be passed on ({error}).")
        return 1
    try:  # noqa: SIM105 - contextlib costs 3 ms
        os.unlink(f"{directory}/token")  # noqa: PTH108 - the SDK sees at once that nobody serves it
    except FileNotFoundError:
        pass  # the sidecar has not come so far
    RawListener(listener, client_key, environ).run()
    return 0


if __name__ == "__main__":
    sys.path.insert(0, __file__.rpartition("/")[0].rpartition("/")[0])
    sys.exit(main())
