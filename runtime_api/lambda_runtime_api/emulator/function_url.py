"""A Lambda Function URL on this machine, in front of an environment.

```python
with Environment(…) as environment, FunctionUrl(environment, "RESPONSE_STREAM") as url:
    with httpx.stream("POST", url.url, json={"message": "hi"}) as response: …
```

The auth type is NONE. Source: Lambda developer guide, "Invoking Lambda function URLs" and
"Creating and managing Lambda function URLs" (cross-origin resource sharing), 2026-10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lambda_runtime_api.emulator.http_answers import (
    INTEGRATION_RESPONSE,
    Head,
    MalformedError,
    read_buffered,
    read_prelude,
)
from lambda_runtime_api.emulator.http_events import version_2
from lambda_runtime_api.emulator.http_front import HttpFront, Rules
from lambda_runtime_api.emulator.server import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambda_runtime_api.emulator.environment import Environment
    from lambda_runtime_api.emulator.streams import Invocation, InvocationStream
    from lambda_runtime_api.http1 import Request

OCTETS = "application/octet-stream"

InvokeMode = Literal["BUFFERED", "RESPONSE_STREAM"]


class Cors(NamedTuple):
    """Which pages of other origins may call; the URL answers their preflights itself."""

    allow_origins: Sequence[str]
    allow_methods: Sequence[str] = ("*",)
    allow_headers: Sequence[str] = ("*",)
    expose_headers: Sequence[str] = ()
    allow_credentials: bool = False
    max_age_seconds: int = 0


class FunctionUrl(HttpFront):
    """Turns requests into events of payload version 2, and answers into responses."""

    def __init__(
        self,
        environment: Environment,
        invoke_mode: InvokeMode = "BUFFERED",
        *,
        cors: Cors | None = None,
        interrupts: bool = False,
    ) -> None:
        """Listen.

        Args:
            environment: Takes one request at a time, unless it is a Managed Instance: others wait.
            invoke_mode: As in the template.
            cors: None: the function's own headers stand as they are.
            interrupts: Break the runtime's connection when the client has gone, as something
                between may do. Lambda does not: it reads on.

        Raises:
            ValueError: There is no such mode.
        """
        if invoke_mode not in ("BUFFERED", "RESPONSE_STREAM"):
            message = f"invoke_mode is BUFFERED or RESPONSE_STREAM, not {invoke_mode!r}."
            raise ValueError(message)
        streams = invoke_mode == "RESPONSE_STREAM"
        super().__init__(environment, _Url(cors), streams=streams, interrupts=interrupts)


class _Url(Rules):
    failed = b"Internal Server Error"

    def __init__(self, cors: Cors | None) -> None:
        self._cors = cors

    def event(self, request: Request, body: bytes, request_id: str) -> dict[str, Any]:
        return version_2(request, body, request_id)

    def read(self, result: Invocation) -> tuple[Head, bytes]:
        return read_buffered(result.payload, rest=False)

    def begin(self, stream: InvocationStream) -> tuple[Head, bytes]:
        """Take the prelude where the runtime says there is one; anything else is the body."""
        kind = stream.content_type or OCTETS
        if stream.streamed and kind.partition(";")[0].strip().lower() == INTEGRATION_RESPONSE:
            return read_prelude(stream, OCTETS)
        first = next(stream, b"")
        if not first and stream.error is not None:
            raise MalformedError(stream.error.error_type)
        return Head(200, [("content-type", kind)]), first

    def preflight(self, request: Request) -> Answer | None:
        asked = request.header("access-control-request-method")
        if self._cors is None or request.method != "OPTIONS" or not asked:
            return None
        return Answer(200, [], b"")

    def added(self, request: Request) -> list[tuple[str, str]]:
        origin = request.header("origin")
        cors = self._cors
        if cors is None or not origin or not {"*", origin} & set(cors.allow_origins):
            return []
        any_origin = "*" in cors.allow_origins and not cors.allow_credentials
        headers = [("access-control-allow-origin", "*" if any_origin else origin)]
        if cors.allow_credentials:
            headers.append(("access-control-allow-credentials", "true"))
        if cors.expose_headers:
            headers.append(("access-control-expose-headers", ",".join(cors.expose_headers)))
        if self.preflight(request):
            headers.append(("access-control-allow-methods", ",".join(cors.allow_methods)))
            headers.append(("access-control-allow-headers", ",".join(cors.allow_headers)))
            headers.append(("access-control-max-age", str(cors.max_age_seconds)))
        return headers
