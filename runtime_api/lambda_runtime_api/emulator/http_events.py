"""Events as services in front of a function make them of HTTP requests: payload versions 1 and 2.

Source: Lambda developer guide, "Invoking Lambda function URLs"; API Gateway developer guide, "Input
format of a Lambda function for proxy integration", 2026-10. Names of headers are lower case here,
as from a client of HTTP/2.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Request

CLIENT = "127.0.0.1"
STAGE = "prod"

_ADDED = (("x-forwarded-for", CLIENT), ("x-forwarded-proto", "https"), ("x-forwarded-port", "443"))
_HOP_BY_HOP = ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
_TEXT = ("application/json", "application/javascript", "application/xml")
"""Content types besides `text/*` whose bodies a Function URL passes on as text."""


def version_2(request: Request, body: bytes, request_id: str) -> dict[str, Any]:
    """Make the event of a Function URL."""
    path, _, query = request.target.partition("?")
    headers = _headers(request)
    cookies = [cookie.strip() for value in headers.pop("cookie", []) for cookie in value.split(";")]
    domain = request.header("host")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": unquote(path),
        "rawQueryString": query,
        **({"cookies": cookies} if cookies else {}),
        "headers": {name: ",".join(values) for name, values in headers.items()},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "emulator",
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "http": {
                "method": request.method,
                "path": unquote(path),
                "protocol": "HTTP/1.1",
                "sourceIp": CLIENT,
                "userAgent": request.header("user-agent"),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            **_now(),
        },
        "isBase64Encoded": False,
    }
    if query:
        parameters = _grouped(parse_qsl(query, keep_blank_values=True))
        event["queryStringParameters"] = {
            name: ",".join(values) for name, values in parameters.items()
        }
    if body:
        kind = request.header("content-type").partition(";")[0].strip().lower()
        as_text = kind.startswith("text/") or kind in _TEXT
        event["body"], event["isBase64Encoded"] = _body(body, as_text=as_text)
    return event


def version_1(request: Request, body: bytes, request_id: str) -> dict[str, Any]:
    """Make the event of a REST API with one resource, `/{proxy+}`."""
    path, _, query = request.target.partition("?")
    headers = _headers(request)
    parameters = _grouped(parse_qsl(query, keep_blank_values=True))
    text, encoded = _body(body, as_text=True) if body else (None, False)
    path = unquote(path)
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in parameters.items()} or None,
        "multiValueQueryStringParameters": parameters or None,
        "pathParameters": {"proxy": path.removeprefix("/")},
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "emulator",
            "domainName": request.header("host"),
            "extendedRequestId": request_id,
            "httpMethod": request.method,
            "identity": {"sourceIp": CLIENT, "userAgent": request.header("user-agent")},
            "path": f"/{STAGE}{path}",
            "protocol": "HTTP/1.1",
            "requestId": request_id,
            "requestTime": _now()["time"],
            "requestTimeEpoch": _now()["timeEpoch"],
            "resourcePath": "/{proxy+}",
            "stage": STAGE,
        },
        "body": text,
        "isBase64Encoded": encoded,
    }


def _headers(request: Request) -> dict[str, list[str]]:
    """Collect the client's headers, and those that the service adds."""
    dropped = [*_HOP_BY_HOP, *_tokens(request.header("connection"))]
    kept = [(name, value) for name, value in request.headers if name not in dropped]
    return _grouped([*kept, *_ADDED])


def _tokens(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",")]


def _grouped(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _body(body: bytes, *, as_text: bool) -> tuple[str, bool]:
    """Return a body as it stands in an event, and whether that is base64."""
    if as_text:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def _now() -> dict[str, Any]:
    seconds = time.time()
    return {
        "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(seconds)),
        "timeEpoch": int(seconds * 1_000),
    }
