"""Texts into vectors: each text is asked for once, and remembered by its content."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from threading import Lock

from lambdallm_extension import errors
from lambdallm_extension.domain import routing
from lambdallm_extension.domain.answers import ChatAnswer
from lambdallm_extension.services.attempts import Attempts, Candidate
from lambdallm_wire import plain_json
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.configuration import Configuration
    from lambdallm_extension.domain.answers import EmbedAnswer
    from lambdallm_extension.model_ports import Models
    from lambdallm_extension.services.attempts import Health
    from lambdallm_extension.services.calls import Books
    from lambdallm_extension.services.metering import Totals
    from lambdallm_wire.chat import ChatRequest, EmbedRequest, EmbedResponse

    Place = tuple[str, str, int, str, str]
    """Model, region, dimensions, additional fields as JSON, text."""

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


class Embedding:
    """Asks embedding models on behalf of units of work."""

    def __init__(
        self, models: Models, books: Books, health: Health, configuration: Configuration
    ) -> None:
        """Stand on these; see `services.chat.Chat`."""
        self._models = models
        self._books = books
        self._health = health
        self._configuration = configuration
        self._cache = VectorCache()

    def embed(self, request: EmbedRequest, totals: Totals, *, deadline_ms: int) -> EmbedResponse:
        """Return a vector for each text; only what is not remembered is asked for, each text once.

        Raises:
            ProviderError: The model, and every fallback its alias has, refused or failed.
            InvalidRequestError: The API would not take the texts. Nothing was sent.
            DeadlineError, SettingError: As `Chat.ask`.
        """
        started_ms = self._books.clock.epoch_ms()
        texts, dimensions = request["texts"], request.get("dimensions") or 0
        fields = plain_json.dumps(request.get("additional_fields") or {})
        planned = routing.plan(_as_chat(request), request["model"], self._configuration.models)
        first = planned[0]

        def place(text: str) -> Place:
            return first.model, first.region, dimensions, fields, text

        known = {text: self._cache.get(place(text)) for text in texts}
        missing = [text for text, vector in known.items() if vector is None]
        asked: list[str] = []
        usage, model = NO_USAGE, first.model
        cost: int | None = 0
        if missing:

            def texts_for(candidate: Candidate) -> list[str]:
                """Return the missing ones; of another model all: its vectors fit no others."""
                return missing if candidate.model == first.model else list(known)

            answer, cost, candidate = self._ask(request, planned, texts_for, totals, deadline_ms)
            usage, model, asked = answer.usage, candidate.model, texts_for(candidate)
            for text, vector in zip(asked, answer.vectors, strict=True):
                known[text] = vector
                if model == first.model:
                    self._cache.put(place(text), vector)
        return {
            "call_id": request["call_id"],
            "model": model,
            "vectors": [known[text] or [] for text in texts],
            "usage": usage,
            "cost_pico_usd": cost,
            "cached_texts": len(texts) - len(asked),
            "latency_ms": self._books.clock.epoch_ms() - started_ms,
            "total_cost_pico_usd": totals.cost_pico_usd,
            "total_unpriced_calls": totals.unpriced_calls,
        }

    def _ask(
        self,
        request: EmbedRequest,
        planned: list[routing.Wanted],
        texts_for: Callable[[Candidate], list[str]],
        totals: Totals,
        deadline_ms: int,
    ) -> tuple[EmbedAnswer, int | None, Candidate]:
        call = self._books.open(
            request["call_id"],
            request["work_id"],
            totals,
            deadline_ms=deadline_ms,
            operation="embeddings",
        )
        retries = request.get("max_retries", self._configuration.resilience.max_retries)
        attempts = Attempts(
            [self._candidate(wanted) for wanted in planned],
            call,
            self._health,
            retries=retries,
            deadline_ms=deadline_ms,
        )

        def ask(candidate: Candidate) -> EmbedAnswer:
            texts = texts_for(candidate)
            asked: EmbedRequest = {**request, "texts": texts, "region": candidate.region}
            if candidate.provider is None:  # pragma: no cover - `_candidate` finds one or raises
                raise TypeError(candidate)
            answer = candidate.provider.embed(candidate.model_id, asked, deadline_ms=deadline_ms)
            if len(answer.vectors) != len(texts):
                detail = f"{len(answer.vectors)} vectors came for {len(texts)} texts."
                raise errors.ProviderError(
                    detail, status=ANSWERED, kind="NotWhole", source=candidate.provider_name
                )
            return answer

        try:
            answer = attempts.run(ask)
        except errors.ExtensionError as error:
            call.fail(attempts.candidate.model, error)
            raise
        candidate = attempts.candidate
        settled = call.settle(candidate.model, _as_answer(answer), region=candidate.region)
        return answer, settled.cost_pico_usd, candidate

    def _candidate(self, wanted: routing.Wanted) -> Candidate:
        provider, model_id = self._models.find(wanted.model)
        return Candidate(wanted.model, model_id, provider, provider.name, wanted.region)


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
    )
