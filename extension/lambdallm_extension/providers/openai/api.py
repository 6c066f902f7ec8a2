"""OpenAI's API, and every server that speaks as it does.

    provider            address                               key
    openai              OPENAI_BASE_URL, api.openai.com       OPENAI_API_KEY
    openai-responses    the same, asked through `/responses`  the same
    openai-compatible   LAMBDALLM_OPENAI_COMPATIBLE_URL       LAMBDALLM_OPENAI_COMPATIBLE_KEY

The last one may have no key.

The provider's `base_url` and `api_key` in lambdallm.yaml win over the variables.
"""

from __future__ import annotations

from lambdallm_extension.domain.answers import EmbedAnswer
from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers.addresses import find_address
from lambdallm_extension.providers.keyed_api import KeyedApi, encode_json
from lambdallm_extension.providers.keys import ApiKey, original
from lambdallm_extension.providers.openai.chat import ChatCompletions
from lambdallm_extension.providers.openai.embeddings import Embeddings, batches
from lambdallm_extension.providers.openai.responses import Responses
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.domain.answers import ChatAnswer
    from lambdallm_extension.providers import Surroundings
    from lambdallm_extension.providers.keyed_api import AskingDialect
    from lambdallm_wire.chat import EmbedRequest, Usage

BASE_URL = "https://api.openai.com/v1"

_OK = 200

_ACCOUNT = {"OPENAI_ORG_ID": "openai-organization", "OPENAI_PROJECT_ID": "openai-project"}
"""Variables that OpenAI's own clients send. Source: the package openai 3.52."""


class OpenAi(KeyedApi):
    """A `model_ports.Provider`, with embeddings."""

    def embed(self, model_id: str, request: EmbedRequest, *, deadline_ms: int) -> EmbedAnswer:
        """Turn texts into vectors; see `model_ports.Provider.embed`."""
        dialect = Embeddings(self.name)
        vectors: list[list[float]] = []
        usage: Usage = {**NO_USAGE}
        raw: dict[str, object] = {}
        answering, request_id = model_id, ""
        for texts in batches(request["texts"]):
            body = encode_json(dialect.encode(model_id, request, texts))
            try:
                answer, some = self._embed_some(dialect, model_id, body, len(texts), deadline_ms)
            except ProviderError as error:
                raise _half_done(error, len(vectors)) if vectors else error from None
            vectors += some
            for name in usage:
                usage[name] += answer.usage[name]  # type: ignore[literal-required]  # its own keys
            raw = _added(raw, answer.raw_usage or {})
            answering, request_id = answer.model, answer.provider_request_id
        return EmbedAnswer(vectors, usage, answering, request_id, raw or None)

    def _embed_some(
        self, dialect: Embeddings, model_id: str, body: bytes, texts: int, deadline_ms: int
    ) -> tuple[ChatAnswer, list[list[float]]]:
        reply = self._api.post(dialect.path, self._headers, body, deadline_ms=deadline_ms)
        if reply.status != _OK:
            raise self.refusal(dialect, model_id, reply.status, reply.headers, reply.body)
        answer, vectors = dialect.decode_vectors(model_id, reply.headers, reply.body)
        if len(vectors) != texts:
            detail = f"{self.name} answered {texts} texts with {len(vectors)} vectors."
            raise ProviderError(detail, status=_OK, kind="MalformedReply", source=self.name)
        return answer, vectors


def open_openai(name: str, around: Surroundings) -> OpenAi:
    """Open OpenAI under a provider's name.

    Raises:
        SettingError: Its address is no URL.
    """
    settings, configured = around.settings, around.configured
    environ = settings.environ
    dialect: AskingDialect = (
        Responses(name) if configured.kind == "openai-responses" else ChatCompletions(name)
    )
    url = find_address(settings, configured.base_url, "OPENAI_BASE_URL", BASE_URL)
    reference = configured.api_key or original(environ, "OPENAI_API_KEY")
    missing = (
        "There is no key for OpenAI: set OPENAI_API_KEY to it, or to the ARN of a secret, or set "
        "the provider's api_key in lambdallm.yaml."
    )
    account = [
        (header, environ[variable])
        for variable, header in _ACCOUNT.items()
        if environ.get(variable) and not configured.api_key
    ]
    return OpenAi(
        name,
        url,
        ApiKey(reference, around.secrets, _bearer, missing),
        dialect,
        environ,
        around.clock,
        headers=_lower(configured.headers),
        defaults=account,
    )


def open_compatible(name: str, around: Surroundings) -> OpenAi:
    """Open a server that speaks as OpenAI does, which may want no key.

    Raises:
        SettingError: Nobody has said where it is.
    """
    settings, configured = around.settings, around.configured
    url = find_address(settings, configured.base_url, "LAMBDALLM_OPENAI_COMPATIBLE_URL", "")
    reference = configured.api_key
    if not reference and not configured.base_url:
        reference = settings.environ.get("LAMBDALLM_OPENAI_COMPATIBLE_KEY", "").strip()
    return OpenAi(
        name,
        url,
        ApiKey(reference, around.secrets, _bearer, ""),
        ChatCompletions(name, compatible=True),
        settings.environ,
        around.clock,
        headers=_lower(configured.headers),
        defaults=[],
    )


def _bearer(key: str) -> Headers:
    return [("authorization", f"Bearer {key}")]


def _lower(headers: Mapping[str, str]) -> Headers:
    return [(name.lower(), value) for name, value in headers.items()]


def _added(one: Mapping[str, object], other: Mapping[str, object]) -> dict[str, object]:
    """Return the sums of two usages' numbers."""
    return {
        name: value + before if isinstance(before := one.get(name, 0), int) else value
        for name, value in other.items()
        if isinstance(value, int)
    }


def _half_done(error: ProviderError, embedded: int) -> ProviderError:
    """Make the error of a request after others, which are billed: all of it is not asked again."""
    detail = f"{error.detail} Before it {embedded} texts were embedded, which are billed."
    return ProviderError(detail, status=_OK, kind=error.kind, source=error.source)
