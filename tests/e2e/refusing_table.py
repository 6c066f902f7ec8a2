"""A DynamoDB that can be told to refuse: in front of a real one, over real HTTP."""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType


class Refusal(NamedTuple):
    """What every request is answered with."""

    kind: str
    message: str
    status: int = 400

    def body(self) -> bytes:
        shape = {"__type": f"com.amazonaws.dynamodb.v20120810#{self.kind}", "message": self.message}
        return json.dumps(shape).encode()


class RefusingTable:
    """Passes requests on until `refusal` is set; `requests` counts all of them."""

    def __init__(self, upstream: str) -> None:
        self.refusal: Refusal | None = None
        self.requests = 0
        self.upstream = urlsplit(upstream).netloc
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.table = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> RefusingTable:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        table: RefusingTable = self.server.table  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        table.requests += 1
        if table.refusal is not None:
            status, reply = table.refusal.status, table.refusal.body()
        else:
            status, reply = self._pass_on(table.upstream, body)
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def _pass_on(self, upstream: str, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(upstream, timeout=20)
        try:
            connection.request("POST", self.path, body, dict(self.headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def log_message(self, *_: Any) -> None:
        """Stay silent."""
