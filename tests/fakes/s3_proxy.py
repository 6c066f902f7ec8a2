"""Stands before a server of AWS's APIs, S3's mostly, counts what passes, does what can go wrong."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_SECONDS = 20


class Seen(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Refusal(NamedTuple):
    """An answer of S3's own kind, that is given without asking the server."""

    status: int
    code: str
    headers: dict[str, str] = {}  # noqa: RUF012 - a field of a tuple

    @property
    def body(self) -> bytes:
        return f"<Error><Code>{self.code}</Code><Message>words</Message></Error>".encode()


class S3Proxy:
    """A context manager. `plan` says what to do to the next requests; where it is empty, they pass.

    Steps: "pass"; "drop" closes without forwarding; "lose" forwards, then closes without an answer;
    "silent" says nothing until the end; "damage" changes a byte of the answer; a `Refusal`; or what
    is called, and returns one of these. `always` is done where the plan says nothing.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream.removeprefix("http://")
        self.plan: list[Any] = []
        self.always: Any = "pass"
        self.seen: list[Seen] = []
        self._ended = threading.Event()
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                proxy._answer(self)

            do_GET = do_PUT = do_DELETE = do_POST = do_HEAD = do  # noqa: N815 - the server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> S3Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def methods(self) -> list[str]:
        """What was asked, in order."""
        return [each.method for each in self.seen]

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._lock:
            self.seen.append(Seen(request.command, request.path, headers, body))
            step = self.plan.pop(0) if self.plan else self.always
        request.close_connection = True
        if callable(step):
            do: Callable[[], object] = step
            step = do()
        if step == "drop":
            return
        if step == "silent":
            self._ended.wait(WAIT_SECONDS)
            return
        if isinstance(step, Refusal):
            content = {"content-type": "application/xml", **step.headers}
            self._reply(request, step.status, content, step.body)
            return
        status, answered, content_bytes = self._forward(
            request.command, request.path, headers, body
        )
        if step == "lose":
            return
        if step == "damage" and content_bytes:
            content_bytes = bytes([content_bytes[0] ^ 1]) + content_bytes[1:]
        request.close_connection = False
        self._reply(request, status, answered, content_bytes)

    def _forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._upstream, timeout=WAIT_SECONDS)
        try:
            connection.request(method, path, body or None, headers)
            reply = connection.getresponse()
            content = reply.read()
        finally:
            connection.close()
        left_out = ("content-length", "transfer-encoding", "connection", "date", "server")
        kept = {name: value for name, value in reply.getheaders() if name.lower() not in left_out}
        return reply.status, kept, content

    def _reply(
        self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        try:
            request.send_response(status)
            for name, value in headers.items():
                request.send_header(name, value)
            request.send_header("content-length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except OSError:  # whoever asked has gone
            request.close_connection = True
