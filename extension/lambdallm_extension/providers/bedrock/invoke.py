"""Bedrock through InvokeModel: each family in its own form.

    chunk ──► {"bytes": Base64} ──► the family's own event ──► AnswerSoFar, pieces
    last chunk ──► amazon-bedrock-invocationMetrics: tokens, of whatever family

What a family's body says of its tokens goes before headers and metrics: a Claude tells more there.
Sources: Bedrock API Reference, "InvokeModel" and "InvokeModelWithResponseStream"; litellm #34373
(the metrics' cache fields); 2026-11.
"""

from __future__ import annotations

from binascii import Error as Base64Error, a2b_base64

from lambdallm_extension.domain.answers import AnswerSoFar
from lambdallm_extension.errors import InvalidRequestError
from lambdallm_extension.providers.bedrock import embeddings, failures
from lambdallm_extension.providers.bedrock.families import Family
from lambdallm_extension.providers.bedrock.frames import SOURCE, FrameAnswer
from lambdallm_extension.providers.bedrock.models import family
from lambdallm_extension.providers.counts import count, nested
from lambdallm_extension.providers.output_schemas import SchemaAsker
from lambdallm_extension.providers.readings import fill_whole, load_reply, request_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.domain.answers import ChatAnswer, EmbedAnswer
    from lambdallm_extension.errors import ProviderError
    from lambdallm_extension.model_ports import ChatStream, RawReply, RawRequest, StreamReader
    from lambdallm_extension.providers.bedrock.api import BedrockApi
    from lambdallm_extension.providers.bedrock.families import Take
    from lambdallm_wire.chat import ChatDelta, ChatRequest, EmbedRequest, Usage


METRICS = "amazon-bedrock-invocationMetrics"

_HEADER = "x-amzn-bedrock-"
_TIER_HEADER = "x-amzn-bedrock-service-tier"
_LATENCY_HEADER = "x-amzn-bedrock-performanceconfig-latency"
_OPTIMIZED = "optimized"
"""In that header: billed at prices of its own, whatever the tier."""

_HEADER_COUNTS = {
    "input-token-count": "inputTokenCount",
    "output-token-count": "outputTokenCount",
    "cache-read-input-token-count": "cacheReadInputTokenCount",
    "cache-write-input-token-count": "cacheWriteInputTokenCount",
}


class InvokeDialect:
    """What a family answers through InvokeModel; a `Dialect`, which also makes requests."""

    def __init__(self, spoken: Family) -> None:
        """Take how the family speaks."""
        self.name = f"bedrock.{spoken.name}"
        self.encode = spoken.encode
        self._family = spoken

    def decode(self, model_id: str, headers: Headers, body: bytes) -> ChatAnswer:
        """Read a 200 that is not streamed; one that holds vectors is an answer without a text."""
        answer = _begun(model_id, headers)
        tier = answer.service_tier
        fill_whole(SOURCE, answer, self._fill, body)
        answer.model, answer.service_tier = model_id, tier  # not as the maker calls them
        if answer.usage is None:
            counts = _header_counts(headers)
            answer.usage, answer.raw_usage = _usage(counts), counts
        return answer.to_answer()

    def read_stream(self, model_id: str, headers: Headers) -> StreamReader:
        """Return the reader of a 200 that is streamed."""
        answer = _begun(model_id, headers)
        events = _ChunkEvents(answer, self._family.open(answer))
        return FrameAnswer(model_id, answer, events.take)

    def refusal(self, model_id: str, status: int, headers: Headers, body: bytes) -> ProviderError:
        """Make the error of a reply whose status is no 200."""
        return failures.decode(model_id, "", status, headers, body)

    def _fill(self, answer: AnswerSoFar, reply: dict[str, Any]) -> None:
        if "embedding" in reply or "embeddings" in reply:
            if "inputTextTokenCount" in reply:
                counts = {"inputTokenCount": embeddings.input_tokens([], reply)}
                answer.usage, answer.raw_usage = _usage(counts), counts
            answer.finish_reason = "stop"
            return
        self._family.fill(answer, reply)


class _ChunkEvents:
    """Takes chunks apart for a family, and the metrics out of the last one."""

    def __init__(self, answer: AnswerSoFar, take: Take) -> None:
        self._answer = answer
        self._take = take
        self._names = answer.model, answer.service_tier

    def take(self, name: str, event: dict[str, Any], pieces: list[ChatDelta]) -> None:
        """Take one chunk; other events are unknown."""
        if name != "chunk":
            return
        try:
            chunk = load_reply(a2b_base64(event["bytes"]))
        except Base64Error as error:
            message = "a chunk whose bytes are no Base64"
            raise ValueError(message) from error
        answer = self._answer
        metrics = nested(chunk, METRICS)
        chunk.pop(METRICS, None)
        if chunk:
            self._take(chunk, pieces)
            answer.model, answer.service_tier = self._names  # not as the maker calls them
        if metrics:
            answer.ended = True
            if answer.usage is None:
                answer.usage, answer.raw_usage = _usage(metrics), metrics


def _begun(model_id: str, headers: Headers) -> AnswerSoFar:
    answer = AnswerSoFar(
        model=model_id, provider_request_id=request_id(headers, "x-amzn-requestid")
    )
    given = dict(headers)
    optimized = given.get(_LATENCY_HEADER) == _OPTIMIZED
    answer.service_tier = _OPTIMIZED if optimized else given.get(_TIER_HEADER, "")
    return answer


def _header_counts(headers: Headers) -> dict[str, int]:
    """Return the counts that the headers give, under the metrics' names."""
    given = dict(headers)
    counts = {}
    for name, metric in _HEADER_COUNTS.items():
        value = given.get(_HEADER + name, "")
        if value.isascii() and value.isdigit():
            counts[metric] = int(value)
    return counts


def _usage(counts: Mapping[str, object]) -> Usage:
    """Make disjoint counts of metrics, whose cache writes are of five minutes: they do not say."""
    return {
        "uncached_input_tokens": count(counts, "inputTokenCount"),
        "cache_read_tokens": count(counts, "cacheReadInputTokenCount"),
        "cache_write_5m_tokens": count(counts, "cacheWriteInputTokenCount"),
        "cache_write_1h_tokens": 0,
        "output_tokens": count(counts, "outputTokenCount"),
    }


class BedrockInvoke:
    """Asks Bedrock's models in the form of their makers. Threads share it."""

    def __init__(self, api: BedrockApi) -> None:
        """Ask through this; see `bedrock.opening`."""
        self.name = api.name
        self._api = api
        self._schemas = SchemaAsker()

    def chat(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> ChatAnswer:
        """Ask a model; see `model_ports.Provider.chat`."""
        return self._schemas.ask(
            model_id, request, lambda asked: self._chat(model_id, asked, deadline_ms)
        )

    def _chat(self, model_id: str, request: ChatRequest, deadline_ms: int) -> ChatAnswer:
        dialect = invoke_dialect(model_id)
        answer = self._api.post(
            model_id,
            "invoke",
            request.get("region") or "",
            _encode(dialect, model_id, request),
            headers=_headers(request),
            deadline_ms=deadline_ms,
        )
        return dialect.decode(model_id, answer.headers, answer.body)

    def stream(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> ChatStream:
        """Ask a model for its answer piece by piece; see `model_ports.Provider.stream`."""
        return self._schemas.ask(
            model_id, request, lambda asked: self._stream(model_id, asked, deadline_ms)
        )

    def _stream(self, model_id: str, request: ChatRequest, deadline_ms: int) -> ChatStream:
        dialect = invoke_dialect(model_id)
        return self._api.stream(
            model_id,
            "invoke-with-response-stream",
            request.get("region") or "",
            _encode(dialect, model_id, request),
            dialect,
            headers=_headers(request),
            deadline_ms=deadline_ms,
        )

    def embed(self, model_id: str, request: EmbedRequest, *, deadline_ms: int) -> EmbedAnswer:
        """Turn texts into vectors; see `model_ports.Provider.embed`."""
        return embeddings.embed(self._api, model_id, request, deadline_ms=deadline_ms)

    def forward(self, request: RawRequest, *, deadline_ms: int) -> RawReply:
        """Pass a client's own request on; see `model_ports.Provider.forward`."""
        return self._api.forward(request, deadline_ms=deadline_ms)

    def reopen(self) -> None:
        """Make the connection of the provider's own region ready, and renew the others."""
        self._api.reopen()

    def close(self) -> None:
        """Close the connections, those in use when their call ends."""
        self._api.close()


def _encode(dialect: InvokeDialect, model_id: str, request: ChatRequest) -> dict[str, Any]:
    try:
        body = dialect.encode(model_id, request)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        message = f"The request is not in the form that it should have: {error}"
        raise InvalidRequestError(message) from error
    return body | (request.get("additional_fields") or {})


def _headers(request: ChatRequest) -> Headers:
    tier = request.get("service_tier")
    return [(_TIER_HEADER, tier)] if tier else []


def invoke_dialect(model_id: str) -> InvokeDialect:
    """Return who speaks a model's form; of an id that does not say its model, the counts alone."""
    name = family(model_id)
    for beginning, opener in _FAMILIES:
        if name.startswith(beginning):
            return opener()
    return GENERIC


def _claude() -> InvokeDialect:
    from lambdallm_extension.providers.bedrock.claude import CLAUDE

    return InvokeDialect(CLAUDE)


def _nova() -> InvokeDialect:
    from lambdallm_extension.providers.bedrock.nova import NOVA

    return InvokeDialect(NOVA)


def _titan() -> InvokeDialect:
    from lambdallm_extension.providers.bedrock.titan import TITAN

    return InvokeDialect(TITAN)


def _llama() -> InvokeDialect:
    from lambdallm_extension.providers.bedrock.llama import LLAMA

    return InvokeDialect(LLAMA)


def _mistral() -> InvokeDialect:
    from lambdallm_extension.providers.bedrock.mistral import MISTRAL

    return InvokeDialect(MISTRAL)


def _cohere() -> InvokeDialect:
    from lambdallm_extension.providers.bedrock.cohere import COHERE

    return InvokeDialect(COHERE)


_FAMILIES: tuple[tuple[str, Callable[[], InvokeDialect]], ...] = (
    ("anthropic.claude-", _claude),
    ("amazon.nova-", _nova),
    ("amazon.titan-", _titan),
    ("meta.llama", _llama),
    ("mistral.", _mistral),
    ("cohere.", _cohere),
)


def _encode_nothing(model_id: str, request: ChatRequest) -> dict[str, Any]:
    del request
    message = (
        f"InvokeModel's form of {model_id} is not known here: ask bedrock/{model_id}, which goes "
        "through Converse."
    )
    raise InvalidRequestError(message)


def _fill_nothing(answer: AnswerSoFar, reply: dict[str, Any]) -> None:
    """Read nothing of a body whose form is not known; its tokens stand in the headers."""


def _open_nothing(answer: AnswerSoFar) -> Take:
    """Read nothing of events whose form is not known; their tokens come at the end."""
    del answer
    return lambda _event, _pieces: None


GENERIC = InvokeDialect(Family("invoke", _encode_nothing, _fill_nothing, _open_nothing))
