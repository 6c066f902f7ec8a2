"""A DynamoDB-compatible server behind an ear: every request as it came, and on which connection."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator


class Heard(NamedTuple):
    """One request.

    `connection` is the number of its connection: two requests share it or they do not.
    """

    connection: int
    key_id: str
    operation: str
    body: dict[str, Any]


class RecordingTable(ThreadingHTTPServer):
    """Passes requests on and keeps a copy of each."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.heard: list[Heard] = []
        self.connections = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RecordingTable

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1
            self.number = self.server.connections

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        key_id = self.headers["authorization"].partition("Credential=")[2].partition("/")[0]
        operation = self.headers["x-amz-target"].rpartition(".")[2]
        with self.server.lock:
            self.server.heard.append(Heard(self.number, key_id, operation, json.loads(body)))
        upstream = http.client.HTTPConnection(self.server.target)
        try:
            headers = {name: self.headers[name] for name in self.headers if name.lower() != "host"}
            upstream.request("POST", self.path, body, headers)
            reply = upstream.getresponse()
            answer = reply.read()
        finally:
            upstream.close()
        self.send_response(reply.status)
        self.send_header("content-type", reply.headers["content-type"])
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        """Say nothing: requests are kept, not printed."""


@contextlib.contextmanager
def recording(target: str) -> Iterator[RecordingTable]:
    """Listen on a free port until the block ends."""
    server = RecordingTable(target)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
