"""The way to Bedrock's runtime API, whatever is asked there: regions, keys, roles, failures."""

from __future__ import annotations

from threading import Lock

from lambdallm_extension.aws.signing import encode_label
from lambdallm_extension.errors import InvalidRequestError, ProviderError
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_extension.providers.bedrock import failures
from lambdallm_extension.providers.streams import (
    READ_TIMEOUT_SECONDS,
    ProviderStream,
    RawExchange,
    read_refusal,
)
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.http_client.client import Exchange, HttpReply
    from lambdallm_extension.model_ports import Dialect, RawReply, RawRequest

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

        def open(  # noqa: PLR0913 - a request's parts, and its limits
            self,
            method: str,
            path: str,
            headers: list[tuple[str, str]],
            body: bytes,
            *,
            query: str = ...,
            key: list[tuple[str, str]] | None = ...,
            deadline_ms: int,
            connect_timeout_seconds: float = ...,
            read_timeout_seconds: float = ...,
            decode: bool = ...,
        ) -> Exchange:
            """Send a signed request and return its reply when the head is there."""
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


_OK = 200

_JSON = ("content-type", "application/json")


class BedrockApi:
    """Asks Bedrock; one client for each region that is asked, opened at its first use."""

    def __init__(self, name: str, client_for: Callable[[str], RegionalClient]) -> None:
        """Open nothing yet.

        Args:
            name: The provider's, for errors.
            client_for: Makes the client of a region; "" is the provider's own.
        """
        self.name = name
        self._client_for = client_for
        self._clients: dict[str, RegionalClient] = {}
        self._lock = Lock()

    def post(
        self,
        model_id: str,
        action: str,
        region: str,
        body: dict[str, object],
        *,
        headers: Headers = (),  # type: ignore[assignment]  # only read
        deadline_ms: int,
    ) -> HttpReply:
        """Ask a model, and return the whole reply of a 200.

        Args:
            model_id: Or a profile's id, or an ARN.
            action: The path's last part, such as `converse`.
            region: "" for the provider's own.
            body: To be written as JSON.
            headers: Beside the content's type.
            deadline_ms: Epoch milliseconds.

        Raises:
            InvalidRequestError: The body cannot be written; nothing was sent.
            ProviderError: Bedrock refused, failed, or did not answer; says what to do.
            DeadlineError, SettingError: Nothing was sent.
        """
        encoded = _encode(body)
        client = self._client(region)
        try:
            reply = client.post(
                _path(model_id, action),
                [_JSON, *headers],
                encoded,
                deadline_ms=deadline_ms,
                read_timeout_seconds=READ_TIMEOUT_SECONDS,
            )
        except NotSentError as error:
            raise self._unreached(error) from error
        except AnswerLostError as error:
            raise self._lost(model_id, error) from error
        if reply.status != _OK:
            raise self._refusal(client, model_id, reply.status, reply.headers, reply.body)
        return reply

    def stream(  # noqa: PLR0913 - where, what, how it is read, and until when
        self,
        model_id: str,
        action: str,
        region: str,
        body: dict[str, object],
        dialect: Dialect,
        *,
        headers: Headers = (),  # type: ignore[assignment]  # only read
        deadline_ms: int,
    ) -> ProviderStream:
        """Ask a model, and return its answer when it has begun.

        Raises:
            InvalidRequestError, ProviderError, DeadlineError, SettingError: As `post`.
        """
        encoded = _encode(body)
        client = self._client(region)
        try:
            exchange = client.open(
                "POST",
                _path(model_id, action),
                [_JSON, *headers],
                encoded,
                deadline_ms=deadline_ms,
                read_timeout_seconds=READ_TIMEOUT_SECONDS,
                decode=True,
            )
        except NotSentError as error:
            raise self._unreached(error) from error
        except AnswerLostError as error:
            raise self._lost(model_id, error) from error
        if exchange.status != _OK:
            said = read_refusal(exchange)
            raise self._refusal(client, model_id, exchange.status, exchange.headers, said)
        reader = dialect.read_stream(model_id, exchange.headers)
        return ProviderStream(self.name, exchange, reader)

    def forward(self, request: RawRequest, *, deadline_ms: int) -> RawReply:
        """Pass a client's own request on; see `model_ports.Provider.forward`."""
        try:
            exchange = self._client(request.region).open(
                request.method,
                request.path,
                request.headers,
                request.body,
                query=request.query,
                key=[*request.key],
                deadline_ms=deadline_ms,
                read_timeout_seconds=READ_TIMEOUT_SECONDS,
            )
        except NotSentError as error:
            raise self._unreached(error) from error
        except AnswerLostError as error:
            raise self._lost(request.path, error) from error
        return RawExchange(self.name, exchange)

    def reopen(self) -> None:
        """Make the connection of the provider's own region ready, and renew the others."""
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

    def _client(self, region: str) -> RegionalClient:
        with self._lock:
            if region not in self._clients:
                self._clients[region] = self._client_for(region)
            return self._clients[region]

    def _refusal(
        self, client: RegionalClient, model_id: str, status: int, headers: Headers, body: bytes
    ) -> ProviderError:
        """Make the error of a reply, and forget credentials that it refused as expired."""
        error = failures.decode(model_id, client.region, status, headers, body)
        error.source = self.name
        if error.kind in failures.EXPIRED_KINDS:
            client.renew_credentials()
        return error

    def _unreached(self, error: NotSentError) -> ProviderError:
        detail = (
            f"Bedrock was not reached: {error.detail} In a VPC the function needs a NAT "
            "gateway or an interface endpoint for bedrock-runtime."
        )
        return ProviderError(detail, kind="NotSent", retryable=True, sent=False, source=self.name)

    def _lost(self, model_id: str, error: AnswerLostError) -> ProviderError:
        detail = (
            f"Bedrock's answer for {model_id} was lost: {error.detail} It may be billed, so "
            "it is not asked for again. If it takes too long: give the function a longer "
            "timeout, ask for fewer tokens (max_tokens), or ask a faster model."
        )
        return ProviderError(detail, kind="AnswerLost", source=self.name)


def _path(model_id: str, action: str) -> str:
    return f"/model/{encode_label(model_id)}/{action}"


def _encode(body: dict[str, object]) -> bytes:
    try:
        return plain_json.dumps(body, ensure_ascii=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        message = f"The request cannot be written as JSON: {error}"
        raise InvalidRequestError(message) from error
