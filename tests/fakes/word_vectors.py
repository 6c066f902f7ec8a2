"""An embeddings API that knows one thing about meaning: texts with the same words are near.

It speaks OpenAI's `POST /v1/embeddings` over real HTTP. A vector counts the words of a text,
each in one of 512 places; `requests` holds the texts of each request.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from types import TracebackType

PLACES = 512


class WordVectors:
    """Serves on 127.0.0.1 until it is closed. `failing` refuses, `silent` never answers."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.failing = False
        self.silent = threading.Event()
        self.silent.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.requests.append(body["input"])
                outer.silent.wait(30)
                status, answer = outer._answer(body)
                encoded = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _answer(self, body: Any) -> tuple[int, Any]:
        if self.failing:
            return 400, {"error": {"message": "No.", "type": "invalid_request_error"}}
        vectors = [
            {"object": "embedding", "index": index, "embedding": vector_of(text)}
            for index, text in enumerate(body["input"])
        ]
        tokens = sum(len(text.split()) for text in body["input"])
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return 200, {"object": "list", "data": vectors, "model": body["model"], "usage": usage}

    def __enter__(self) -> WordVectors:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.silent.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def vector_of(text: str) -> list[float]:
    """Count the words of a text, each in its place."""
    vector = [0.0] * PLACES
    for word in re.findall(r"\w+", text.lower()):
        vector[crc32(word.encode()) % PLACES] += 1.0
    return vector
