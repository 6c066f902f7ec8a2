"""What services in front of a function make of its answer: a status, headers and a body.

    buffered   {"statusCode": 201, "headers": {…}, "cookies": […], "body": "…",
                "isBase64Encoded": false}
    streamed   {"statusCode": 201, "headers": {…}, "cookies": […]} NUL×8 body …      (the prelude)

REST APIs have `multiValueHeaders` besides. Source: Lambda developer guide, "Invoking Lambda
function URLs"; API Gateway developer guide, "Set up a Lambda proxy integration with payload
response streaming", 2026-10.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from lambda_runtime_api import http1

if TYPE_CHECKING:
    from collections.abc import Iterator

INTEGRATION_RESPONSE = "application/vnd.awslambda.http-integration-response"
DELIMITER = bytes(8)
PRELUDE_MAX_BYTES = 16_384
"""Within which the delimiter ends. Source: the page of API Gateway's guide."""

JSON = "application/json"
REST_FIELDS = ("statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded")
"""What a REST API takes; an answer with anything else is malformed."""

_STATUSES = range(200, 600)
_FRAMING = ("connection", "content-length", "keep-alive", "transfer-encoding")
"""Headers that the service makes itself."""


class MalformedError(Exception):
    """The function's answer is not what the service can send on."""


class Head(NamedTuple):
    """How a response begins."""

    status: int
    headers: list[tuple[str, str]]


def read_prelude(stream: Iterator[bytes], content_type: str) -> tuple[Head, bytes]:
    """Read a streamed response to the end of its prelude; return what came behind that, too.

    Args:
        stream: Read no further than its delimiter needs.
        content_type: Where the prelude names none.

    Raises:
        MalformedError: There is none, or it is not right.
    """
    begun = b""
    while DELIMITER not in begun:
        piece = next(stream, b"")
        if not piece or len(begun) > PRELUDE_MAX_BYTES:
            raise MalformedError("There is no delimiter behind the metadata.")
        begun += piece
    metadata, _, rest = begun.partition(DELIMITER)
    if len(metadata) + len(DELIMITER) > PRELUDE_MAX_BYTES:
        raise MalformedError("The metadata is too long.")
    return read_head(_object(metadata), content_type), rest


def read_buffered(payload: bytes, *, rest: bool) -> tuple[Head, bytes]:
    """Read a whole answer.

    Args:
        payload: What the function returned, as JSON.
        rest: By the rules of a REST API, which infers nothing.

    Raises:
        MalformedError: It is not right.
    """
    answer = _decode(payload)
    if rest:
        if not isinstance(answer, dict) or any(name not in REST_FIELDS for name in answer):
            raise MalformedError("Not an answer of a proxy integration.")
    elif not isinstance(answer, dict) or "statusCode" not in answer:
        return Head(200, [("content-type", JSON)]), payload
    return read_head(answer, JSON), _body(answer)


def read_head(answer: dict[str, Any], content_type: str) -> Head:
    """Read status, headers and cookies.

    Args:
        answer: Where they stand.
        content_type: Where the headers name none.

    Raises:
        MalformedError: One of them is not right.
    """
    status = answer.get("statusCode", 200)
    if isinstance(status, str) and status.isdecimal():
        status = int(status)
    if isinstance(status, bool) or not isinstance(status, int) or status not in _STATUSES:
        raise MalformedError("Not a status code.")
    headers = [*_headers(answer), *_cookies(answer)]
    try:
        http1.encode_response(status, headers, None)
    except http1.ProtocolError as error:
        raise MalformedError(str(error)) from None
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("content-type", content_type))
    return Head(status, headers)


def _headers(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    single, several = answer.get("headers") or {}, answer.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(several, dict):
        raise MalformedError("Not headers.")
    named = {name.lower() for name in several}
    values = {name: [value] for name, value in single.items() if name.lower() not in named}
    for name, listed in {**values, **several}.items():
        if not isinstance(listed, list):
            raise MalformedError("Not a list of values.")
        if name.lower() not in _FRAMING:
            yield from ((name, _text(value)) for value in listed)


def _cookies(answer: dict[str, Any]) -> list[tuple[str, str]]:
    cookies = answer.get("cookies") or []
    if not isinstance(cookies, list) or not all(isinstance(cookie, str) for cookie in cookies):
        raise MalformedError("Not cookies.")
    return [("set-cookie", cookie) for cookie in cookies]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise MalformedError("Not a header's value.")


def _body(answer: dict[str, Any]) -> bytes:
    body = answer.get("body", "")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedError("The body is not a string.")
    try:
        if not answer.get("isBase64Encoded"):
            return body.encode()
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("The body is neither text nor base64.") from None


def _decode(payload: bytes) -> object:
    try:
        value: object = json.loads(payload)
    except (ValueError, RecursionError):
        raise MalformedError("Not JSON, or nested too deeply.") from None
    return value


def _object(metadata: bytes) -> dict[str, Any]:
    value = _decode(metadata)
    if not isinstance(value, dict):
        raise MalformedError("The metadata is not an object.")
    return value
