"""A server that takes what is posted to it, and answers as it is told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

WAIT_SECONDS = 20


class Batch(NamedTuple):
    """One POST."""

    path: str
    headers: dict[str, str]
    """By lower-case names."""
    events: list[Any]
    status: int
    """What it was answered with."""


class Listener:
    """Listens on 127.0.0.1 inside a `with` block."""

    def __init__(self, statuses: list[int] | None = None) -> None:
        """Take what is to be answered, in its order; 200 after that."""
        self._statuses = statuses or []
        self._changed = threading.Condition()
        self.batches: list[Batch] = []
        self.open = threading.Event()
        """Nothing is answered as long as this is not set."""
        self.open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def taken(self) -> list[Any]:
        """Events of the batches that were taken."""
        return [event for batch in self.batches if batch.status == 200 for event in batch.events]

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until what came makes this true."""
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_SECONDS), self.batches

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                listener.take(self.path, headers, json.loads(body), self)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def take(
        self, path: str, headers: dict[str, str], events: list[Any], by: BaseHTTPRequestHandler
    ) -> None:
        """Keep a batch, and answer."""
        with self._changed:
            status = self._statuses.pop(0) if self._statuses else 200
            self.batches.append(Batch(path, headers, events, status))
            self._changed.notify_all()
        self.open.wait(WAIT_SECONDS)
        by.send_response(status)
        by.send_header("content-length", "0")
        by.end_headers()
