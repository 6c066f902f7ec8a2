"""OpenAI's embeddings: requests, vectors, and what they used.

Source: API reference, "Create embeddings", 2026-11.
"""

from __future__ import annotations

from binascii import a2b_base64

from lambdallm_extension.domain.answers import AnswerSoFar
from lambdallm_extension.providers import readings, refusals
from lambdallm_extension.providers.openai.failures import advise
from lambdallm_extension.providers.openai.usage import decode_usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.domain.answers import ChatAnswer
    from lambdallm_extension.errors import ProviderError
    from lambdallm_extension.model_ports import StreamReader
    from lambdallm_wire.chat import EmbedRequest

TEXTS_MAX = 2_048
CHARACTERS_MAX = 300_000
"""Of one request: it takes 2,048 texts of 300,000 tokens together, and a token is a character or
more in nearly every script."""


class Embeddings:
    """A `model_ports.Dialect` of answers that hold vectors: read for what they used."""

    name = "openai.embeddings"
    path = "/embeddings"

    def __init__(self, source: str = "openai") -> None:
        """Take who answers, for errors."""
        self._source = source

    def encode(self, model_id: str, request: EmbedRequest, texts: list[str]) -> dict[str, Any]:
        """Make the body of a request for some of the texts."""
        body: dict[str, Any] = {"model": model_id, "input": texts, "encoding_format": "float"}
        if request.get("dimensions"):
            body["dimensions"] = request["dimensions"]
        return body | (request.get("additional_fields") or {})

    def decode(self, model_id: str, headers: Headers, body: bytes) -> ChatAnswer:
        """Read a 200; the vectors are left to the client. See `model_ports.Dialect`."""
        return self.decode_vectors(model_id, headers, body)[0]

    def decode_vectors(
        self, model_id: str, headers: Headers, body: bytes
    ) -> tuple[ChatAnswer, list[list[float]]]:
        """Read a 200, and its vectors in the order of the texts.

        Raises:
            ProviderError: It is not what this API answers.
        """
        vectors: dict[int, list[float]] = {}

        def fill(answer: AnswerSoFar, reply: dict[str, Any]) -> None:
            if reply.get("error"):
                raise refusals.in_band(self._source, model_id, reply, advise)
            answer.model = str(reply.get("model") or model_id)
            for position, entry in enumerate(reply["data"]):
                vectors[entry.get("index", position)] = _vector(entry["embedding"])
            usage = reply.get("usage")
            if usage:
                answer.usage, answer.raw_usage = decode_usage(usage), usage
            answer.finish_reason = "stop"

        answer = self._answer(model_id, headers)
        readings.fill_whole(self._source, answer, fill, body)
        return answer.to_answer(), [vectors[index] for index in sorted(vectors)]

    def read_stream(self, model_id: str, headers: Headers) -> StreamReader:
        """Return a reader that reads it at its end: vectors are never streamed."""

        def fill(answer: AnswerSoFar, reply: dict[str, Any]) -> None:
            if reply.get("error"):
                raise refusals.in_band(self._source, model_id, reply, advise)
            usage = reply.get("usage")
            if usage:
                answer.usage, answer.raw_usage = decode_usage(usage), usage

        return readings.WholeAnswer(self._source, self._answer(model_id, headers), fill)

    def refusal(self, model_id: str, status: int, headers: Headers, body: bytes) -> ProviderError:
        """Make the error of a reply whose status is no 200."""
        return refusals.refusal(self._source, model_id, status, headers, body, advise)

    def _answer(self, model_id: str, headers: Headers) -> AnswerSoFar:
        request_id = readings.request_id(headers, "x-request-id", "apim-request-id")
        return AnswerSoFar(model=model_id, provider_request_id=request_id)


DIALECT = Embeddings()
"""Reads the answers that clients of their own are given."""


def batches(texts: list[str]) -> list[list[str]]:
    """Divide texts into as many requests as they need, in their order."""
    divided: list[list[str]] = []
    characters = 0
    for text in texts:
        if not divided or len(divided[-1]) >= TEXTS_MAX or characters + len(text) > CHARACTERS_MAX:
            divided.append([])
            characters = 0
        divided[-1].append(text)
        characters += len(text)
    return divided


def _vector(embedding: object) -> list[float]:
    """Return a vector that stands there as numbers, or as Base64 of 32-bit floats."""
    if isinstance(embedding, str):
        from array import array
        from sys import byteorder

        floats = array("f", a2b_base64(embedding))
        if byteorder == "big":
            floats.byteswap()
        return floats.tolist()
    if not isinstance(embedding, list):
        message = f"a vector that is a {type(embedding).__name__}"
        raise TypeError(message)
    return embedding
