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
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

CHARACTERS_PER_TOKEN = 4

SAME_AGAIN = ("You said {count} thing(s). The last one was: {last}",)
"""What is answered without a script."""


class Answer(NamedTuple):
    """An answer with more to it than its text. What is None follows the rules of this module.

    Attributes:
        text: As in a script; `{last}` and `{count}` are filled in.
        content: Converse's content blocks, in place of a text.
        stop_reason: Bedrock's word; `max_tokens` by itself where the request's limit cuts.
        input_tokens: Uncached ones, as Bedrock counts them.
        output_tokens, cache_read_tokens, cache_write_tokens: As billed.
        delay_seconds: Before this answer, beside the server's own.
    """

    text: str = ""
    content: list[dict[str, Any]] | None = None
    stop_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    delay_seconds: float = 0.0


class Failure(NamedTuple):
    """A refusal in place of an answer.

    Attributes:
        status: HTTP status; 0 cuts the connection after the request was read.
        error: Bedrock's name of it, in `x-amzn-ErrorType`.
        message: Its text.
        retry_after: Value of a `Retry-After` header, in seconds.
        body: Sent in place of Bedrock's own shape, to be malformed with.
        cut_after_bytes: Cut the connection after so much of the body.
        delay_seconds: Before this failure, beside the server's own.
    """

    status: int
    error: str = ""
    message: str = "Scripted failure."
    retry_after: float | None = None
    body: bytes | None = None
    cut_after_bytes: int | None = None
    delay_seconds: float = 0.0


Scripted = str | Answer | Failure


class ModelRequest(NamedTuple):
    """One request as it came, and the usage that was answered (zeros for a failure).

    Header names are lower case.
    """

    model_id: str
    body: dict[str, Any]
    headers: dict[str, str]
    usage: dict[str, int]

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
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

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
        self, model_id: str, body: dict[str, Any], headers: Mapping[str, str]
    ) -> dict[str, Any] | Failure:
        """Take the next answer of the script, remember the request, and return the reply."""
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
            self.requests.append(ModelRequest(model_id, body, names, usage))
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


def refuse(body: dict[str, Any]) -> Failure | None:
    """Return what Converse itself would refuse the request with, None where it would not."""
    messages = body.get("messages") or []
    roles = [message.get("role") for message in messages]
    reason = ""
    if not messages:
        reason = "The messages field is empty. Add a message, and try again."
    elif roles[0] != "user":
        reason = (
            "A conversation must start with a user message. Try again with a conversation that "
            "starts with a user message."
        )
    elif any(one == next_one for one, next_one in pairwise(roles)):
        reason = (
            "A conversation must alternate between user and assistant roles. Make sure the "
            "conversation alternates between user and assistant roles and try again."
        )
    for index, message in enumerate(messages):
        for place, block in enumerate(message.get("content") or ()):
            if "text" in block and not str(block["text"]).strip():
                reason = (
                    f"The text field in the ContentBlock object at messages.{index}.content."
                    f"{place} is blank. Add text to the text field, and try again."
                )
    return Failure(400, "ValidationException", reason) if reason else None


def make_reply(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """Make a Converse reply of an answer: text filled in, tokens counted, the limit kept."""
    text = fill_in(answer.text, body.get("messages", []))
    limit = body.get("inferenceConfig", {}).get("maxTokens")
    stop_reason = answer.stop_reason or "end_turn"
    tokens_out = answer.output_tokens
    if tokens_out is None and limit is not None and count_tokens(text) > limit:
        text, tokens_out = text[: limit * CHARACTERS_PER_TOKEN], limit
        stop_reason = answer.stop_reason or "max_tokens"
    content = [{"text": text}] if answer.content is None else answer.content
    if tokens_out is None:
        tokens_out = count_tokens("".join(block.get("text", "") for block in content))
    tokens_in = answer.input_tokens
    if tokens_in is None:
        system = "".join(block.get("text", "") for block in body.get("system") or ())
        tokens_in = count_tokens(system + "".join(map(_text, body.get("messages", []))))
    usage = {"inputTokens": tokens_in, "outputTokens": tokens_out}
    if answer.cache_read_tokens is not None:
        usage["cacheReadInputTokens"] = answer.cache_read_tokens
    if answer.cache_write_tokens is not None:
        usage["cacheWriteInputTokens"] = answer.cache_write_tokens
    usage["totalTokens"] = sum(usage.values())
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop_reason,
        "usage": usage,
        "metrics": {"latencyMs": 1},
    }


def fill_in(answer: str, messages: list[dict[str, Any]]) -> str:
    """Replace `{last}` and `{count}`; other braces stay."""
    spoken = [_text(message) for message in messages if message.get("role") == "user"]
    last = spoken[-1] if spoken else ""
    return answer.replace("{count}", str(len(spoken))).replace("{last}", last)


def count_tokens(text: str) -> int:
    """Count by the rule of this module."""
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))


def _text(message: dict[str, Any]) -> str:
    return "".join(block.get("text", "") for block in message.get("content") or ())


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
        parts = urlsplit(self.path).path.split("/")
        if len(parts) < 4 or parts[1] != "model" or parts[-1] != "converse":  # noqa: PLR2004
            self._fail(Failure(404, "UnknownOperationException", f"No such path: {self.path}"))
            return
        model_id = unquote("/".join(parts[2:-1]))
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            self._fail(Failure(400, "SerializationException", "The body is no JSON object."))
            return
        reply = self.server.models.answer(model_id, request, dict(self.headers))
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


def read_script(text: str) -> list[Scripted]:
    """Read a script: a JSON list of texts, answers and failures.

    Raises:
        ValueError: It is something else.
    """
    entries = json.loads(text)
    if not isinstance(entries, list) or not entries:
        message = "A script is a JSON list of at least one answer."
        raise ValueError(message)
    return [_read_entry(entry) for entry in entries]


def _read_entry(entry: Any) -> Scripted:
    if isinstance(entry, str):
        return entry
    kind = Failure if isinstance(entry, dict) and "status" in entry else Answer
    if not isinstance(entry, dict) or not set(entry) <= set(kind._fields):
        message = f"{entry!r} is neither a text nor an object of Answer's or Failure's fields."
        raise ValueError(message)
    if isinstance(entry.get("body"), str):
        entry = {**entry, "body": entry["body"].encode()}
    return kind(**entry)


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
