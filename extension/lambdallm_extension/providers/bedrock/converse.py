"""Bedrock through Converse: one form of request for every model family."""

from __future__ import annotations

from threading import Lock

from lambdallm_extension.aws.signing import encode_label
from lambdallm_extension.errors import InvalidRequestError, ProviderError
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_extension.providers.bedrock import failures, reply, request as converse_request
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from lambdallm_extension.http_client.client import HttpReply
    from lambdallm_extension.ports import ChatAnswer
    from lambdallm_wire.chat import ChatRequest

    class RegionalClient(Protocol):
        """What of `aws.client.AwsClient` is used here."""

        @property
        def region(self) -> str:
            """The region that is asked."""
            ...

        def post(
            self,
            path: str,
            headers: list[tuple[str, str]],
            body: bytes,
            *,
            deadline_ms: int,
            connect_timeout_seconds: float = ...,
            read_timeout_seconds: float = ...,
        ) -> HttpReply:
            """Send a signed request and return its reply."""
            ...

        def reopen(self) -> None:
            """Drop connections that may have died, and open a fresh one."""
            ...

        def close(self) -> None:
            """Close the connections."""
            ...

        def renew_credentials(self) -> None:
            """Forget credentials that were refused as expired."""
            ...


READ_TIMEOUT_SECONDS = 900.0
"""A model may be silent until its whole answer stands; the call's deadline is the real limit.

Source: 900 s is the longest a Lambda invocation can last (Lambda quotas, 2026-11).
"""

_OK = 200

_HEADERS = [("content-type", "application/json")]


class BedrockConverse:
    """Asks Bedrock's models; one client for each region that is asked, opened at its first use."""

    name = "bedrock"

    def __init__(self, client_for: Callable[[str], RegionalClient]) -> None:
        """Open nothing yet.

        Args:
            client_for: Makes the client of a region; "" is the environment's own.
        """
        self._client_for = client_for
        self._clients: dict[str, RegionalClient] = {}
        self._lock = Lock()

    def chat(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> ChatAnswer:
        """Ask a model once.

        Raises:
            InvalidRequestError: Bedrock would not take the request; nothing was sent.
            ProviderError: Bedrock refused, failed, or did not answer; says what to do.
            DeadlineError: No time is left; nothing was sent.
        """
        region = request.get("region") or ""
        try:
            asked = converse_request.encode(model_id, request)
            body = plain_json.dumps(asked, ensure_ascii=True, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            message = f"The request cannot be written as JSON: {error}"
            raise InvalidRequestError(message) from error
        answer = self._post(model_id, region, body, deadline_ms)
        if answer.status != _OK:
            raise self._refusal(model_id, region, answer)
        return reply.decode(model_id, answer.body, answer.header("x-amzn-requestid"))

    def reopen(self) -> None:
        """Make the connection of the environment's own region ready, and renew the others."""
        self._client("")
        with self._lock:
            clients = [*self._clients.values()]
        for client in clients:
            client.reopen()

    def close(self) -> None:
        """Close the connections, those in use when their call ends."""
        with self._lock:
            clients, self._clients = [*self._clients.values()], {}
        for client in clients:
            client.close()

    def _post(self, model_id: str, region: str, body: bytes, deadline_ms: int) -> HttpReply:
        try:
            return self._client(region).post(
                f"/model/{encode_label(model_id)}/converse",
                _HEADERS,
                body,
                deadline_ms=deadline_ms,
                read_timeout_seconds=READ_TIMEOUT_SECONDS,
            )
        except NotSentError as error:
            detail = (
                f"Bedrock was not reached: {error.detail} In a VPC the function needs a NAT "
                "gateway or an interface endpoint for bedrock-runtime."
            )
            raise ProviderError(detail, kind="NotSent", retryable=True, sent=False) from error
        except AnswerLostError as error:
            detail = (
                f"Bedrock's answer for {model_id} was lost: {error.detail} It may be billed, so "
                "it is not asked for again. If it takes too long: give the function a longer "
                "timeout, ask for fewer tokens (max_tokens), or ask a faster model."
            )
            raise ProviderError(detail, kind="AnswerLost") from error

    def _refusal(self, model_id: str, region: str, answer: HttpReply) -> ProviderError:
        """Make the error of a reply, and forget credentials that it refused as expired."""
        client = self._client(region)
        error = failures.decode(model_id, client.region, answer.status, answer.headers, answer.body)
        if error.kind in failures.EXPIRED_KINDS:
            client.renew_credentials()
        return error

    def _client(self, region: str) -> RegionalClient:
        with self._lock:
            if region not in self._clients:
                self._clients[region] = self._client_for(region)
            return self._clients[region]
