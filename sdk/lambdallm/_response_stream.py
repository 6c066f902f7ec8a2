"""One streamed response on its way to Lambda's Runtime API: chunks, and trailers for a failure.

    POST …/invocation/ID/response     Lambda-Runtime-Function-Response-Mode: streaming
    {"statusCode": 200, …} NUL×8      for Function URLs and API Gateway: the prelude
    chunk, chunk, chunk …             each leaves at once
    0                                 the end; or, after a failure, with its type and body

Source: Lambda developer guide, "Building a custom runtime", response streaming; API Gateway
developer guide, "Lambda proxy integration with payload response streaming"; 2026-11.
"""

from __future__ import annotations

from _socket import (  # the C module alone: `socket` costs 4 ms more to import
    AF_INET,
    IPPROTO_TCP,
    SOCK_STREAM,
    TCP_NODELAY,
    getaddrinfo,
    socket,
)

from lambda_runtime_api import http1
from lambdallm import _errors, _settings
from lambdallm_wire import plain_json

PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"
PRELUDE_END = bytes(8)

ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"

CONNECT_SECONDS = 1.0
"""The Runtime API is on this machine, and has accepted the runtime's connection before."""

LAST_SECONDS = 0.05
"""A chunk may wait so long to be taken when its time is over already."""

SLACK_SECONDS = 0.25
"""A waiting time that is shorter by less is not set anew: setting it asks the system."""

TYPE_MAX_CHARACTERS = 128
BODY_MAX_BYTES = 2_000
"""Of an error's type, and of its body as JSON.

AWS's emulator, whose Runtime API is Lambda's, takes trailers of 4 KB and cuts the response for
longer ones, which ends the runtime (tests/e2e/test_response_streams_agreement.py).
"""

CUT = " …"

JOINED_MAX_BYTES = 65_536
"""A larger chunk is not copied into one buffer with its frame."""

ACCEPTED = 202


class ClientGoneError(Exception):
    """Nobody takes the response any more."""


class ResponseStream:
    """A response that has begun. For one thread."""

    def __init__(  # noqa: PLR0913 - what its request is made of
        self,
        address: str,
        request_id: str,
        invocation_id: str | None,
        *,
        content_type: str,
        prelude: bytes = b"",
        chunk_seconds: float,
        reply_seconds: float,
    ) -> None:
        """Connect; head and prelude leave with the first chunk.

        Args:
            address: Host and port of the Runtime API, as `AWS_LAMBDA_RUNTIME_API` names them.
            request_id: Of the invocation that is answered.
            invocation_id: Its other id, which newer runtimes send along.
            content_type: Of the response.
            prelude: Goes before the first chunk.
            chunk_seconds: From now until when a chunk may wait to be taken; after that for
                `LAST_SECONDS`.
            reply_seconds: From now until when Lambda's acknowledgement is waited for.

        Raises:
            OSError: It cannot be reached.
        """
        headers = [
            ("Host", address),
            ("Content-Type", content_type),
            ("Lambda-Runtime-Function-Response-Mode", "streaming"),
            ("Transfer-Encoding", "chunked"),
            ("Trailer", f"{ERROR_TYPE}, {ERROR_BODY}"),
        ]
        if invocation_id:
            headers.append(("Lambda-Runtime-Invocation-Id", invocation_id))
        path = f"/2018-06-01/runtime/invocation/{request_id}/response"
        head = http1.encode_request("POST", path, headers, None)
        self._unsent = head + http1.encode_chunk(prelude)
        now = _settings.monotonic()
        self._chunk_until = now + chunk_seconds
        self._reply_until = now + reply_seconds
        host, _, port = address.rpartition(":")
        family, kind, protocol, _, place = getaddrinfo(host, int(port), AF_INET, SOCK_STREAM)[0]
        self._socket = socket(family, kind, protocol)
        self.is_open = True
        try:
            self._socket.settimeout(CONNECT_SECONDS)
            self._socket.connect(place)
            self._socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        except BaseException:
            self.close()
            raise
        self._waits_seconds = CONNECT_SECONDS

    def write(self, data: bytes) -> None:
        """Send a chunk; of no data what goes before the first one, if that has not left.

        Raises:
            ClientGoneError: Nobody takes it, or nobody has in its time.
        """
        left = max(LAST_SECONDS, self._chunk_until - _settings.monotonic())
        if not left <= self._waits_seconds <= left + SLACK_SECONDS:
            self._wait_at_most(left)
        unsent, self._unsent = self._unsent, b""
        if len(data) <= JOINED_MAX_BYTES:
            self._send(unsent + http1.encode_chunk(data))
        else:
            self._send(b"%b%x\r\n" % (unsent, len(data)))
            self._send(data)
            self._send(b"\r\n")

    def finish(self) -> None:
        """End it well, and wait until Lambda has it, however slowly its reader reads.

        Raises:
            ClientGoneError: Nobody has taken it to its end.
            SidecarError: Lambda has refused it; the message has its words.
        """
        self._end(http1.encode_last_chunk())

    def fail(self, error_type: str, words: str) -> None:
        """End it with an error, of which Lambda tells whoever has invoked the function.

        Args:
            error_type: An exception's name.
            words: What it says; what is too long for a trailer is cut.

        Raises:
            ClientGoneError, SidecarError: As `finish`.
        """
        from binascii import b2a_base64

        name = error_type.encode("ascii", "replace").decode()[:TYPE_MAX_CHARACTERS]
        body = b2a_base64(_error_body(name, words), newline=False).decode()
        self._end(http1.encode_last_chunk([(ERROR_TYPE, name), (ERROR_BODY, body)]))

    def close(self) -> None:
        """Let go of it; where it has not ended, whoever reads it sees it cut."""
        self.is_open = False
        self._socket.close()

    def _end(self, data: bytes) -> None:
        unsent, self._unsent = self._unsent, b""
        try:
            # Until it is acknowledged the runtime must not go on: it would be refused, and end.
            self._wait_at_most(max(LAST_SECONDS, self._reply_until - _settings.monotonic()))
            self._send(unsent + data)
            self._check_reply()
        finally:
            self.close()

    def _wait_at_most(self, seconds: float) -> None:
        if self.is_open:
            self._socket.settimeout(seconds)
            self._waits_seconds = seconds

    def _check_reply(self) -> None:
        reader = http1.Reader(requests=False)
        try:
            head, body = http1.receive(reader, self._socket.recv)
        except (OSError, http1.ProtocolError) as error:
            message = "Lambda has not acknowledged the streamed response."
            raise ClientGoneError(message) from error
        status = getattr(head, "status", 0)
        if status != ACCEPTED:
            words = body[:500].decode("utf-8", "replace")
            message = f"Lambda's Runtime API has refused a streamed response ({status}): {words}"
            raise _errors.SidecarError(message, source="lambda")

    def _send(self, data: bytes) -> None:
        if not self.is_open:
            message = "The response has ended."
            raise ClientGoneError(message)
        try:
            self._socket.sendall(data)
        except TimeoutError as error:
            self.close()
            message = "Nobody has taken the response until the invocation's time was over."
            raise ClientGoneError(message) from error
        except OSError as error:
            self.close()
            message = "The response was cut by its reader."
            raise ClientGoneError(message) from error


def _error_body(name: str, words: str) -> bytes:
    """Return an error as Lambda's runtimes tell it, no longer than a trailer may be."""
    body = plain_json.dumps({"errorMessage": words, "errorType": name}, ensure_ascii=True)
    while len(body) > BODY_MAX_BYTES:
        words = words[: len(words) * 3 // 4 - len(CUT)] + CUT
        body = plain_json.dumps({"errorMessage": words, "errorType": name}, ensure_ascii=True)
    return body.encode()
