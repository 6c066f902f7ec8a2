"""Texts into vectors: each text is asked for once, and remembered by its content.

embed ──► EmbedResponse
     └──► Perform ──► `performing`    the caller's own provider is asked by the caller
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from threading import Lock

from lambda_runtime_api.declarations import NamedTuple, cast
from lambdallm_extension import errors
from lambdallm_extension.domain import routing
from lambdallm_extension.domain.answers import ChatAnswer, EmbedAnswer
from lambdallm_extension.services.attempts import Attempts
from lambdallm_extension.services.performing import Left, PerformNeeded, usage_of
from lambdallm_wire import plain_json
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdallm_extension.configuration import Configuration
    from lambdallm_extension.services.calls import Books, Call
    from lambdallm_extension.services.metering import Totals
    from lambdallm_extension.services.model_health import Candidate, Health
    from lambdallm_extension.services.performing import Performing
    from lambdallm_wire.chat import (
        ChatRequest,
        EmbedRequest,
        EmbedResponse,
        Perform,
        Performed,
        Usage,
    )

    Kind = tuple[str, str, int, str]
    """Of vectors that fit each other: model, region, dimensions, additional fields as JSON."""

    Place = tuple[str, str, int, str, str]
    """A kind, and a text."""

NUMBERS_MAX = 524_288
"""Remembered of all vectors together: 4 MiB as doubles, 500 vectors of 1,024 dimensions.

A text beside its vector counts as the numbers that would take its place.
"""

CHARACTERS_PER_NUMBER = 8
PLACE_NUMBERS = 32
"""What remembering costs beside text and vector."""

ANSWERED = 200

TEXT_MAX_CHARACTERS = 65_536
"""A longer text is asked for every time: it is no query that comes again."""


class VectorCache:
    """The vectors of texts that were embedded lately. Threads share it."""

    def __init__(self, numbers_max: int = NUMBERS_MAX) -> None:
        """Remember at most so many numbers."""
        self._numbers_max = numbers_max
        self._numbers = 0
        self._vectors: OrderedDict[Place, array[float]] = OrderedDict()
        self._lock = Lock()

    def get(self, place: Place) -> list[float] | None:
        """Return a vector, None when it is not known any more."""
        with self._lock:
            vector = self._vectors.get(place)
            if vector is None:
                return None
            self._vectors.move_to_end(place)
            return vector.tolist()

    def put(self, place: Place, vector: Sequence[float]) -> None:
        """Remember a vector; the ones that were not asked for longest make way."""
        if len(place[-1]) > TEXT_MAX_CHARACTERS:
            return
        with self._lock:
            known = self._vectors.pop(place, None)
            if known is not None:
                self._numbers -= _size(place, known)
            self._vectors[place] = array("d", vector)
            self._numbers += _size(place, vector)
            while self._numbers > self._numbers_max:
                self._numbers -= _size(*self._vectors.popitem(last=False))


class _Begun(NamedTuple):
    """A call that is under way.

    Attributes:
        request: What was asked.
        kind: Which vectors are remembered: the first model's.
        known: Each text once, with its vector where that is remembered.
        call, attempts: In the books, and with whom.
        deadline_ms, started_ms: Epoch milliseconds.
    """

    request: EmbedRequest
    kind: Kind
    known: dict[str, list[float] | None]
    call: Call
    attempts: Attempts
    deadline_ms: int
    started_ms: int

    @property
    def of_first_model(self) -> bool:
        """Whether the candidate's vectors fit those that are remembered."""
        return self.attempts.candidate.model == self.kind[0]

    def texts(self) -> list[str]:
        """Return those to ask the candidate for."""
        return _asked_of(self.attempts.candidate.model, self.kind, self.known)

    def check(self, answer: EmbedAnswer) -> EmbedAnswer:
        """Return an answer that has a vector for each of these texts.

        Raises:
            ProviderError: It has not.
        """
        wanted = len(self.texts())
        if len(answer.vectors) == wanted:
            return answer
        detail = f"{len(answer.vectors)} vectors came for {wanted} texts."
        source = self.attempts.candidate.provider_name
        raise errors.ProviderError(detail, status=ANSWERED, kind="NotWhole", source=source)


class Embedding:
    """Asks embedding models on behalf of units of work."""

    def __init__(
        self, performing: Performing, books: Books, health: Health, configuration: Configuration
    ) -> None:
        """Stand on these; see `services.chat.Chat`."""
        self._performing = performing
        self._books = books
        self._health = health
        self._configuration = configuration
        self._cache = VectorCache()

    def embed(
        self, request: EmbedRequest, totals: Totals, *, deadline_ms: int
    ) -> EmbedResponse | dict[str, Perform]:
        """Return a vector for each text, or what the caller is to ask itself.

        Only what is not remembered is asked for, each text once.

        Raises:
            ProviderError: The model, and every fallback its alias has, refused or failed.
            InvalidRequestError: The API would not take the texts. Nothing was sent.
            DeadlineError, SettingError: As `Chat.ask`.
        """
        started_ms = self._books.clock.epoch_ms()
        planned = routing.plan(_as_chat(request), request["model"], self._configuration.models)
        fields = plain_json.dumps(request.get("additional_fields") or {})
        first = planned[0]
        kind = first.model, first.region, request.get("dimensions") or 0, fields
        known = {text: self._cache.get((*kind, text)) for text in request["texts"]}
        if None not in known.values():
            latency_ms = self._books.clock.epoch_ms() - started_ms
            return _respond(request, known, totals, first.model, latency_ms=latency_ms)
        resilience = self._configuration.resilience
        if resilience.call_ms_max:
            deadline_ms = min(deadline_ms, started_ms + resilience.call_ms_max)
        call = self._books.open(
            request["call_id"],
            request["work_id"],
            totals,
            deadline_ms=deadline_ms,
            operation="embeddings",
            body=lambda candidate: {
                **(request.get("additional_fields") or {}),
                "texts": _asked_of(candidate.model if candidate else "", kind, known),
            },
        )
        own = request.get("own_providers")
        attempts = Attempts(
            [self._performing.candidate(wanted, own) for wanted in planned],
            call,
            self._health,
            retries=request.get("max_retries", resilience.max_retries),
            deadline_ms=deadline_ms,
        )
        return self._answer(_Begun(request, kind, known, call, attempts, deadline_ms, started_ms))

    def _answer(self, begun: _Begun) -> EmbedResponse | dict[str, Perform]:
        try:
            answer = begun.attempts.run(lambda candidate: _ask(begun, candidate))
        except PerformNeeded:
            return self._leave_to_caller(begun)
        except BaseException as error:
            begun.call.break_off(begun.attempts.candidate.model, error)
            raise
        return self._settle(begun, answer)

    def _leave_to_caller(self, begun: _Begun) -> dict[str, Perform]:
        left = Left(
            begun.call,
            begun.attempts,
            begun.deadline_ms,
            read=lambda message: begun.check(_performed_answer(message, begun.attempts.candidate)),
            book=lambda answer: self._settle(begun, answer),
            go_on=lambda deadline_ms: self._answer(begun._replace(deadline_ms=deadline_ms)),
        )
        index_of = {text: index for index, text in enumerate(begun.request["texts"])}
        indexes = [index_of[text] for text in begun.texts()]
        return self._performing.leave(left, {"text_indexes": indexes})

    def _settle(self, begun: _Begun, answer: EmbedAnswer) -> EmbedResponse:
        candidate, asked = begun.attempts.candidate, begun.texts()
        settled = begun.call.settle(candidate.model, _as_answer(answer), region=candidate.region)
        vectors = dict(zip(asked, answer.vectors, strict=True))
        if begun.of_first_model:
            for text, vector in vectors.items():
                self._cache.put((*begun.kind, text), vector)
        return _respond(
            begun.request,
            {**begun.known, **vectors},
            begun.call.totals,
            candidate.model,
            asked=len(asked),
            usage=answer.usage,
            cost_pico_usd=settled.cost_pico_usd,
            latency_ms=self._books.clock.epoch_ms() - begun.started_ms,
        )


def _asked_of(model: str, kind: Kind, known: dict[str, list[float] | None]) -> list[str]:
    """Return the texts to ask a model for: without a vector; of another than the first all."""
    if model != kind[0]:
        return [*known]
    return [text for text, vector in known.items() if vector is None]


def _ask(begun: _Begun, candidate: Candidate) -> EmbedAnswer:
    if candidate.provider is None:
        if "own_providers" not in begun.request:
            message = (
                f"{candidate.provider_name!r} is a class of the function's own, and its SDK, which "
                "is older than the layer, cannot ask that for vectors: update the SDK."
            )
            raise errors.SettingError(message)
        raise PerformNeeded
    asked = {**begun.request, "texts": begun.texts(), "region": candidate.region}
    return begun.check(
        candidate.provider.embed(
            candidate.model_id, cast("EmbedRequest", asked), deadline_ms=begun.deadline_ms
        )
    )


def _respond(  # noqa: PLR0913 - the facts of a response, all but four of them keywords
    request: EmbedRequest,
    known: dict[str, list[float] | None],
    totals: Totals,
    model: str,
    *,
    asked: int = 0,
    usage: Usage = NO_USAGE,
    cost_pico_usd: int | None = 0,
    latency_ms: int,
) -> EmbedResponse:
    texts = request["texts"]
    return {
        "call_id": request["call_id"],
        "model": model,
        "vectors": [known[text] or [] for text in texts],
        "usage": usage,
        "cost_pico_usd": cost_pico_usd,
        "cached_texts": len(texts) - asked,
        "latency_ms": latency_ms,
        "total_cost_pico_usd": totals.cost_pico_usd,
        "total_unpriced_calls": totals.unpriced_calls,
    }


def _performed_answer(message: Performed, candidate: Candidate) -> EmbedAnswer:
    return EmbedAnswer(
        vectors=message.get("vectors") or [],
        usage=usage_of(message),
        model=message.get("model") or candidate.model,
        provider_request_id=message.get("provider_request_id", ""),
        raw_usage=message.get("usage"),
        cost_pico_usd=message.get("cost_pico_usd"),
    )


def _size(place: Place, vector: Sequence[float]) -> int:
    return len(vector) + len(place[-1]) // CHARACTERS_PER_NUMBER + PLACE_NUMBERS


def _as_chat(request: EmbedRequest) -> ChatRequest:
    return {"region": request.get("region") or ""}


def _as_answer(answer: EmbedAnswer) -> ChatAnswer:
    """Return what the books want of it."""
    return ChatAnswer(
        text="",
        content=[],
        finish_reason="",
        usage=answer.usage,
        model=answer.model,
        provider_request_id=answer.provider_request_id,
        raw_usage=answer.raw_usage,
        cost_pico_usd=answer.cost_pico_usd,
    )
