"""One model call: find who answers, ask until answered or hopeless, and book it."""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple, cast
from lambdallm_extension import errors
from lambdallm_extension.domain import retry
from lambdallm_extension.services.metering import CallRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import ChatAnswer, Clock, Models, Prices, Random, Value
    from lambdallm_extension.services.metering import Recorder, Totals
    from lambdallm_wire.chat import ChatRequest, ChatResponse, FinishReason

RETRIES_DEFAULT = 2
RETRIES_MAX = 10
THROTTLED = 429
FIRST_ERROR_STATUS = 400


class _Answered(NamedTuple):
    answer: ChatAnswer
    attempts: int


class Chat:
    """Asks models on behalf of units of work."""

    def __init__(  # noqa: PLR0913 - the ports it stands on
        self,
        models: Models,
        prices: Prices,
        recorder: Recorder,
        clock: Clock,
        random: Random,
        sleep: Callable[[float], None],
        *,
        default_model: str,
        environment_id: Callable[[], str],
    ) -> None:
        self._models = models
        self._prices = prices
        self._recorder = recorder
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._default_model = default_model
        self._environment_id = environment_id

    def ask(self, request: ChatRequest, totals: Totals, *, deadline_ms: int) -> ChatResponse:
        """Ask, and return what came back with its cost.

        Raises:
            ProviderError: The model, and the fallback if there is one, refused or failed.
            DeadlineError: No time was left to ask, or to ask again.
            SettingError: Nobody answers for that model.
        """
        started_ms = self._clock.epoch_ms()
        model = request.get("model") or self._default_model
        try:
            answered = self._ask_with_retries(model, request, totals, deadline_ms)
        except errors.ExtensionError as error:
            fallback = request.get("fallback_model")
            if (
                not fallback
                or not isinstance(error, errors.ProviderError)
                or not _answered_no(error)
            ):
                self._record_failure(request, model, deadline_ms, error)
                raise
            model = fallback
            try:
                answered = self._ask_with_retries(model, request, totals, deadline_ms)
            except errors.ExtensionError as second:
                self._record_failure(request, model, deadline_ms, second)
                raise second from error
        return self._settle(request, model, answered, totals, started_ms, deadline_ms)

    def _ask_with_retries(
        self, model: str, request: ChatRequest, totals: Totals, deadline_ms: int
    ) -> _Answered:
        provider, model_id = self._models.find(model)
        retries = min(RETRIES_MAX, max(0, request.get("max_retries", RETRIES_DEFAULT)))
        attempt = 0
        while True:
            if deadline_ms - self._clock.epoch_ms() < retry.USEFUL_MS:
                message = "Too little time is left in this invocation to ask a model."
                raise errors.DeadlineError(message)
            self._record(request, model, "intent", deadline_ms, attempts=attempt + 1)
            try:
                answer = provider.chat(model_id, request, deadline_ms=deadline_ms)
            except errors.ProviderError as error:
                totals.fail(throttled=error.status == THROTTLED)
                wait_ms = self._wait_ms(error, attempt, deadline_ms)
                if attempt >= retries or wait_ms is None:
                    raise
                self._sleep(wait_ms / 1_000)
                attempt += 1
            else:
                return _Answered(answer, attempt + 1)

    def _wait_ms(self, error: errors.ProviderError, attempt: int, deadline_ms: int) -> int | None:
        """Return how long to wait before asking again; None: do not ask again."""
        if not error.retryable or not _answered_no(error):
            return None
        return retry.delay_ms(
            attempt,
            retry_after_seconds=error.retry_after_seconds,
            remaining_ms=deadline_ms - self._clock.epoch_ms(),
            random=self._random,
        )

    def _settle(
        self,
        request: ChatRequest,
        model: str,
        answered: _Answered,
        totals: Totals,
        started_ms: int,
        deadline_ms: int,
    ) -> ChatResponse:
        answer, attempts = answered
        now_ms = self._clock.epoch_ms()
        cost = self._prices.cost_pico_usd(
            answer.model, answer.usage, epoch_ms=started_ms, region=request.get("region", "")
        )
        latency_ms = now_ms - started_ms
        totals.settle(model, answer.usage, cost, latency_ms)
        self._record(
            request,
            model,
            "settled",
            deadline_ms,
            attempts=attempts,
            latency_ms=latency_ms,
            finish_reason=answer.finish_reason,
            provider_request_id=answer.provider_request_id,
            cost_pico_usd=cost,
            **answer.usage,
        )
        return {
            "call_id": request["call_id"],
            "model": model,
            "text": answer.text,
            "content": answer.content,
            "finish_reason": cast("FinishReason", answer.finish_reason),
            "usage": answer.usage,
            "cost_pico_usd": cost,
            "latency_ms": latency_ms,
            "attempts": attempts,
            "total_cost_pico_usd": totals.cost_pico_usd,
            "total_unpriced_calls": totals.unpriced_calls,
        }

    def _record_failure(
        self, request: ChatRequest, model: str, deadline_ms: int, error: errors.ExtensionError
    ) -> None:
        state, reason = "failed", error.code
        if isinstance(error, errors.ProviderError):
            state = "failed" if _answered_no(error) else "unknown"
            reason = error.kind or str(error.status)
        self._record(request, model, state, deadline_ms, error=reason)

    def _record(
        self, request: ChatRequest, model: str, state: str, deadline_ms: int, **facts: Value
    ) -> None:
        attributes: dict[str, Value] = {
            "model": model,
            "work": request["work_id"],
            "environment": self._environment_id(),
            "at": self._clock.epoch_ms(),
            **facts,
        }
        record = CallRecord(request["call_id"], state, attributes)
        self._recorder.record(record, deadline_ms=deadline_ms)


def _answered_no(error: errors.ProviderError) -> bool:
    """Say whether no generation was made, so that asking again is safe.

    An answer that was lost (status 0) may be one, and one that cannot be read (200) is.
    """
    return not error.sent or error.status >= FIRST_ERROR_STATUS
