"""What the use cases need of models: who answers for a name, and how an API is asked and read."""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.domain.answers import AnswerSoFar, ChatAnswer, EmbedAnswer
    from lambdallm_extension.errors import ProviderError
    from lambdallm_wire.chat import ChatDelta, ChatRequest, EmbedRequest


class Models(Protocol):
    """Who answers for a model's name."""

    def find(self, model: str) -> tuple[Provider, str]:
        """Return the provider and its own id of the model.

        Raises:
            SettingError: No provider of that name; says which there are.
        """
        ...


class StreamReader(Protocol):
    """Reads one streamed answer of one API: bytes in, pieces out, no I/O."""

    answer: AnswerSoFar

    def feed(self, data: bytes) -> list[ChatDelta]:
        """Take bytes as they come, cut anywhere, and return the pieces that they complete.

        Raises:
            ProviderError: The API says within its stream that it failed, or the bytes are not
                what it should send. `answer` holds what came before.
        """
        ...

    def end(self) -> None:
        """Know that no more bytes come.

        Raises:
            ProviderError: The API's own end has not come: the answer was cut (`kind` is
                `CutStream`). `answer` holds what came before.
        """
        ...


class Dialect(Protocol):
    """One form of request and answer. No I/O, no state: threads share it."""

    name: str

    def decode(self, model_id: str, headers: Headers, body: bytes) -> ChatAnswer:
        """Read a 200 that is not streamed.

        Raises:
            ProviderError: It is not what this API answers (status 200: the generation was made).
        """
        ...

    def read_stream(self, model_id: str, headers: Headers) -> StreamReader:
        """Return the reader of a 200 that is streamed."""
        ...

    def refusal(self, model_id: str, status: int, headers: Headers, body: bytes) -> ProviderError:
        """Make the error of a reply whose status is no 200."""
        ...


class ChatStream(Protocol):
    """A streamed answer whose beginning has come. For one thread at a time."""

    answer: AnswerSoFar

    def read(self) -> list[ChatDelta] | None:
        """Return the next pieces, perhaps none of them yet; None at the end.

        Raises:
            ProviderError: It was cut, or the model failed within it.
        """
        ...

    def extend(self, deadline_ms: int, read_seconds: float) -> None:
        """Read the rest under other limits: nobody but the books waits for it any more."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class RawReply(Protocol):
    """A reply that is passed on as it comes. For one thread at a time."""

    status: int
    headers: Headers

    def read(self) -> bytes:
        """Return what comes next of the body, nothing at its end.

        Raises:
            ProviderError: It was cut.
        """
        ...

    def extend(self, deadline_ms: int, read_seconds: float) -> None:
        """Read the rest under other limits."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class RawRequest(NamedTuple):
    """A client's own request, as it goes on to the API behind a drop-in endpoint.

    Attributes:
        path: Below the API's base, with its first slash, percent-encoded as it came.
        query: Without the question mark.
        headers: Without those of the hop, of authentication, and of ours.
        key: Headers with a key of the client's own, sent in the place of the provider's; mostly
            empty: then the provider authenticates.
        region: Where the client would have asked, "" for the provider's own; AWS's APIs have one.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    key: tuple[tuple[str, str], ...] = ()
    region: str = ""


class Provider(Protocol):
    """One model API. Every provider passes tests/extension/providers/contract.

    Each method asks once: no retries here. A method that an API has no use for raises
    `InvalidRequestError`, which says so.
    """

    name: str

    def chat(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> ChatAnswer:
        """Ask a model.

        Args:
            model_id: The provider's own id, without `name/` before it.
            request: The canonical request; its `model` is ignored.
            deadline_ms: No use for an answer after this (epoch milliseconds).

        Raises:
            InvalidRequestError: The API would not take it; nothing was sent.
            ProviderError: With `retryable` and `sent` set right.
            DeadlineError: Nothing was sent, there is no time left.
        """
        ...

    def stream(self, model_id: str, request: ChatRequest, *, deadline_ms: int) -> ChatStream:
        """Ask a model for its answer piece by piece; return when it has begun to answer.

        Raises:
            InvalidRequestError, ProviderError, DeadlineError: As `chat`.
        """
        ...

    def embed(self, model_id: str, request: EmbedRequest, *, deadline_ms: int) -> EmbedAnswer:
        """Turn texts into vectors, in as many requests as the API needs.

        Raises:
            InvalidRequestError, ProviderError, DeadlineError: As `chat`.
        """
        ...

    def forward(self, request: RawRequest, *, deadline_ms: int) -> RawReply:
        """Pass a client's own request on, with this API's address and key; return at the head.

        Raises:
            ProviderError: It was not reached, or did not answer.
            DeadlineError, SettingError: Nothing was sent.
        """
        ...

    def reopen(self) -> None:
        """Drop connections that may have died in a freeze, and open a fresh one if that helps."""
        ...

    def close(self) -> None:
        """Let go of files and sockets."""
        ...
