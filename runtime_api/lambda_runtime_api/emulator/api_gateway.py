"""A REST API of API Gateway on this machine, with one Lambda proxy integration for all paths.

With the response transfer mode `STREAM` an answer begins with a prelude, whatever its content type;
one without is a 502. Source: API Gateway developer guide, "Set up a Lambda proxy integration with
payload response streaming", 2026-10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from lambda_runtime_api.emulator.http_answers import JSON, Head, read_buffered, read_prelude
from lambda_runtime_api.emulator.http_events import version_1
from lambda_runtime_api.emulator.http_front import HttpFront, Rules

if TYPE_CHECKING:
    from lambda_runtime_api.emulator.environment import Environment
    from lambda_runtime_api.emulator.server import Answer
    from lambda_runtime_api.emulator.streams import Invocation, InvocationStream
    from lambda_runtime_api.http1 import Request

TransferMode = Literal["BUFFERED", "STREAM"]


class RestApi(HttpFront):
    """Turns requests into events of payload version 1, and answers into responses."""

    def __init__(
        self,
        environment: Environment,
        response_transfer_mode: TransferMode = "BUFFERED",
        *,
        interrupts: bool = False,
    ) -> None:
        """Listen.

        Args:
            environment: Takes one request at a time, unless it is a Managed Instance: others wait.
            response_transfer_mode: As in the template.
            interrupts: Break the runtime's connection when the client has gone.

        Raises:
            ValueError: There is no such mode.
        """
        if response_transfer_mode not in ("BUFFERED", "STREAM"):
            message = f"It is BUFFERED or STREAM, not {response_transfer_mode!r}."
            raise ValueError(message)
        streams = response_transfer_mode == "STREAM"
        super().__init__(environment, _Rest(), streams=streams, interrupts=interrupts)


class _Rest(Rules):
    failed = b'{"message": "Internal server error"}'

    def event(self, request: Request, body: bytes, request_id: str) -> dict[str, Any]:
        return version_1(request, body, request_id)

    def read(self, result: Invocation) -> tuple[Head, bytes]:
        return read_buffered(result.payload, rest=True)

    def begin(self, stream: InvocationStream) -> tuple[Head, bytes]:
        return read_prelude(stream, JSON)

    def preflight(self, request: Request) -> Answer | None:
        return None

    def added(self, request: Request) -> list[tuple[str, str]]:
        return []
