"""What a runtime answers to an invocation: whole, or streamed with its error in the trailers.

    POST …/response                                                        a whole body, or
    Lambda-Runtime-Function-Response-Mode: streaming
    Transfer-Encoding: chunked
    Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body
    chunk, chunk, …, last chunk, [Lambda-Runtime-Function-Error-Type: ValueError
                                  Lambda-Runtime-Function-Error-Body: base64 of a JSON]

Source: Lambda developer guide, "Building a custom runtime", response streaming, 2026-10. What is
said of a response that ends in the middle is in AWS's Runtime Interface Emulator: `directinvoke`,
`rapi/rendering` and, for Managed Instances, `runtime_response_request`, 2026-01.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, NamedTuple

from lambda_runtime_api import http1
from lambda_runtime_api.emulator.moves import RefusedError
from lambda_runtime_api.emulator.streams import PAYLOAD_MAX_BYTES

if TYPE_CHECKING:
    from lambda_runtime_api.emulator.server import Body
    from lambda_runtime_api.emulator.streams import Receiver

MODE_HEADER = "lambda-runtime-function-response-mode"
STREAMING = "streaming"
ERROR_TYPE = "lambda-runtime-function-error-type"
ERROR_BODY = "lambda-runtime-function-error-body"

TRAILERS_MAX_BYTES = 4_096
"""Of the lines behind the last chunk, with the empty one that ends them; the Base64 is in them.

Source: Go's net/http reads trailers within its connection's buffer (`seeUpcomingDoubleCRLF` in
`transfer.go`), and AWS's Runtime Interface Emulator is a server of it; 4,096 pass there and 4,097
do not, measured in 2026-11.
"""

TRUNCATED = "Runtime.TruncatedResponse"
TOO_LARGE = "Function.ResponseSizeTooLarge"
INVALID_MODE = "Runtime.InvalidResponseModeHeader"


class Response(NamedTuple):
    """What the runtime answered."""

    payload: bytes
    """Of a streamed response only its error: the rest has gone to the caller already."""
    error_type: str | None
    content_type: str = ""
    refusal: RefusedError | None = None
    """What the runtime is told where its answer was not taken as it stands."""


def receive(receiver: Receiver, request: http1.Request, body: Body) -> Response:
    """Pass a streamed response on, as fast as its receiver takes it."""
    content_type = request.header("content-type") or "application/octet-stream"
    receiver.begin(content_type, body.abort)
    try:
        for piece in body:
            room = receiver.limit_bytes - receiver.size_bytes
            if not receiver.write(piece[:room]):
                return _truncated()
            if len(piece) > room:
                return too_large(receiver.size_bytes + len(piece) - room, receiver.limit_bytes)
    except (OSError, http1.ProtocolError):  # cut, or no chunk where one should begin
        return _truncated()
    if _size_bytes(body.trailers) > TRAILERS_MAX_BYTES:
        return _truncated()
    declared = [name.strip().lower() for name in request.header("trailer").split(",")]
    trailers = {name: value for name, value in body.trailers if name in declared}
    error_type = trailers.get(ERROR_TYPE)
    return Response(_decoded(trailers.get(ERROR_BODY, "")), error_type or None, content_type)


def too_large(size: int, limit: int = PAYLOAD_MAX_BYTES) -> Response:
    """Make what becomes of a response that is longer than allowed."""
    message = (
        f"Response payload size ({size} bytes) exceeded maximum allowed payload size "
        f"({limit} bytes)."
    )
    told = f"Exceeded maximum allowed payload size ({limit} bytes)."
    refusal = RefusedError(413, "RequestEntityTooLarge", told)
    return Response(problem_payload(TOO_LARGE, message), TOO_LARGE, refusal=refusal)


def invalid_mode() -> Response:
    """Make what becomes of a response in a mode that does not exist."""
    refusal = RefusedError(400, "InvalidFunctionResponseMode", "Invalid function response mode")
    payload = json.dumps({"errorType": INVALID_MODE}).encode()
    return Response(payload, INVALID_MODE, refusal=refusal)


def problem_payload(error_type: str, message: str) -> bytes:
    """Make what a caller gets when the environment failed and not the handler."""
    return json.dumps({"errorMessage": message, "errorType": error_type}).encode()


def _truncated() -> Response:
    message = "The response ended before its last chunk."
    refusal = RefusedError(400, "TruncatedHTTPRequest", "HTTP request detected as truncated")
    return Response(problem_payload(TRUNCATED, message), TRUNCATED, refusal=refusal)


def _size_bytes(trailers: http1.Headers) -> int:
    """Return how long they are as they came; spaces around a value are not known any more."""
    return sum(len(f"{name}: {value}\r\n") for name, value in trailers) + len("\r\n")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
