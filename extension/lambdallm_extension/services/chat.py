"""One model call: find who may answer, ask until somebody does, and book it.

ask      ──► ChatResponse
stream   ──► StreamedReply               begun: its first piece has come
either   ──► Perform ──► `performing`    the caller's own provider is asked by the caller
"""

from __future__ import annotations

from functools import partial

from lambda_runtime_api.declarations import NamedTuple, cast
from lambdallm_extension.domain import prefill, routing
from lambdallm_extension.domain.answers import ChatAnswer
from lambdallm_extension.services.attempts import Attempts
from lambdallm_extension.services.performing import Left, PerformNeeded, usage_of
from lambdallm_extension.services.streaming import Drain, MeteredAnswer, StreamedReply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from lambdallm_extension.configuration import Configuration
    from lambdallm_extension.model_ports import ChatStream
    from lambdallm_extension.services.calls import Books, Call, Settled
    from lambdallm_extension.services.hedging import Counting, Hedge
    from lambdallm_extension.services.metering import Totals
    from lambdallm_extension.services.model_health import Candidate, Health
    from lambdallm_extension.services.open_streams import OpenStreams
    from lambdallm_extension.services.performing import Performing
    from lambdallm_extension.services.run_calls import RunCall
    from lambdallm_wire.chat import (
        ChatDelta,
        ChatRequest,
        ChatResponse,
        FinishReason,
        Perform,
        Performed,
    )

    T = TypeVar("T")

MAX_TOKENS_DEFAULT = 1_024
"""Of an answer for which neither the call nor an alias says it."""

BILLED_TO_THE_END = ("bedrock", "sagemaker")
"""Providers whose models go on when nobody reads, and are billed: cancelling them saves nothing.

They are read on for their usage. Source: reports of users who compared Bedrock's bill with streams
that were left (litellm's issues 13245 and 36008, 2025 and 2026).
"""


class _Begun(NamedTuple):
    """A call that is under way."""

    request: ChatRequest
    call: Call
    attempts: Attempts
    deadline_ms: int
    counted: Counting | None


class _Opened(NamedTuple):
    stream: ChatStream
    first: list[ChatDelta] | None


class Chat:
    """Asks models on behalf of units of work."""

    def __init__(
        self,
        performing: Performing,
        books: Books,
        health: Health,
        streams: OpenStreams,
        *,
        default_model: str,
        configuration: Configuration,
    ) -> None:
        """Stand on these.

        Args:
            performing: Who answers for a name, and calls that their callers perform.
            books: Where calls are booked.
            health: How models have answered lately.
            streams: Gets every stream that is open.
            default_model: Asked where a request names none.
            configuration: Aliases, and what to do on failure.
        """
        self._performing = performing
        self._books = books
        self._health = health
        self._streams = streams
        self._default_model = default_model
        self._configuration = configuration

    def ask(
        self,
        request: ChatRequest,
        totals: Totals,
        *,
        deadline_ms: int,
        counted: Counting | None = None,
        run: RunCall | None = None,
    ) -> ChatResponse | dict[str, Perform]:
        """Ask, and return what came back with its cost, or what the caller is to ask itself.

        Args:
            request: The question.
            totals: Of the unit of work that asks.
            deadline_ms: Epoch milliseconds.
            counted: Counts what goes on when the answer has been returned; None: no second model
                is asked beside a silent one.
            run: The call as its run sees it.

        Raises:
            ProviderError: The model, and every fallback there is, refused or failed.
            InvalidRequestError: The model's API would not take it. Nothing was sent.
            DeadlineError: No time was left to ask, or to ask again.
            SettingError: Nobody answers for that model.
        """
        return self._answer(self._begin(request, totals, deadline_ms, counted, run))

    def stream(
        self,
        request: ChatRequest,
        totals: Totals,
        *,
        deadline_ms: int,
        counted: Counting | None = None,
        run: RunCall | None = None,
    ) -> StreamedReply | dict[str, Perform]:
        """Ask, and return when the answer has begun.

        Raises:
            ProviderError, InvalidRequestError, DeadlineError, SettingError: As `ask`.
        """
        begun = self._begin(request, totals, deadline_ms, counted, run)

        def book(call: Call, candidate: Candidate, opened: _Opened) -> None:
            self._reply(begun, call, candidate, opened).close()

        hedge = self._hedge(begun, book)
        try:
            opened = begun.attempts.run(
                lambda candidate: _open(begun, candidate), hedge, whole=False
            )
        except PerformNeeded:
            return self._leave_to_caller(begun)
        except BaseException as error:
            begun.call.break_off(begun.attempts.candidate.model, error)
            raise
        return self._reply(begun, begun.call, begun.attempts.candidate, opened)

    def _begin(
        self,
        request: ChatRequest,
        totals: Totals,
        deadline_ms: int,
        counted: Counting | None,
        run: RunCall | None,
    ) -> _Begun:
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
            body=partial(_bounded, request),
            run=run,
        )
        attempts = Attempts(
            self._candidates(request, call, deadline_ms),
            call,
            self._health,
            retries=request.get("max_retries", resilience.max_retries),
            deadline_ms=deadline_ms,
        )
        return _Begun(request, call, attempts, deadline_ms, counted)

    def _candidates(self, request: ChatRequest, call: Call, deadline_ms: int) -> list[Candidate]:
        models = self._configuration.models
        planned = routing.plan(request, request.get("model") or self._default_model, models)
        spending = self._books.spending
        if spending is not None and not _is_bound_to_its_model(request):
            asked = planned[0].model
            cheaper = spending.downgrade(call.totals.scopes(), asked, deadline_ms)
            if cheaper:
                planned = routing.plan(request, cheaper, models)
            if planned[0].model != asked:
                call.downgrade(asked)
        own = request.get("own_providers")
        return [self._performing.candidate(wanted, own) for wanted in planned]

    def _answer(self, begun: _Begun) -> ChatResponse | dict[str, Perform]:
        hedge = self._hedge(begun, self._book)
        try:
            answer = begun.attempts.run(lambda candidate: _ask(begun, candidate), hedge)
        except PerformNeeded:
            return self._leave_to_caller(begun)
        except BaseException as error:
            begun.call.break_off(begun.attempts.candidate.model, error)
            raise
        return _settle(begun, answer)

    def _hedge(self, begun: _Begun, book: Callable[[Call, Candidate, T], None]) -> Hedge[T] | None:
        """Return what asks a second model beside a silent one, None where that is not wanted."""
        after_ms = self._configuration.resilience.hedge_after_ms
        if not after_ms or begun.counted is None:
            return None
        from lambdallm_extension.services.hedging import RECORD_SUFFIX, Hedge, LeftBehind

        record = self._books.open(
            begun.call.call_id + RECORD_SUFFIX,
            begun.call.work_id,
            begun.call.totals,
            deadline_ms=begun.deadline_ms,
            operation="chat",
            body=partial(_bounded, begun.request),
        )
        left_behind = LeftBehind(record, book, self._streams, begun.counted, begun.call)
        return Hedge(left_behind, after_ms=after_ms, deadline_ms=begun.deadline_ms)

    def _book(self, call: Call, candidate: Candidate, answer: ChatAnswer) -> None:
        self._health.succeeded(candidate)
        call.settle(candidate.model, answer, region=candidate.region)

    def _reply(
        self, begun: _Begun, call: Call, candidate: Candidate, opened: _Opened
    ) -> StreamedReply:
        metered = MeteredAnswer(
            opened.stream.answer,
            call,
            self._streams,
            model=candidate.model,
            region=candidate.region,
            tell=lambda error: self._health.ended(candidate, error),
        )
        resilience = self._configuration.resilience
        opened.stream.extend(begun.deadline_ms, resilience.stall_seconds)
        return StreamedReply(
            opened.stream,
            opened.first,
            metered,
            Drain(self._books.clock, self._drain_seconds(begun, candidate), begun.deadline_ms),
            lambda answer, settled: _respond(begun, answer, settled),
        )

    def _drain_seconds(self, begun: _Begun, candidate: Candidate) -> float:
        """Return for how long an answer is read on whose reader has gone."""
        cancels = begun.request.get("reader_gone") == "cancel"
        if cancels and candidate.provider_name not in BILLED_TO_THE_END:
            return 0.0
        return self._configuration.resilience.drain_seconds

    def _leave_to_caller(self, begun: _Begun) -> dict[str, Perform]:
        candidate = begun.attempts.candidate
        left = Left(
            begun.call,
            begun.attempts,
            begun.deadline_ms,
            read=lambda message: _performed_answer(message, candidate),
            book=lambda answer: _settle(begun, answer),
            go_on=lambda deadline_ms: self._answer(
                begun._replace(deadline_ms=deadline_ms, counted=None)  # hedged once a call
            ),
        )
        return self._performing.leave(left, {})


def _ask(begun: _Begun, candidate: Candidate) -> ChatAnswer:
    if candidate.provider is None:
        raise PerformNeeded
    return candidate.provider.chat(
        candidate.model_id, _for(begun.request, candidate), deadline_ms=begun.deadline_ms
    )


def _open(begun: _Begun, candidate: Candidate) -> _Opened:
    """Open a stream and wait for its first piece: what fails before it may be asked again."""
    if candidate.provider is None:
        raise PerformNeeded
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


def _for(request: ChatRequest, candidate: Candidate | None) -> ChatRequest:
    """Return the request as this candidate is to get it."""
    if candidate is None:
        return request
    usual = {"max_tokens": MAX_TOKENS_DEFAULT, **candidate.parameters}
    asked = cast("ChatRequest", {**usual, **request, "region": candidate.region})
    if "goes_on_from" in request:
        before = _text_before(request, candidate)
        return cast("ChatRequest", prefill.with_beginning(asked, before)) if before else asked
    return asked


def _text_before(request: ChatRequest, candidate: Candidate) -> str:
    """Return the beginning that a candidate's answer goes on with, "" where it is asked anew."""
    before = str(request.get("goes_on_from", ""))
    return before if before and prefill.goes_on(candidate.model, request) else ""


def _bounded(request: ChatRequest, candidate: Candidate | None) -> dict[str, object]:
    """Return what says how much a call can use, in the form of Converse, which its content has."""
    asked = _for(request, candidate)
    return {**asked, "inferenceConfig": {"maxTokens": asked.get("max_tokens")}}


def _is_bound_to_its_model(request: ChatRequest) -> bool:
    """Say whether a conversation holds what another model would refuse, or take otherwise."""
    blocks = [
        block
        for message in request["messages"]
        if not isinstance(message["content"], str)
        for block in message["content"]
    ]
    return any("toolUse" in block or "reasoningContent" in block for block in blocks)


def _settle(begun: _Begun, answer: ChatAnswer) -> ChatResponse:
    candidate = begun.attempts.candidate
    settled = begun.call.settle(candidate.model, answer, region=candidate.region)
    return _respond(begun, answer, settled)


def _respond(begun: _Begun, answer: ChatAnswer, settled: Settled) -> ChatResponse:
    totals = begun.call.totals
    before = _text_before(begun.request, begun.attempts.candidate)
    response: ChatResponse = {
        "call_id": begun.call.call_id,
        "model": begun.attempts.candidate.model,
        "text": before + answer.text,
        "content": [{"text": before}, *answer.content] if before else answer.content,
        "finish_reason": cast("FinishReason", answer.finish_reason),
        "usage": answer.usage,
        "cost_pico_usd": settled.cost_pico_usd,
        "latency_ms": settled.latency_ms,
        "attempts": begun.call.attempts,
        "total_cost_pico_usd": totals.cost_pico_usd,
        "total_unpriced_calls": totals.unpriced_calls,
    }
    if begun.call.run is not None:
        begun.call.run.settle(settled.cost_pico_usd, response)
    return response


def _performed_answer(message: Performed, candidate: Candidate) -> ChatAnswer:
    text = message.get("text", "")
    return ChatAnswer(
        text=text,
        content=cast("list[dict[str, object]]", message.get("content") or [{"text": text}]),
        finish_reason=message.get("finish_reason") or "stop",
        usage=usage_of(message),
        model=message.get("model") or candidate.model,
        provider_request_id=message.get("provider_request_id", ""),
        raw_usage=message.get("usage"),
        cost_pico_usd=message.get("cost_pico_usd"),
    )
