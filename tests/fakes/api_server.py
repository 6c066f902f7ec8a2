"""A model API that gives prepared replies, in pieces and with faults, over real HTTP."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from lambdallm_extension.aws.eventstream import encode

RECORDED = Path(__file__).parent.parent / "extension" / "providers" / "recorded"

WAIT_SECONDS = 20


class Reply(NamedTuple):
    """A reply, and how it ends.

    Attributes:
        pieces: Of the body, each sent as a chunk of its own.
        end: `whole`; `cut` closes before the last chunk, `reset` breaks the connection off, and
            `silent` says nothing more until the server stops.
    """

    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - a field of a tuple
    pieces: tuple[bytes, ...] = ()
    end: str = "whole"

    def cut_after(self, pieces: int) -> Reply:
        """Return it with a body that ends properly, but too early."""
        return self._replace(pieces=self.pieces[:pieces])

    def coded(self, coding: str) -> Reply:
        """Return it as a server gives it that compresses, each piece to its end."""
        window = {"gzip": 31, "deflate": 15, "raw deflate": -15}[coding]
        packer = zlib.compressobj(wbits=window)
        pieces = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in self.pieces]
        headers = {**self.headers, "Content-Encoding": coding.removeprefix("raw ")}
        return self._replace(headers=headers, pieces=(*pieces, packer.flush()))

    def in_bytes(self) -> Reply:
        """Return it with every byte a piece of its own."""
        body = b"".join(self.pieces)
        return self._replace(pieces=tuple(body[at : at + 1] for at in range(len(body))))


class Recording(NamedTuple):
    """Replies of one API by name, and what is to be read out of them; see `load`."""

    model_id: str
    replies: dict[str, Reply]
    expected: dict[str, dict[str, Any]]


def load(name: str) -> Recording:
    """Read a file of recorded replies.

    Shape:
        {"source": "…", "date": "…", "model_id": "…",
         "replies": {"text": {"status": 200, "headers": {…}, "json": {…}},
                     "text_stream": {…, "events": [["name or nothing", {…} | "[DONE]"], …]},
                     "binary": {…, "base64": ["a piece", …]},
                     "framed": {…, "frames": [["event", {…} | "a payload"], …]}},
         "expected": {"text": {fields of a ChatAnswer}, "failed": {fields of a ProviderError}}}
    """
    document = json.loads((RECORDED / name).read_text(encoding="utf-8"))
    replies = {
        key: Reply(reply["status"], reply["headers"], _pieces(reply))
        for key, reply in document["replies"].items()
    }
    return Recording(document["model_id"], replies, document["expected"])


def _pieces(reply: dict[str, Any]) -> tuple[bytes, ...]:
    if "events" in reply:
        return tuple(_event(name, data) for name, data in reply["events"])
    if "frames" in reply:
        return tuple(_frame(name, data) for name, data in reply["frames"])
    if "base64" in reply:
        return tuple(base64.b64decode(piece) for piece in reply["base64"])
    return (json.dumps(reply["json"], ensure_ascii=False).encode(),)


def _event(name: str, data: object) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def _frame(name: str, data: Any) -> bytes:
    """Make a message of AWS's event stream; a `chunk` holds its JSON as Base64."""
    if name == "chunk":
        data = {"bytes": base64.b64encode(json.dumps(data).encode()).decode(), "p": "abcd"}
    payload = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    failed = name.endswith(("Exception", "Error", "Failure"))
    kind = "exception" if failed else "event"
    headers = {
        f":{kind}-type": name,
        ":content-type": "application/json",
        ":message-type": kind,
    }
    return encode(headers, payload.encode())


class Asked(NamedTuple):
    """A request that came."""

    method: str
    target: str
    headers: dict[str, str]
    """By lower-case names."""
    body: bytes

    @property
    def json(self) -> Any:
        """Return its body, read."""
        return json.loads(self.body)


class ApiServer:
    """Listens on 127.0.0.1 inside a `with` block and gives one reply after the other."""

    def __init__(self, *replies: Reply) -> None:
        """Take the replies in their order; the last one is repeated."""
        self.replies = [*replies]
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._left = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ApiServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Listen no more; connections that are open end with their reply."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def wait_left(self) -> bool:
        """Wait until a client has gone away from a silent reply."""
        return self._left.wait(WAIT_SECONDS)

    def _wait_silently(self, connection: socket.socket) -> None:
        connection.settimeout(0.01)
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                try:
                    if connection.recv(1):
                        continue
                except ConnectionError:
                    pass  # left without a word
                self._left.set()
                return

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = owner._next(Asked(self.command, self.path, headers, body))
                if reply.status:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    self.send_header("transfer-encoding", "chunked")
                    self.end_headers()
                    for piece in reply.pieces:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if reply.end == "whole" and reply.status:
                    self.wfile.write(b"0\r\n\r\n")
                    return
                self.close_connection = True
                if reply.end == "reset":
                    linger = b"\1\0\0\0\0\0\0\0"
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                elif reply.end == "silent":
                    owner._wait_silently(self.connection)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - names of the base

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
