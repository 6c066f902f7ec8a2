"""A model API that is asked over HTTPS with a key, in one dialect: what its providers share."""

from __future__ import annotations

from lambdallm_extension.errors import InvalidRequestError, ProviderError
from lambdallm_extension.providers.http_api import HttpApi
from lambdallm_extension.providers.output_schemas import SchemaAsker
from lambdallm_extension.providers.streams import ProviderStream, read_refusal
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.domain.answers import ChatAnswer, EmbedAnswer
    from lambdallm_extension.http_client.client import Exchange
    from lambdallm_extension.http_client.urls import Url
    from lambdallm_extension.model_ports import ChatStream, Dialect, RawReply, RawRequest
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.providers.keys import ApiKey
    from lambdallm_wire.chat import ChatRequest, EmbedRequest

    class AskingDialect(Dialect, Protocol):
        """A dialect that makes requests too."""

        path: str
        """Below the API's base."""

        def encode(self, model_id: str, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
            """Make the body of a request."""
            ...


_OK = 200
_UNAUTHORIZED = 401


class KeyedApi:
    """A `model_ports.Provider` of one such API. It asks once, but see `SchemaAsker`."""

    def __init__(  # noqa: PLR0913 - what an API consists of
        self,
        name: str,
        url: Url,
        key: ApiKey,
        dialect: AskingDialect,
        environ: Mapping[str, str],
        clock: Clock,
        *,
        headers: Headers,
        defaults: Headers,
    ) -> None:
        """Open nothing yet.

        Args:
            name: The provider's.
            url: The base of its paths.
            key: Its key.
            dialect: Makes requests and reads answers.
            environ: Proxies and trust.
            clock: Deadlines.
            headers: Sent with every request, names in lower case.
            defaults: The same, where neither `headers` nor a client says it.
        """
        self.name = name
        self.address = f"{url.scheme}://{url.authority}{url.path}"
        self._key = key
        self._dialect = dialect
        self._ours = headers
        self._defaults = defaults
        self._headers = self._with_ours([])
        self._schemas = SchemaAsker()
        self._api = HttpApi(name, url, key.headers, environ, clock)

    def chat(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> ChatAnswer:
        """Ask a model once; see `model_ports.Provider.chat`."""
        return self._schemas.ask(
            model_id, request, lambda asked: self._chat(model_id, asked, deadline_ms)
        )

    def _chat(self, model_id: str, request: ChatRequest, deadline_ms: int) -> ChatAnswer:
        body = encode_json(self._dialect.encode(model_id, request, stream=False))
        reply = self._api.post(self._dialect.path, self._headers, body, deadline_ms=deadline_ms)
        if reply.status != _OK:
            raise self.refusal(self._dialect, model_id, reply.status, reply.headers, reply.body)
        return self._dialect.decode(model_id, reply.headers, reply.body)

    def stream(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> ChatStream:
        """Ask a model for its answer piece by piece; see `model_ports.Provider.stream`."""
        return self._schemas.ask(
            model_id, request, lambda asked: self._stream(model_id, asked, deadline_ms)
        )

    def _stream(self, model_id: str, request: ChatRequest, deadline_ms: int) -> ChatStream:
        body = encode_json(self._dialect.encode(model_id, request, stream=True))
        exchange = self._api.open(self._dialect.path, self._headers, body, deadline_ms=deadline_ms)
        if exchange.status != _OK:
            raise self._refused(model_id, exchange)
        reader = self._dialect.read_stream(model_id, exchange.headers)
        return ProviderStream(self.name, exchange, reader)

    def embed(self, model_id: str, request: EmbedRequest, *, deadline_ms: int) -> EmbedAnswer:
        """Refuse: see `model_ports.Provider.embed`."""
        del request, deadline_ms
        message = (
            f"{self.name} has no embeddings, so {model_id!r} cannot embed: ask a model of bedrock "
            "or openai."
        )
        raise InvalidRequestError(message)

    def forward(self, request: RawRequest, *, deadline_ms: int) -> RawReply:
        """Pass a client's own request on; see `model_ports.Provider.forward`.

        What the configuration says of headers wins over the client's.
        """
        sent = request._replace(headers=self._with_ours(request.headers))
        reply = self._api.forward(sent, deadline_ms=deadline_ms)
        if reply.status == _UNAUTHORIZED:
            self._key.refused()  # the client's own retry finds a new one
        return reply

    def reopen(self) -> None:
        """Drop connections that may have died in a freeze, and open a fresh one."""
        self._api.reopen()

    def close(self) -> None:
        """Close the connections, those in use when their call ends."""
        self._api.close()

    def refusal(
        self, dialect: Dialect, model_id: str, status: int, headers: Headers, body: bytes
    ) -> ProviderError:
        """Make the error of a reply that is no success; the key is not in it."""
        error = dialect.refusal(model_id, status, headers, body)
        retryable = error.retryable or (status == _UNAUTHORIZED and self._key.refused())
        return ProviderError(
            self._key.hide(error.detail),
            status=error.status,
            kind=error.kind,
            retryable=retryable,
            retry_after_seconds=error.retry_after_seconds,
            sent=error.sent,
            source=error.source,
        )

    def _with_ours(self, given: Headers) -> Headers:
        ours = {name for name, _ in self._ours}
        headers = [header for header in given if header[0] not in ours] + self._ours
        said = {name for name, _ in headers}
        return headers + [header for header in self._defaults if header[0] not in said]

    def _refused(self, model_id: str, exchange: Exchange) -> ProviderError:
        body = read_refusal(exchange)
        exchange.close()
        return self.refusal(self._dialect, model_id, exchange.status, exchange.headers, body)


def encode_json(body: Mapping[str, object]) -> bytes:
    """Write a body.

    Raises:
        InvalidRequestError: It cannot be written as JSON.
    """
    try:
        return plain_json.dumps(body, ensure_ascii=True, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        message = f"The request cannot be written as JSON: {error}"
        raise InvalidRequestError(message) from error
