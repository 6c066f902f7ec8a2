"""A DynamoDB that always knows the answer, over TLS, in a process of its own.

Of what is written it keeps how many exchanges there are by now, so that whoever has written one
finds the head as he has left it.

Both sides of the benchmark ask it, and only the clients are measured. It answers as many
connections as come, each at once or after a delay that stands for the way to a store:

    $ python peer.py CERTIFICATE KEY
    {"0": 40123, "4": 40125}        one line: milliseconds of delay, and their port

It ends when its standard input does.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time

DELAYS_MS = (0, 4)

TURNS = 10
"""In the session that is read: five questions and answers of about 100 characters."""

EXPIRES_AT = 4_000_000_000
"""Far enough that no read extends anything."""


def main() -> int:
    """Serve until the standard input ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    ports = {}
    for delay_ms in DELAYS_MS:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        ports[str(delay_ms)] = listener.getsockname()[1]
        threading.Thread(
            target=_accept, args=(listener, context, delay_ms / 1_000), daemon=True
        ).start()
    print(json.dumps(ports), flush=True)
    sys.stdin.read()
    return 0


def _accept(listener: socket.socket, context: ssl.SSLContext, delay_seconds: float) -> None:
    while True:
        connected, _ = listener.accept()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(
            target=_serve, args=(connected, context, delay_seconds), daemon=True
        ).start()


def _serve(connected: socket.socket, context: ssl.SSLContext, delay_seconds: float) -> None:
    try:
        with context.wrap_socket(connected, server_side=True) as line:
            while True:
                request = _read(line)
                if request is None:
                    return
                if delay_seconds:
                    time.sleep(delay_seconds)
                line.sendall(_reply(*request))
    except OSError:
        return  # how every client ends


def _read(line: ssl.SSLSocket) -> tuple[bytes, bytes] | None:
    """Return one request's head and body, None when there is no more."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = line.recv(65_536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(_header(head, b"content-length") or 0)
    while len(body) < length:
        more = line.recv(65_536)
        if not more:
            return None
        body += more
    return head, body


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.strip().lower() == name:
            return value.strip()
    return b""


def _reply(head: bytes, body: bytes) -> bytes:
    operation = _header(head, b"x-amz-target").rpartition(b".")[2].decode()
    if operation == "Query" and b" BETWEEN " in body:  # from the head, or from a turn, to the last
        operation = "QueryAll" if b'"HEAD"' in body else "QueryBehind"
    own = b"lambdallm" in _header(head, b"user-agent")
    if operation == "TransactWriteItems" and b'"EXCHANGE#' in body and b'"TURN#' in body:
        with _lock:
            _exchanges[0] += 1
    if own and operation in ("GetItem", "QueryAll"):
        known = _head(_exchanges[0])
        if operation == "GetItem":
            return _response({"Item": known})
        items = [*reversed(_TURNS), known]
        return _response({"Count": len(items), "ScannedCount": len(items), "Items": items})
    return _REPLIES[operation, own] if (operation, own) in _REPLIES else _REPLIES["", True]


def _turn(number: int) -> dict[str, dict[str, str]]:
    exchange, place = divmod(number, 2)
    said = f"What was said as number {number} of this conversation, in about a hundred characters"
    return {
        "schema": {"N": "1"},
        "role": {"S": "assistant" if place else "user"},
        "content": {"S": json.dumps(f"{said}, give or take a few words.")},
        "at": {"N": "1760000000000"},
        "exchange": {"S": f"event-{exchange + 1}"},
        "expires_at": {"N": str(EXPIRES_AT)},
        "pk": {"S": "SESSION#bench"},
        "sk": {"S": f"TURN#{exchange + 1:06d}#{place}"},
    }


def _head(exchanges: int = TURNS // 2) -> dict[str, dict[str, str]]:
    return {
        "pk": {"S": "SESSION#bench"},
        "sk": {"S": "HEAD"},
        "schema": {"N": "1"},
        "exchanges": {"N": str(exchanges)},
        "first_exchange": {"N": "1"},
        "rewrites": {"N": "483920117"},
        "metadata": {"S": "{}"},
        "expires_at": {"N": str(EXPIRES_AT)},
    }


def _response(message: object) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    return (
        b"HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\n"
        b"Content-Type: application/x-amz-json-1.0\r\nConnection: keep-alive\r\n"
        b"x-amzn-RequestId: 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEF\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )


_lock = threading.Lock()
_exchanges = [TURNS // 2]

_TURNS = [_turn(number) for number in range(TURNS)]

_REPLIES = {
    ("", True): _response({}),
    ("Query", True): _response(
        {"Count": TURNS, "ScannedCount": TURNS, "Items": list(reversed(_TURNS))}
    ),
    ("QueryBehind", True): _response({"Count": 0, "ScannedCount": 0, "Items": []}),
    # The same conversation as one item, as code without lambdallm would keep it.
    ("GetItem", False): _response(
        {"Item": {**_head(), "turns": {"L": [{"M": turn} for turn in _TURNS]}}}
    ),
}
"""By operation, and whether lambdallm asks (by its user agent)."""


if __name__ == "__main__":
    sys.exit(main())
