"""A model server with scripted answers, which speaks Bedrock's Converse over real HTTP.

In a test, in this process:

    with ModelServer(["Hello!", Failure(429, "ThrottlingException"), "Again."]) as server:
        …  # AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url, or boto3's endpoint_url
        assert server.requests[0].messages[-1]["content"] == [{"text": "Hi"}]

As a process of its own, which prints its URL as its first line:

    python -m lambdallm.testing.model_server --port 0 --script answers.json

The script is a JSON list of answers, played in order and then from the start: texts, in which
`{last}` is what the user said last and `{count}` how often the user has spoken; objects with the
fields of `Answer`, such as `{"text": "Hm.", "output_tokens": 7}`; or with those of `Failure`, such
as `{"status": 429, "error": "ThrottlingException", "message": "Slow down."}`.

Usage follows one rule where an answer does not say its own: a token is four characters, or what
is left of them, of everything read and of everything answered, and at least one of each. What
Converse refuses is refused in its words. Signatures are not checked.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import stat
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from lambdallm.testing.model_script import (
    SAME_AGAIN,
    Answer,
    Failure,
    Scripted,
    make_reply,
    read_script,
    refuse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

__all__ = ["Answer", "Failure", "ModelRequest", "ModelServer"]


_POLL_SECONDS = 0.02
"""How long `close` may wait for the listening thread."""

_BEFORE_MODEL, _AFTER_MODEL = "/model/", "/converse"


class ModelRequest(NamedTuple):
    """One request as it came, and the usage that was answered (zeros for a failure).

    Header names are lower case; `path` is percent-encoded, as it was sent.
    """

    model_id: str
    body: dict[str, Any]
    headers: dict[str, str]
    usage: dict[str, int]
    path: str

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation, oldest first, in Converse's form."""
        messages: list[dict[str, Any]] = self.body.get("messages", [])
        return messages


class ModelServer:
    """Serves on 127.0.0.1 until it is closed.

    Attributes:
        requests: Every Converse request so far, as they came.
    """

    def __init__(
        self,
        answers: Sequence[Scripted] | Callable[[list[dict[str, Any]]], Scripted] = SAME_AGAIN,
        *,
        port: int = 0,
        delay_seconds: float = 0.0,
    ) -> None:
        """Listen; answers begin with `start`, or with the `with` statement.

        Args:
            answers: Played in order and then from the start, or a function of the messages.
            port: 0 takes a free one.
            delay_seconds: Before each answer, as a model would take.
        """
        if not callable(answers) and not answers:
            message = "A script holds at least one answer."
            raise ValueError(message)
        self.requests: list[ModelRequest] = []
        self._answers = answers
        self._delay_seconds = delay_seconds
        self._lock = threading.Lock()
        self._played = 0
        self._closed = threading.Event()
        self._server = _Server(self, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True
        )

    @property
    def url(self) -> str:
        """Base URL, for AWS_ENDPOINT_URL_BEDROCK_RUNTIME."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> ModelServer:
        """Answer from now on."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop answering, cut the open connections and free the port. Twice does no harm."""
        self._closed.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.cut_connections()

    def __enter__(self) -> ModelServer:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def answer(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str]
    ) -> dict[str, Any] | Failure:
        """Take the next answer of the script, remember the request, and return the reply."""
        model_id = unquote(path[len(_BEFORE_MODEL) : -len(_AFTER_MODEL)])
        refusal = refuse(body)
        scripted = refusal or self._next(body.get("messages", []))
        reply: dict[str, Any] | Failure
        if isinstance(scripted, Failure):
            reply, usage = scripted, {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
        else:
            reply = make_reply(body, scripted)
            usage = reply["usage"]
        names = {name.lower(): value for name, value in headers.items()}
        with self._lock:
            self.requests.append(ModelRequest(model_id, body, names, usage, path))
        if refusal is None:
            self._closed.wait(self._delay_seconds + scripted.delay_seconds)
        return reply

    def _next(self, messages: list[dict[str, Any]]) -> Answer | Failure:
        if callable(self._answers):
            scripted = self._answers(messages)
        else:
            with self._lock:
                scripted = self._answers[self._played % len(self._answers)]
                self._played += 1
        return Answer(scripted) if isinstance(scripted, str) else scripted


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that a kept one cannot be answered after the end."""

    daemon_threads = True

    def __init__(self, models: ModelServer, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.models = models
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):  # its own thread has closed it
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that went away; anything else is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = urlsplit(self.path).path
        if not (path.startswith(_BEFORE_MODEL) and path.endswith(_AFTER_MODEL)):
            self._fail(Failure(404, "UnknownOperationException", f"No such path: {self.path}"))
            return
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            self._fail(Failure(400, "SerializationException", "The body is no JSON object."))
            return
        reply = self.server.models.answer(path, request, dict(self.headers))
        if isinstance(reply, Failure):
            self._fail(reply)
        else:
            self._send(200, json.dumps(reply).encode(), {})

    def do_GET(self) -> None:
        self._fail(Failure(404, "UnknownOperationException", f"No such path: {self.path}"))

    def _fail(self, failure: Failure) -> None:
        if not failure.status:
            self.close_connection = True
            return
        headers = {"x-amzn-ErrorType": failure.error} if failure.error else {}
        if failure.retry_after is not None:
            headers["Retry-After"] = f"{failure.retry_after:g}"
        body = failure.body
        if body is None:
            body = json.dumps({"message": failure.message}).encode()
        self._send(failure.status, body, headers, cut_after_bytes=failure.cut_after_bytes)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], cut_after_bytes: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", f"model-server-{len(self.server.models.requests)}")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut_after_bytes])
        self.close_connection = self.close_connection or cut_after_bytes is not None

    def log_message(self, *_: object) -> None:
        """Stay silent: the caller of the server sees the requests in `requests`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop: a signal, or the end of standard input where it is a pipe."""
    parser = argparse.ArgumentParser(
        prog="python -m lambdallm.testing.model_server",
        description="A model server with scripted answers, which speaks Bedrock's Converse.",
        epilog='example: --port 0 --script answers.json, which holds ["Hello!", "Again: {last}"]',
    )
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--script", help="JSON file of answers; without one it repeats the user")
    parser.add_argument("--delay-ms", type=float, default=0, help="before each answer")
    options = parser.parse_args(arguments)
    answers: Sequence[Scripted] = SAME_AGAIN
    if options.script:
        try:
            with open(options.script, encoding="utf-8") as script:  # noqa: PTH123
                answers = read_script(script.read())
        except (OSError, ValueError) as error:
            parser.error(f"{options.script}: {error}")
    with ModelServer(answers, port=options.port, delay_seconds=options.delay_ms / 1_000) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            _wait_for_the_end()
    return 0


def _wait_for_the_end() -> None:
    """Return when the parent closes the pipe that is our standard input; else never."""
    if sys.stdin is not None and stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        sys.stdin.read()
        return
    threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
