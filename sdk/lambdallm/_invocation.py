"""One invocation of a decorated handler, from its event to its answer.

    event ─► begin ─► schema ─► middleware.before ─► handler ─► middleware.after ─► end ─► answer
               │         └────────────┴──── error ──────┴─────────────┴──► end ─► on_error ─┐
               └── the session's read runs beside all this        a status, or raised ◄─────┘

`end` is sent whatever happens, and the answer leaves after it: what was said is stored then. Of an
answer that is streamed, its last byte does.
"""

from __future__ import annotations

import sys
from types import AsyncGeneratorType, CoroutineType, GeneratorType

from lambdallm import _by_hand, _errors, _events, _handled, _log, _responses, _settings
from lambdallm._context import LambdaLLMContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambdallm._delivery import Delivery
    from lambdallm._models import ModelConfig
    from lambdallm._outgoing import Answer
    from lambdallm._schema import Schema
    from lambdallm._session import Session

_CONFUSED = (TypeError, ValueError, AttributeError, LookupError)
"""What code raises that expected a body's fields and got a text."""


class Options:
    """What the decorator was given, checked."""

    def __init__(
        self,
        *,
        model: ModelConfig | None,
        fallback_model: ModelConfig | None,
        session: Session | None,
        schema: Schema | None,
        plain: Mapping[str, Any],
        delivery: Delivery | None,
    ) -> None:
        self.model = model
        self.fallback_model = fallback_model
        self.session = session
        self.schema = schema
        self.delivery = delivery
        self.timeout_strategy: str = plain["timeout_strategy"]
        self.timeout_buffer: float = plain["timeout_buffer"]
        self.max_retries: int = plain["max_retries"]
        self.middleware: tuple[Any, ...] = tuple(plain["middleware"] or ())
        self.router = plain["router"]
        self.cost_headers = bool(plain["cost_headers"])
        self.defaults = {name: plain[name] for name in ("system", "max_tokens", "temperature")}


class Invocation:
    """One event of one handler."""

    def __init__(self, options: Options, event: Any, lambda_context: Any) -> None:
        """Read the event; nothing is sent yet."""
        self._started = _settings.monotonic()
        in_lambda = _settings.Settings.from_environ().in_lambda
        self._options = options
        self._incoming = incoming = _events.read(event, in_lambda=in_lambda)
        self._context = context = LambdaLLMContext(
            options.model,
            options.timeout_strategy,
            options.timeout_buffer,
            options.max_retries,
            options.fallback_model,
            lambda_context,
            list(options.middleware),
            options.session,
            options.router,
            defaults=options.defaults,
            raw_body=incoming.raw_body,
        )
        context.identity = incoming.identity or ""
        context.asked_run_id = incoming.run_id or ""
        context.identity_fault = incoming.fault
        context.original_event = incoming.original
        self._new_session_id: str | None = None
        self._answer: Answer | None = None
        if options.delivery is not None:
            outermost = not _handled.is_any_going_on()
            self._answer = options.delivery.open(incoming, context, outermost=outermost)

    def run(self, function: Callable[..., Any]) -> Any:
        """Run the user's function, and return what goes back to Lambda.

        Raises:
            Exception: What it has raised, for events whose sender reads no status.
        """
        incoming, context, answer = self._incoming, self._context, self._answer
        handled = _handled.begin(incoming.event, context)
        try:
            self._begin()
            response = self._run(function)
        except Exception as error:  # noqa: BLE001 - told to the caller, or raised again
            response = self._fail(error)
        finally:
            _handled.end(handled)
            _by_hand.end_abandoned()
            if answer is not None:
                answer.close()
        told = self._options.cost_headers or context.work.spent.is_to_be_told
        if incoming.shape == "http" and told and not self._begun:
            cost, request_id = context.closing_cost_pico_usd(), context.work.request_id
            response = _responses.with_cost(response, cost, request_id, incoming)
        return response if answer is None else answer.send(response)

    @property
    def _begun(self) -> Answer | None:
        """The answer of which something has left already."""
        return self._answer if self._answer is not None and self._answer.begun else None

    def _begin(self) -> None:
        """Open the unit of work, with its session if there is one."""
        incoming, context, declared = self._incoming, self._context, self._options.session
        if declared is None or incoming.fault is not None:
            context.work.begin()
            return
        known = incoming.session_id or declared.session_id
        session_id = known or _settings.random_id()
        identity = incoming.identity or context.work.work_id
        owner = declared.owner_of(incoming.event, context)
        rule = declared.rule(session_id, identity, owner, asks=context.model.wire_name)
        if incoming.after is not None and session_id == incoming.session_id:
            rule["after"] = incoming.after
        context.work.begin(rule)
        context.open_session(declared, session_id, owner)
        self._new_session_id = None if known else session_id

    def _run(self, function: Callable[..., Any]) -> Any:
        """Run what the user wrote, shape its answer, and end the unit of work either way."""
        context, answer = self._context, self._answer
        try:
            polled = self._polled()
            response = self._respond(self._call(function, polled), polled)
            if answer is not None and answer.cancelled:
                self._end("ok", "client_gone", run_outcome="error")
                return response
            self._end("ok", "")
            if answer is not None and answer.begun:
                answer.finish()
            elif context.session is not None and context.session.durability == "after_response":
                receipt = context.session.receipt
                response = _responses.with_receipt(response, receipt, self._incoming)
        except BaseException as error:
            self._end_failed(error)
            if isinstance(error, Exception):
                self._tell_middleware(error)
            raise
        return response

    def _polled(self) -> str | None:
        """Return the run that somebody asks for and nothing else, None where he asks for more."""
        if self._options.timeout_strategy != "checkpoint" or self._incoming.shape != "http":
            return None
        if not _settings.store_url():
            return None
        from lambdallm import _chain_answers

        return _chain_answers.polled(self._incoming)

    def _call(self, function: Callable[..., Any], polled: str | None) -> Any:
        """Call the user's function, with the middleware around it."""
        options, incoming, context = self._options, self._incoming, self._context
        if incoming.fault is not None and options.session is not None:
            raise incoming.fault
        if options.schema is not None and polled is None:
            options.schema.check(incoming.body, "body" if incoming.wants_status else "event")
        event = incoming.event
        for middleware in context.middleware:
            changed = middleware.before_invoke(event, context)
            event = event if changed is None else changed
        if polled is not None:  # behind what the middleware refuses
            from lambdallm import _chain_answers

            value: Any = _chain_answers.of_poll(context.read_run(polled), polled, incoming)
        else:
            value = function(event, context)
        if isinstance(value, CoroutineType):
            from lambdallm import _async

            value = _async.run(value)
        for middleware in reversed(context.middleware):
            value = middleware.after_invoke(event, value, context)
        return value

    def _respond(self, value: Any, polled: str | None) -> Any:
        """Shape what the user's function has returned, or send it while it is made."""
        incoming, session, session_id = self._incoming, self._context.session, self._new_session_id
        if polled or session is None or session.session_id != session_id:
            session_id = None
        results = sys.modules.get("lambdallm._chain_results")
        if results is not None and isinstance(value, results.ChainResult):
            from lambdallm import _chain_answers

            value = _chain_answers.of_result(value, incoming)
        answer = self._answer
        if _is_stream(value):
            if answer is None:
                message = (
                    "This handler yields: decorate it with @stream_handler(via=…), not @handler."
                )
                raise _errors.ConfigurationError(message)
            headers = {} if session_id is None else {_responses.SESSION_HEADER: session_id}
            sent = answer.pump(value, headers)
            if answer.returned is None:
                return sent
            value = answer.returned
        response = _responses.from_value(value, incoming, new_session_id=session_id)
        if answer is not None:
            answer.check(response)
        return response

    def _end(self, outcome: str, error_code: str, *, run_outcome: str = "") -> None:
        """End the unit of work, and before it what belongs to it.

        Args:
            outcome: `ok` or `error`: what telemetry counts.
            error_code: What it names.
            run_outcome: Of the handler's own steps, where it is another one.
        """
        context = self._context
        handler_ms = (_settings.monotonic() - self._started) * 1_000
        context.metrics.record("handler.latency_ms", handler_ms)
        context.metrics.record("handler.success" if outcome == "ok" else "handler.error", 1)
        try:
            context.close_run(run_outcome or outcome, error_code)
            if context.session is not None:
                context.session.finish(outcome)
        finally:  # a unit of work that is not ended would hold the environment to its deadline
            context.work.end(outcome, error_code, handler_ms)

    def _end_failed(self, error: BaseException) -> None:
        """Close the unit of work after a failure, which stays the one that is told."""
        try:
            self._end("error", _code(error))
        except _errors.LambdaLLMError as second:
            _log.write(
                "WARNING",
                f"The unit of work could not be ended: {second.detail}",
                code=second.code,
                request_id=self._context.work.request_id,
            )

    def _tell_middleware(self, error: Exception) -> None:
        context = self._context
        for middleware in reversed(context.middleware):
            try:
                middleware.on_error(self._incoming.event, error, context)
            except Exception as second:  # noqa: BLE001 - the first error is the one to tell
                self._log_unknown("Middleware failed in on_error.", second)

    def _fail(self, error: Exception) -> Any:
        """Answer with an error, or raise it, as the event's sender reads it."""
        incoming, context, begun = self._incoming, self._context, self._begun
        if begun is None:
            if (
                isinstance(error, _errors.DeadlineExceededError)
                and self._options.timeout_strategy == "checkpoint"
                and context.checkpoint is not None
                and incoming.shape != "service"
            ):
                return _responses.from_checkpoint(context.checkpoint, incoming)
            if not incoming.wants_status:
                raise error
        request_id = context.work.request_id
        if isinstance(error, _errors.LambdaLLMError):
            _log.write("ERROR", error.detail, code=error.code, request_id=request_id)
        else:
            self._log_unknown("The handler failed.", error)
            if isinstance(error, _CONFUSED):
                error = _events.unreadable_body(incoming) or error
        if begun is not None:
            return begun.fail(error, _responses.problem_of(error, request_id))
        return _responses.from_error(error, incoming, request_id)

    def _log_unknown(self, message: str, error: Exception) -> None:
        from traceback import format_exception

        _log.write(
            "ERROR",
            message,
            error=type(error).__name__,
            request_id=self._context.work.request_id,
            traceback="".join(format_exception(type(error), error, error.__traceback__)),
        )


def _is_stream(value: Any) -> bool:
    """Say whether a handler's value is made piece by piece; most are a dict with a text."""
    body = value.get("body") if isinstance(value, dict) else value
    if body is None or isinstance(body, (str, dict, list)):
        return False
    if isinstance(body, (GeneratorType, AsyncGeneratorType)):
        return True
    chunks = sys.modules.get("lambdallm._chunks")
    return chunks is not None and chunks.is_stream(body)


def _code(error: BaseException) -> str:
    """Name an error for telemetry: other libraries' errors have codes of other kinds."""
    return error.code if isinstance(error, _errors.LambdaLLMError) else type(error).__name__
