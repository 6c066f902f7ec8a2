"""The last resort: keep the environment alive and do nothing else.

An extension that exits fails the user's invocation, whatever its exit code. So whatever goes
wrong ends here: a loop over `/next` that shares no code with the features, imports only
`_socket`, and never returns before SHUTDOWN. Source: Lambda developer guide, "Extensions API",
2026-10.
"""

from __future__ import annotations

import _socket

RETRY_SECONDS = 1.0
"""Between attempts when the Extensions API does not answer; it must never become a busy loop."""


def run(address: str, identifier: str) -> None:
    """Call `/next` until SHUTDOWN.

    Args:
        address: `host:port` of the Runtime API.
        identifier: What `register` returned.
    """
    while True:
        try:
            event = _next(address, identifier)
        except OSError:
            event = b""
        if b'"SHUTDOWN"' in event:
            return
        if b'"INVOKE"' not in event:
            _pause(RETRY_SECONDS)


def _next(address: str, identifier: str) -> bytes:
    """Wait for one event, on a connection of its own; return what came, head and all."""
    host, _, port = address.rpartition(":")
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        connection.connect((host, int(port)))
        request = (
            "GET /2020-01-01/extension/event/next HTTP/1.1\r\n"
            f"host: {address}\r\nlambda-extension-identifier: {identifier}\r\n"
            "connection: close\r\n\r\n"
        )
        connection.sendall(request.encode("ascii"))
        received = b""
        while data := connection.recv(65_536):
            received += data
            if _is_whole(received):
                break
        return received
    finally:
        connection.close()


def _is_whole(received: bytes) -> bool:
    """Say whether head and body are here; servers may ignore `connection: close`."""
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length" and value.strip().isdigit():
            return len(body) >= int(value)
    return body.endswith((b"}", b"}\r\n0\r\n\r\n", b"}\n"))


def _pause(seconds: float) -> None:
    import time

    time.sleep(seconds)
