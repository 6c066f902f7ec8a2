"""Texts turned into vectors by Bedrock's models, each family in its own form.

    Titan     one text a request       {"inputText": …}           {"embedding": […], "inputText…"}
    Nova      one text a request       {"singleEmbeddingParams"}  {"embeddings": [{"embedding": …}]}
    Cohere    96 texts a request       {"texts": […]}             {"embeddings": [[…]]} or by type

Tokens stand in the body (Titan) or in a header. Several requests are under way at once.
Sources: Bedrock User Guide, "Amazon Titan Embeddings Text", "Cohere Embed v3" and "v4"; Nova User
Guide, "Complete embeddings request and response schema"; 2026-11.
"""

from __future__ import annotations

from threading import Lock, Thread

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.domain.answers import EmbedAnswer
from lambdallm_extension.errors import ExtensionError, InvalidRequestError, ProviderError
from lambdallm_extension.providers.bedrock.models import family
from lambdallm_extension.providers.counts import count
from lambdallm_extension.providers.readings import UNREADABLE, load_reply, malformed
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.providers.bedrock.api import BedrockApi
    from lambdallm_wire.chat import EmbedRequest, Usage

    Vectors = list[list[float]]

AT_ONCE = 8
"""Requests that are under way together: eight are a tenth of Titan's smallest quota a second."""

COHERE_TEXTS_MAX = 96
"""Source: Bedrock User Guide, "Cohere Embed v4", `texts`, 2026-11."""

_OK = 200

INPUT_TOKENS_HEADER = "x-amzn-bedrock-input-token-count"


class _Form(NamedTuple):
    """How one family is asked.

    Attributes:
        texts_max: Texts of one request.
        encode: Makes its body.
        decode: Reads its vectors.
    """

    texts_max: int
    encode: Callable[[EmbedRequest, list[str]], dict[str, Any]]
    decode: Callable[[dict[str, Any]], Vectors]


class _Part(NamedTuple):
    vectors: Vectors
    tokens: int
    request_id: str


def embed(
    api: BedrockApi, model_id: str, request: EmbedRequest, *, deadline_ms: int
) -> EmbedAnswer:
    """Turn texts into vectors.

    Raises:
        InvalidRequestError: Nobody knows how the model is asked; nothing was sent.
        ProviderError: One of the requests failed; of those beside it some may be billed.
        DeadlineError, SettingError: Nothing was sent.
    """
    form = _form(model_id)
    texts = request.get("texts") or []
    if not all(text.strip() for text in texts):
        raise InvalidRequestError("A text to embed is blank, or no text; Bedrock refuses it.")
    bodies = [
        {**form.encode(request, texts[at : at + form.texts_max]), **_additional(request)}
        for at in range(0, len(texts), form.texts_max)
    ]
    region = request.get("region") or ""

    def ask(body: dict[str, Any]) -> _Part:
        answer = api.post(model_id, "invoke", region, body, deadline_ms=deadline_ms)
        request_id = answer.header("x-amzn-requestid")
        try:
            reply = load_reply(answer.body)
            return _Part(form.decode(reply), input_tokens(answer.headers, reply), request_id)
        except UNREADABLE as error:
            raise malformed(api.name, error, request_id) from error

    parts = _Together(ask, bodies).run()
    vectors = [vector for part in parts for vector in part.vectors]
    if len(vectors) != len(texts):
        error = ValueError(f"{len(vectors)} vectors for {len(texts)} texts")
        raise malformed(api.name, error, parts[0].request_id if parts else "")
    usage: Usage = dict(NO_USAGE)  # type: ignore[assignment]  # the same keys
    usage["uncached_input_tokens"] = sum(part.tokens for part in parts)
    first_id = parts[0].request_id if parts else ""
    return EmbedAnswer(
        vectors, usage, model_id, first_id, {"inputTokens": usage["uncached_input_tokens"]}
    )


def input_tokens(headers: Headers, reply: Mapping[str, Any]) -> int:
    """Return the tokens of one request: what the body says wins over the header.

    Raises:
        ValueError: What stands there is no count.
    """
    if "inputTextTokenCount" in reply:
        return count(reply, "inputTextTokenCount")
    return next((int(value) for name, value in headers if name == INPUT_TOKENS_HEADER), 0)


class _Together:
    """Requests that are under way at once; the first failure ends them."""

    def __init__(self, ask: Callable[[Any], _Part], bodies: list[dict[str, Any]]) -> None:
        self._ask = ask
        self._bodies = bodies
        self._lock = Lock()
        self._next = 0
        self._parts: dict[int, _Part] = {}
        self._failures: list[BaseException] = []

    def run(self) -> list[_Part]:
        """Return the parts in the order of their texts.

        Raises:
            ExtensionError: The first failure.
        """
        threads = [
            Thread(target=self._work, name="embed", daemon=True)
            for _ in range(min(AT_ONCE, len(self._bodies)) - 1)
        ]
        for thread in threads:
            thread.start()
        self._work()
        for thread in threads:
            thread.join()
        if self._failures:
            failure = self._failures[0]
            if isinstance(failure, ProviderError) and self._parts:
                raise _half_done(failure, len(self._parts)) from failure
            raise failure
        return [part for _, part in sorted(self._parts.items())]

    def _work(self) -> None:
        while True:
            with self._lock:
                index = self._next
                if self._failures or index >= len(self._bodies):
                    return
                self._next += 1
            try:
                self._parts[index] = self._ask(self._bodies[index])
            except ExtensionError as error:
                self._failures.append(error)
            except BaseException as error:
                self._failures.append(error)
                raise


def _half_done(failure: ProviderError, answered: int) -> ProviderError:
    """Make the error of a request beside others that are billed: all of it is not asked again."""
    detail = f"{failure.detail} {answered} requests beside it were answered, which are billed."
    return ProviderError(detail, status=_OK, kind=failure.kind, source=failure.source)


def _additional(request: EmbedRequest) -> dict[str, Any]:
    return request.get("additional_fields") or {}


def _form(model_id: str) -> _Form:
    name = family(model_id)
    for beginning, form in _FORMS.items():
        if name.startswith(beginning):
            return form
    message = (
        f"{model_id} is no embedding model that is known here; known are ids that begin with "
        f"{', '.join(_FORMS)}. An application inference profile's ARN does not say its model."
    )
    raise InvalidRequestError(message)


def _titan(request: EmbedRequest, texts: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {"inputText": texts[0]}
    if "dimensions" in request:
        body["dimensions"] = request["dimensions"]
    return body


def _titan_image(request: EmbedRequest, texts: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {"inputText": texts[0]}
    if "dimensions" in request:
        body["embeddingConfig"] = {"outputEmbeddingLength": request["dimensions"]}
    return body


def _one(reply: dict[str, Any]) -> Vectors:
    return [_vector(reply["embedding"])]


def _nova(request: EmbedRequest, texts: list[str]) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "embeddingPurpose": "GENERIC_INDEX",
        "text": {"truncationMode": "NONE", "value": texts[0]},
    }
    if "dimensions" in request:
        parameters["embeddingDimension"] = request["dimensions"]
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": parameters}


def _nova_vectors(reply: dict[str, Any]) -> Vectors:
    return [_vector(found["embedding"]) for found in reply["embeddings"]]


def _cohere(request: EmbedRequest, texts: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {"texts": texts, "input_type": "search_document"}
    if "dimensions" in request:
        body["output_dimension"] = request["dimensions"]
    return body


def _cohere_vectors(reply: dict[str, Any]) -> Vectors:
    """Read the plain form, or the one by type, of which `float` is read."""
    found = reply["embeddings"]
    return [_vector(vector) for vector in (found["float"] if isinstance(found, dict) else found)]


def _vector(value: Any) -> list[float]:
    if not isinstance(value, list) or not all(type(part) in (int, float) for part in value):
        message = "a vector is not a list of numbers"
        raise TypeError(message)
    return value


_FORMS = {
    "amazon.titan-embed-image": _Form(1, _titan_image, _one),
    "amazon.titan-embed": _Form(1, _titan, _one),
    "amazon.nova-2-multimodal-embeddings": _Form(1, _nova, _nova_vectors),
    "cohere.embed": _Form(COHERE_TEXTS_MAX, _cohere, _cohere_vectors),
}
