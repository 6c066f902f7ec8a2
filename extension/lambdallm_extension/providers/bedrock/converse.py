"""Bedrock through Converse: one form of request and of answer for every model family."""

from __future__ import annotations

from lambdallm_extension.domain.answers import AnswerSoFar
from lambdallm_extension.errors import InvalidRequestError
from lambdallm_extension.providers.bedrock import failures, reply, request as converse_request
from lambdallm_extension.providers.bedrock.converse_stream import ConverseEvents
from lambdallm_extension.providers.bedrock.frames import FrameAnswer
from lambdallm_extension.providers.output_schemas import SchemaAsker
from lambdallm_extension.providers.readings import request_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.domain.answers import ChatAnswer, EmbedAnswer
    from lambdallm_extension.errors import ProviderError
    from lambdallm_extension.model_ports import ChatStream, RawReply, RawRequest, StreamReader
    from lambdallm_extension.providers.bedrock.api import BedrockApi
    from lambdallm_wire.chat import ChatRequest, EmbedRequest

REQUEST_ID = "x-amzn-requestid"


class BedrockConverse:
    """Asks Bedrock's models. Threads share it."""

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
        body = encode(model_id, request)
        region = request.get("region") or ""
        answer = self._api.post(model_id, "converse", region, body, deadline_ms=deadline_ms)
        return DIALECT.decode(model_id, answer.headers, answer.body)

    def stream(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> ChatStream:
        """Ask a model for its answer piece by piece; see `model_ports.Provider.stream`."""
        return self._schemas.ask(
            model_id, request, lambda asked: self._stream(model_id, asked, deadline_ms)
        )

    def _stream(self, model_id: str, request: ChatRequest, deadline_ms: int) -> ChatStream:
        body = encode(model_id, request)
        region = request.get("region") or ""
        return self._api.stream(
            model_id, "converse-stream", region, body, DIALECT, deadline_ms=deadline_ms
        )

    def embed(self, model_id: str, request: EmbedRequest, *, deadline_ms: int) -> EmbedAnswer:
        """Turn texts into vectors; see `model_ports.Provider.embed`."""
        from lambdallm_extension.providers.bedrock import embeddings

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


class ConverseDialect:
    """What Converse and ConverseStream answer; a `model_ports.Dialect`."""

    name = "bedrock.converse"

    def decode(self, model_id: str, headers: Headers, body: bytes) -> ChatAnswer:
        """Read a 200 that is not streamed."""
        return reply.decode(model_id, body, request_id(headers, REQUEST_ID))

    def read_stream(self, model_id: str, headers: Headers) -> StreamReader:
        """Return the reader of a 200 that is streamed."""
        answer = AnswerSoFar(model=model_id, provider_request_id=request_id(headers, REQUEST_ID))
        return FrameAnswer(model_id, answer, ConverseEvents(model_id, answer).take)

    def refusal(self, model_id: str, status: int, headers: Headers, body: bytes) -> ProviderError:
        """Make the error of a reply whose status is no 200."""
        return failures.decode(model_id, "", status, headers, body)


DIALECT = ConverseDialect()


def encode(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """Make the body of a request.

    Raises:
        InvalidRequestError: Converse would not take it.
    """
    try:
        return converse_request.encode(model_id, request)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        message = f"The request is not in the form that it should have: {error}"
        raise InvalidRequestError(message) from error
