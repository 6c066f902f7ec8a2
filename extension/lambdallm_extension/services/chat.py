"""One model call: find who may answer, ask until somebody does, and book it.

ask      ──► ChatResponse
stream   ──► StreamedReply               begun: its first piece has come
either   ──► Perform ──► performed ──►   the caller's own provider is asked by the caller
"""

from __future__ import annotations

from threading import Lock

from lambda_runtime_api.declarations import NamedTuple, cast
from lambdallm_extension import errors
from lambdallm_extension.domain import routing
from lambdallm_extension.domain.answers import ChatAnswer
from lambdallm_extension.services.attempts import Attempts, Candidate
from lambdallm_extension.services.streaming import Drain, MeteredAnswer, StreamedReply
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.configuration import Configuration
    from lambdallm_extension.model_ports import ChatStream, Models
    from lambdallm_extension.services.attempts import Health
    from lambdallm_extension.services.calls import Books, Call, Settled
    from lambdallm_extension.services.metering import Totals
    from lambdallm_extension.services.open_streams import OpenStreams
    from lambdallm_wire.chat import (
        ChatDelta,
        ChatRequest,
        ChatResponse,
        FinishReason,
        Perform,
        Performed,
        Usage,
    )

OWN = "own"
"""The kind of a provider that is a class in the function's package."""

PENDING_MAX = 256
"""Calls that a caller's own providers are answering; the oldest makes way."""

ANSWERED_BY_ITSELF = 200

NOT_PERFORMED = "NotPerformed"
"""How a call ends whose caller was to ask its own provider, and never said what came of it."""

MAX_TOKENS_DEFAULT = 1_024
"""Of an answer for which neither the call nor an alias says it."""


class _PerformNeeded(BaseException):
    """The caller itself has to ask the candidate. No failure, so nobody catches it as one."""


class _Begun(NamedTuple):
    """A call that is under way."""

    request: ChatRequest
    call: Call
    attempts: Attempts
    deadline_ms: int


class _Opened(NamedTuple):
    stream: ChatStream
    first: list[ChatDelta] | None


class Chat:
    """Asks models on behalf of units of work."""

    def __init__(
        self,
        models: Models,
        books: Books,
        health: Health,
        streams: OpenStreams,
        *,
        default_model: str,
        configuration: Configuration,
    ) -> None:
        """Stand on these.

        Args:
            models: Who answers for a name.
            books: Where calls are booked.
            health: How models have answered lately.
            streams: Gets every stream that is open.
            default_model: Asked where a request names none.
            configuration: Aliases, own providers, and what to do on failure.
        """
        self._models = models
        self._books = books
        self._health = health
        self._streams = streams
        self._default_model = default_model
        self._configuration = configuration
        self._lock = Lock()
        self._pending: dict[str, _Begun] = {}

    def ask(
        self, request: ChatRequest, totals: Totals, *, deadline_ms: int
    ) -> ChatResponse | dict[str, Perform]:
        """Ask, and return what came back with its cost, or what the caller is to ask itself.

        Raises:
            ProviderError: The model, and every fallback there is, refused or failed.
            InvalidRequestError: The model's API would not take it. Nothing was sent.
            DeadlineError: No time was left to ask, or to ask again.
            SettingError: Nobody answers for that model.
        """
        return self._answer(self._begin(request, totals, deadline_ms))

    def stream(
        self, request: ChatRequest, totals: Totals, *, deadline_ms: int
    ) -> StreamedReply | dict[str, Perform]:
        """Ask, and return when the answer has begun.

        Raises:
            ProviderError, InvalidRequestError, DeadlineError, SettingError: As `ask`.
        """
        begun = self._begin(request, totals, deadline_ms)
        try:
            opened = begun.attempts.run(lambda candidate: _open(begun, candidate))
        except _PerformNeeded:
            return self._leave_to_caller(begun)
        except errors.ExtensionError as error:
            begun.call.fail(begun.attempts.candidate.model, error)
            raise
        candidate = begun.attempts.candidate
        metered = MeteredAnswer(
            opened.stream.answer,
            begun.call,
            self._streams,
            model=candidate.model,
            region=candidate.region,
        )
        resilience = self._configuration.resilience
        opened.stream.extend(begun.deadline_ms, resilience.stall_seconds)
        return StreamedReply(
            opened.stream,
            opened.first,
            metered,
            Drain(self._books.clock, resilience.drain_seconds, begun.deadline_ms),
            lambda answer, settled: _respond(begun, answer, settled),
        )

    def performed(
        self, message: Performed, *, deadline_ms: int
    ) -> ChatResponse | dict[str, Perform]:
        """Take what a caller's own provider has answered, or go on where it failed.

        Raises:
            InvalidRequestError: Nobody was asked to perform this call.
            ProviderError: It failed, and there is no other to ask.
        """
        with self._lock:
            begun = self._pending.pop(message["call_id"], None)
        if begun is None:
            reason = f"No call {message['call_id']!r} waits for its own provider."
            raise errors.InvalidRequestError(reason)
        begun = begun._replace(deadline_ms=min(begun.deadline_ms, deadline_ms))
        problem = message.get("problem")
        if problem is None:
            begun.attempts.succeeded()
            answer = _performed_answer(message, begun.attempts.candidate)
            settled = begun.call.settle(begun.attempts.candidate.model, answer)
            return _respond(begun, answer, settled)
        sent = bool(cast("dict[str, Any]", problem).get("sent", False))
        error = errors.ProviderError(
            str(problem.get("detail", "The provider failed.")),
            status=ANSWERED_BY_ITSELF if sent else int(problem.get("status", 500)),
            kind=str(problem.get("title") or "OwnProviderError"),
            retryable=problem.get("retryable") is True,
            retry_after_seconds=problem.get("retry_after_seconds"),
            sent=sent,
            source=begun.attempts.candidate.provider_name,
        )
        try:
            begun.attempts.failed(error)
        except errors.ProviderError as hopeless:
            begun.call.fail(begun.attempts.candidate.model, hopeless)
            raise
        return self._answer(begun)

    def _begin(self, request: ChatRequest, totals: Totals, deadline_ms: int) -> _Begun:
        resilience = self._configuration.resilience
        if resilience.call_ms_max:
            longest_ms = self._books.clock.epoch_ms() + resilience.call_ms_max
            deadline_ms = min(deadline_ms, longest_ms)
        call = self._books.open(
            request["call_id"],
            request["work_id"],
            totals,
            deadline_ms=deadline_ms,
            operation="chat",
        )
        attempts = Attempts(
            self._candidates(request),
            call,
            self._health,
            retries=request.get("max_retries", resilience.max_retries),
            deadline_ms=deadline_ms,
        )
        return _Begun(request, call, attempts, deadline_ms)

    def _candidates(self, request: ChatRequest) -> list[Candidate]:
        model = request.get("model") or self._default_model
        planned = routing.plan(request, model, self._configuration.models)
        return [self._candidate(wanted, request) for wanted in planned]

    def _candidate(self, wanted: routing.Wanted, request: ChatRequest) -> Candidate:
        name, slash, model_id = wanted.model.partition("/")
        configured = self._configuration.providers.get(name)
        own = name in (request.get("own_providers") or ()) or (
            configured is not None and configured.kind == OWN
        )
        if slash and own:
            return Candidate(wanted.model, model_id, None, name, wanted.region, wanted.parameters)
        provider, model_id = self._models.find(wanted.model)
        return Candidate(
            wanted.model, model_id, provider, provider.name, wanted.region, wanted.parameters
        )

    def _answer(self, begun: _Begun) -> ChatResponse | dict[str, Perform]:
        try:
            answer = begun.attempts.run(lambda candidate: _ask(begun, candidate))
        except _PerformNeeded:
            return self._leave_to_caller(begun)
        except errors.ExtensionError as error:
            begun.call.fail(begun.attempts.candidate.model, error)
            raise
        candidate = begun.attempts.candidate
        settled = begun.call.settle(candidate.model, answer, region=candidate.region)
        return _respond(begun, answer, settled)

    def _leave_to_caller(self, begun: _Begun) -> dict[str, Perform]:
        candidate = begun.attempts.candidate
        for given_up in self._wait_for(begun):
            lost = errors.ProviderError("Nobody said what came of it.", kind=NOT_PERFORMED)
            given_up.call.fail(given_up.attempts.candidate.model, lost)
        configured = self._configuration.providers.get(candidate.provider_name)
        perform: Perform = {
            "call_id": begun.call.call_id,
            "provider": candidate.provider_name,
            "model_id": candidate.model_id,
            "class_name": configured.class_name if configured is not None else "",
            "deadline_epoch_ms": begun.deadline_ms,
        }
        return {"perform": perform}

    def _wait_for(self, begun: _Begun) -> list[_Begun]:
        """Keep a call until its caller comes back; return those that nobody will come back for."""
        now_ms = self._books.clock.epoch_ms()
        with self._lock:
            gone = [name for name, each in self._pending.items() if each.deadline_ms < now_ms]
            if len(self._pending) - len(gone) >= PENDING_MAX:
                gone.append(next(name for name in self._pending if name not in gone))
            given_up = [self._pending.pop(name) for name in gone]
            self._pending[begun.call.call_id] = begun
        return given_up


def _ask(begun: _Begun, candidate: Candidate) -> ChatAnswer:
    if candidate.provider is None:
        raise _PerformNeeded
    return candidate.provider.chat(
        candidate.model_id, _for(begun.request, candidate), deadline_ms=begun.deadline_ms
    )


def _open(begun: _Begun, candidate: Candidate) -> _Opened:
    """Open a stream and wait for its first piece: what fails before it may be asked again."""
    if candidate.provider is None:
        raise _PerformNeeded
    stream = candidate.provider.stream(
        candidate.model_id, _for(begun.request, candidate), deadline_ms=begun.deadline_ms
    )
    first: list[ChatDelta] | None = []
    try:
        while first is not None and not first:
            first = stream.read()
    except BaseException:
        stream.close()
        raise
    return _Opened(stream, first)


def _for(request: ChatRequest, candidate: Candidate) -> ChatRequest:
    """Return the request as this candidate is to get it."""
    usual = {"max_tokens": MAX_TOKENS_DEFAULT, **candidate.parameters}
    return cast("ChatRequest", {**usual, **request, "region": candidate.region})


def _respond(begun: _Begun, answer: ChatAnswer, settled: Settled) -> ChatResponse:
    totals = begun.call.totals
    return {
        "call_id": begun.call.call_id,
        "model": begun.attempts.candidate.model,
        "text": answer.text,
        "content": answer.content,
        "finish_reason": cast("FinishReason", answer.finish_reason),
        "usage": answer.usage,
        "cost_pico_usd": settled.cost_pico_usd,
        "latency_ms": settled.latency_ms,
        "attempts": begun.call.attempts,
        "total_cost_pico_usd": totals.cost_pico_usd,
        "total_unpriced_calls": totals.unpriced_calls,
    }


def _performed_answer(message: Performed, candidate: Candidate) -> ChatAnswer:
    text = message.get("text", "")
    said = cast("dict[str, int]", message.get("usage") or {})
    usage = {kind: said.get(kind, 0) for kind in NO_USAGE}
    return ChatAnswer(
        text=text,
        content=cast("list[dict[str, object]]", message.get("content") or [{"text": text}]),
        finish_reason=message.get("finish_reason") or "stop",
        usage=cast("Usage", usage),
        model=message.get("model") or candidate.model,
        provider_request_id=message.get("provider_request_id", ""),
        cost_pico_usd=message.get("cost_pico_usd"),
    )
