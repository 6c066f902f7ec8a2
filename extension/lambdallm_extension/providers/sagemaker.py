"""Models on SageMaker endpoints, asked in the form of OpenAI's chat completions.

    chat       POST /endpoints/NAME/invocations                    a completion
    stream     POST /endpoints/NAME/invocations-response-stream    event stream of the container's
                                                                   own stream: server-sent events

vLLM, TGI and the containers of LMI speak that form. An endpoint is paid by the hour, so a call
costs its share of a declared rate; without a declared rate its cost is unknown.
Source: SageMaker Runtime API Reference, "InvokeEndpoint" and "InvokeEndpointWithResponseStream";
DJL Serving, "LMI chat completions API schema"; 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.aws.client import AwsClient
from lambdallm_extension.aws.eventstream import DamagedStreamError, EventStreamReader
from lambdallm_extension.aws.signing import encode_label
from lambdallm_extension.errors import InvalidRequestError, ProviderError, SettingError
from lambdallm_extension.providers.openai.chat import ChatCompletions
from lambdallm_extension.providers.sagemaker_failures import EXPIRED_KINDS, in_band, refusal
from lambdallm_extension.providers.streams import (
    ProviderStream,
    RawExchange,
    ask,
    cut,
    read_refusal,
)
from lambdallm_wire import plain_json
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.aws.client import KeySource
    from lambdallm_extension.configuration import ProviderSettings
    from lambdallm_extension.domain.answers import AnswerSoFar, ChatAnswer, EmbedAnswer
    from lambdallm_extension.http_client.client import Exchange
    from lambdallm_extension.model_ports import RawReply, RawRequest, StreamReader
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.settings import Settings
    from lambdallm_wire.chat import ChatDelta, ChatRequest, EmbedRequest

READ_TIMEOUT_SECONDS = 60.0
"""Source: as above: "the model must respond within 60 seconds"; streams may last eight minutes,
but are never silent for so long."""

PICO_USD = 1_000_000_000_000
_MS_PER_HOUR = 3_600_000
_DECIMALS_MAX = 12
_NAME_MAX = 63

_OK = 200

_HEADERS = [("content-type", "application/json"), ("accept", "application/json")]
_STREAM_HEADERS = [
    ("content-type", "application/json"),
    ("x-amzn-sagemaker-accept", "text/event-stream"),
]


class SageMaker:
    """Asks endpoints. Threads share it."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        credentials: KeySource,
        clock: Clock,
        configured: ProviderSettings,
    ) -> None:
        """Open nothing yet.

        Args:
            name: The provider's.
            settings: Region, endpoints, proxies and trust.
            credentials: Of the function's own role.
            clock: Deadlines, and how long a call takes.
            configured: Another region, address or role, and the hourly rate.

        Raises:
            SettingError: The rate is no decimal.
        """
        self.name = name
        self._clock = clock
        self._pico_usd_per_hour = _rate(configured.hourly_usd)
        self._settings = _there(settings, configured)
        self._credentials = credentials
        if configured.role_arn:
            from lambdallm_extension.aws.roles import AssumedRole

            self._credentials = AssumedRole(configured.role_arn, self._settings, credentials, clock)
        self._dialect = ChatCompletions(name, compatible=True)
        self._client = self._client_for("")
        self._elsewhere: dict[str, AwsClient] = {}

    def chat(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> ChatAnswer:
        """Ask an endpoint; see `model_ports.Provider.chat`."""
        path = _path(model_id, "invocations")
        body = self._encode(model_id, request, stream=False)
        started = self._clock.monotonic()
        client = self._at(request)
        reply = ask(
            self.name,
            lambda: client.post(
                path,
                _HEADERS,
                body,
                deadline_ms=deadline_ms,
                read_timeout_seconds=READ_TIMEOUT_SECONDS,
            ),
        )
        if reply.status != _OK:
            raise self._refusal(client, model_id, reply.status, reply.headers, reply.body)
        answer = self._dialect.decode(model_id, _own_headers(reply.headers), reply.body)
        usage = answer.usage if answer.raw_usage is not None else NO_USAGE
        return answer._replace(model=model_id, usage=usage, cost_pico_usd=self._cost(started))

    def stream(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> SageMakerStream:
        """Ask an endpoint for its answer piece by piece; see `model_ports.Provider.stream`."""
        path = _path(model_id, "invocations-response-stream")
        body = self._encode(model_id, request, stream=True)
        started = self._clock.monotonic()
        client = self._at(request)
        exchange = ask(
            self.name,
            lambda: client.open(
                "POST",
                path,
                _STREAM_HEADERS,
                body,
                deadline_ms=deadline_ms,
                read_timeout_seconds=READ_TIMEOUT_SECONDS,
                decode=True,
            ),
        )
        if exchange.status != _OK:
            said = read_refusal(exchange)
            raise self._refusal(client, model_id, exchange.status, exchange.headers, said)
        inner = self._dialect.read_stream(model_id, _own_headers(exchange.headers))
        reader = PayloadAnswer(self.name, model_id, inner)
        return SageMakerStream(self, exchange, reader, started)

    def embed(self, model_id: str, request: EmbedRequest, *, deadline_ms: int) -> EmbedAnswer:
        """Refuse: containers of embedding models have no form in common."""
        del request, deadline_ms
        message = f"sagemaker/{model_id} is asked for chats alone; embeddings have no common form."
        raise InvalidRequestError(message)

    def forward(self, request: RawRequest, *, deadline_ms: int) -> RawReply:
        """Pass a client's own request on; see `model_ports.Provider.forward`."""
        client = self._client_in(request.region)
        exchange = ask(
            self.name,
            lambda: client.open(
                request.method,
                request.path,
                request.headers,
                request.body,
                query=request.query,
                key=[*request.key],
                deadline_ms=deadline_ms,
                read_timeout_seconds=READ_TIMEOUT_SECONDS,
            ),
        )
        return RawExchange(self.name, exchange)

    def reopen(self) -> None:
        """Drop connections that may have died in a freeze, and open a fresh one."""
        for client in (self._client, *self._elsewhere.values()):
            client.reopen()

    def close(self) -> None:
        """Close the connections, those in use when their call ends."""
        for client in (self._client, *self._elsewhere.values()):
            client.close()

    def cost_since(self, answer: AnswerSoFar, started: float) -> None:
        """Write into an answer what it has cost since an instant of the monotonic clock."""
        answer.cost_pico_usd = self._cost(started)

    def _cost(self, started: float) -> int | None:
        """Return the share of the hourly rate, rounded up; None where nobody declared it."""
        if self._pico_usd_per_hour is None:
            return None
        elapsed_ms = max(0, round((self._clock.monotonic() - started) * 1_000))
        return -(-self._pico_usd_per_hour * elapsed_ms // _MS_PER_HOUR)

    def _encode(self, model_id: str, request: ChatRequest, *, stream: bool) -> bytes:
        try:
            body = self._dialect.encode(model_id, request, stream=stream)
            return plain_json.dumps(body, ensure_ascii=True, allow_nan=False).encode()
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            message = f"The request cannot be written: {error}"
            raise InvalidRequestError(message) from error

    def _client_for(self, region: str) -> AwsClient:
        there = self._settings._replace(region=region) if region else self._settings
        return AwsClient(
            "runtime.sagemaker", there, self._credentials, self._clock, signing_name="sagemaker"
        )

    def _at(self, request: ChatRequest) -> AwsClient:
        return self._client_in(request.get("region") or "")

    def _client_in(self, region: str) -> AwsClient:
        if not region or region == self._settings.region:
            return self._client
        client = self._elsewhere.get(region)
        return client or self._elsewhere.setdefault(region, self._client_for(region))

    def _refusal(
        self, client: AwsClient, model_id: str, status: int, headers: Headers, body: bytes
    ) -> ProviderError:
        error = refusal(self.name, model_id, status, headers, body)
        if error.kind in EXPIRED_KINDS:
            client.renew_credentials()
        return error


class SageMakerStream(ProviderStream):
    """A streamed answer whose cost grows with time."""

    def __init__(
        self, provider: SageMaker, exchange: Exchange, reader: PayloadAnswer, started: float
    ) -> None:
        """Take a 200 whose head has come, and when it was asked for."""
        super().__init__(provider.name, exchange, reader)
        self._provider = provider
        self._started = started

    def read(self) -> list[ChatDelta] | None:
        """Return the next pieces; see `ports.ChatStream.read`."""
        try:
            return super().read()
        finally:
            self._provider.cost_since(self.answer, self._started)


class PayloadAnswer:
    """A `ports.StreamReader`: parts of a container's own stream, in an event stream."""

    def __init__(self, source: str, model_id: str, inner: StreamReader) -> None:
        """Take who answers, for errors, and the reader of the container's stream."""
        self.answer = inner.answer
        self._source = source
        self._model_id = model_id
        self._inner = inner
        self._messages = EventStreamReader()
        self._failure: ProviderError | None = None

    def feed(self, data: bytes) -> list[ChatDelta]:
        """Take bytes as they come, and return the pieces that they complete.

        Raises:
            ProviderError: The endpoint says that it failed, or the bytes are not what it sends.
        """
        if self._failure is not None:
            raise self._failure
        pieces: list[ChatDelta] = []
        self._messages.feed(data)
        try:
            while (message := self._messages.next()) is not None:
                if message.kind != "event":
                    self._failure = in_band(self._source, self._model_id, message.payload)
                    break
                pieces += self._inner.feed(message.payload)
        except ProviderError as error:
            self._failure = error
        except DamagedStreamError as error:
            detail = f"The stream of {self._model_id} was damaged on its way: {error}"
            self._failure = ProviderError(
                detail, status=_OK, kind="MalformedReply", source=self._source
            )
        self.answer.model = self._model_id  # the container's name of it has no price
        if self._failure is not None and not pieces:
            raise self._failure
        return pieces

    def end(self) -> None:
        """Know that no more bytes come.

        An answer that ended by its own mark without any usage has none: it is paid by the hour.

        Raises:
            ProviderError: The mark of the end has not come, or what `feed` would have raised.
        """
        if self._failure is not None:
            raise self._failure
        if self._messages.within:
            raise cut(self._source)
        self._inner.end()
        if self.answer.usage is None:
            self.answer.usage = NO_USAGE


def _own_headers(headers: Headers) -> Headers:
    """Return the headers that the container's reply would have had."""
    own = {"x-amzn-sagemaker-content-type": "content-type", "x-amzn-requestid": "x-request-id"}
    return [(own[name], value) for name, value in headers if name in own]


def _path(endpoint: str, action: str) -> str:
    if len(endpoint) > _NAME_MAX or not endpoint.replace("-", "a").isalnum():
        message = f"{endpoint[:80]!r} is no endpoint's name: write sagemaker/ENDPOINT."
        raise InvalidRequestError(message)
    return f"/endpoints/{encode_label(endpoint)}/{action}"


def _there(settings: Settings, configured: ProviderSettings) -> Settings:
    if configured.region:
        settings = settings._replace(region=configured.region)
    if configured.base_url:
        endpoints = {**settings.endpoints, "sagemaker-runtime": configured.base_url}
        settings = settings._replace(endpoints=endpoints)
    return settings


def _rate(hourly_usd: str) -> int | None:
    """Return pico-USD an hour of a decimal, None of "".

    Raises:
        SettingError: It is no decimal.
    """
    if not hourly_usd:
        return None
    whole, _, fraction = hourly_usd.partition(".")
    if not (whole + fraction).isascii() or not (whole + fraction).isdigit():
        message = f"hourly_usd={hourly_usd!r} is no price in dollars, such as 1.408."
        raise SettingError(message)
    return int((whole + fraction[:_DECIMALS_MAX].ljust(_DECIMALS_MAX, "0")) or "0")
