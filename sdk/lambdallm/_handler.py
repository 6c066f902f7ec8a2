"""The decorator: one invocation from its event to its answer.

    event ─► begin ─► schema ─► middleware.before ─► handler ─► middleware.after ─► end ─► answer
               │         └────────────┴──── error ──────┴─────────────┴──► end ─► on_error ─┐
               └── the session's read runs beside all this        a status, or raised ◄─────┘

`end` is sent whatever happens, and the answer leaves after it: what was said is stored then.
"""

from __future__ import annotations

import sys
from functools import wraps
from types import CoroutineType

from lambdallm import _by_hand, _errors, _events, _handled, _log, _responses, _restore, _settings
from lambdallm._context import LambdaLLMContext
from lambdallm._models import Model, ModelConfig, resolve
from lambdallm._session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, overload

    from lambdallm._events import Incoming
    from lambdallm._schema import Schema

TIMEOUT_STRATEGIES = ("fail-fast", "truncate", "checkpoint")


_CONFUSED = (TypeError, ValueError, AttributeError, LookupError)
"""What code raises that expected a body's fields and got a text."""


class _Options:
    """What the decorator was given, checked."""

    def __init__(
        self,
        *,
        model: ModelConfig | None,
        fallback_model: ModelConfig | None,
        session: Session | None,
        schema: Schema | None,
        plain: Mapping[str, Any],
    ) -> None:
        self.model = model
        self.fallback_model = fallback_model
        self.session = session
        self.schema = schema
        self.timeout_strategy: str = plain["timeout_strategy"]
        self.timeout_buffer: float = plain["timeout_buffer"]
        self.max_retries: int = plain["max_retries"]
        self.middleware: tuple[Any, ...] = tuple(plain["middleware"] or ())
        self.router = plain["router"]
        self.cost_headers = bool(plain["cost_headers"])
        self.defaults = {name: plain[name] for name in ("system", "max_tokens", "temperature")}


if TYPE_CHECKING:

    @overload
    def handler(model: Callable[..., Any]) -> Callable[..., Any]: ...

    @overload
    def handler(
        model: Model | ModelConfig | str | None = None,
        timeout_strategy: str = "fail-fast",
        timeout_buffer: float = 5,
        max_retries: int = 3,
        fallback_model: Model | ModelConfig | str | None = None,
        middleware: Sequence[Any] | None = None,
        session: Session | None = None,
        router: Any = None,
        *,
        input_schema: Mapping[str, Any] | None = None,
        system: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        cost_headers: bool = False,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...


def handler(  # noqa: PLR0913, PLR0917 - the earlier package's signature
    model: Any = None,
    timeout_strategy: str = "fail-fast",
    timeout_buffer: float = 5,
    max_retries: int = 3,
    fallback_model: Model | ModelConfig | str | None = None,
    middleware: Sequence[Any] | None = None,
    session: Session | None = None,
    router: Any = None,
    *,
    input_schema: Mapping[str, Any] | None = None,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    cost_headers: bool = False,
) -> Any:
    """Turn a function of `(event, context)`, `async` or not, into a Lambda handler.

    Works with and without parentheses. Failures of HTTP events become a status (400, 401, 408,
    429, 500, 502); those of all other events are raised, so that queues and alarms see them.

    Args:
        model: `provider/model`, a bare Bedrock id, a `Model` or a `ModelConfig`; by default what
            LAMBDALLM_MODEL says.
        timeout_strategy: `fail-fast` and `truncate` answer 408 when the time runs out,
            `checkpoint` answers 202 with `context.checkpoint` when that is set.
        timeout_buffer: Seconds kept free before Lambda's deadline; in Lambda at most a quarter of
            the time there is.
        max_retries: Further attempts after a model failed retryably.
        fallback_model: Asked once after the model has failed for good.
        middleware: Run around the handler, the first one outermost.
        session: A conversation to load before and to save after.
        router: Has `select(prompt, context)`, which returns the model for each call.
        input_schema: What the body has to hold; see `lambdallm._schema`.
        system: System prompt of every call.
        max_tokens: Bound of every answer.
        temperature: Of every call; left out, the model's own default stands.
        cost_headers: Whether answers to HTTP events tell whoever asked what the invocation has
            cost. Costs are not for every caller: no request can ask for it.

    Raises:
        ConfigurationError: An argument is not what it has to be.
    """
    if callable(model) and not isinstance(model, type):
        return handler()(model)
    _one_of(timeout_strategy, TIMEOUT_STRATEGIES, "timeout_strategy")
    config = {
        "model": model,
        "timeout_strategy": timeout_strategy,
        "timeout_buffer": timeout_buffer,
        "max_retries": max_retries,
        "fallback_model": fallback_model,
        "middleware": middleware,
        "session": session,
        "router": router,
        "input_schema": input_schema,
        "system": system,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "cost_headers": cost_headers,
    }
    options = _Options(
        model=None if model is None else resolve(model),
        fallback_model=None if fallback_model is None else resolve(fallback_model),
        session=_session(session),
        schema=None if input_schema is None else _schema(input_schema),
        plain=config,
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        _restore.register()

        @wraps(function)
        def wrapper(event: Any, lambda_context: Any = None) -> Any:
            return _invoke(function, options, event, lambda_context)

        wrapper._lambdallm_handler = True  # type: ignore[attr-defined]  # noqa: SLF001 - ours
        wrapper._lambdallm_config = config  # type: ignore[attr-defined]  # noqa: SLF001 - ours
        return wrapper

    return decorate


def _invoke(
    function: Callable[..., Any], options: _Options, event: Any, lambda_context: Any
) -> Any:
    started = _settings.monotonic()
    in_lambda = _settings.Settings.from_environ().in_lambda
    incoming = _events.read(event, in_lambda=in_lambda)
    context = LambdaLLMContext(
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
    handled = _handled.begin(incoming.event, context)
    try:
        new_session_id = _begin(options, incoming, context)
        response = _run(function, options, incoming, context, started, new_session_id)
    except Exception as error:  # noqa: BLE001 - told to the caller, or raised again
        response = _fail(error, options, incoming, context)
    finally:
        _handled.end(handled)
        _by_hand.end_abandoned()
    if incoming.shape == "http" and (options.cost_headers or context.work.spent.is_to_be_told):
        cost, request_id = context.closing_cost_pico_usd(), context.work.request_id
        return _responses.with_cost(response, cost, request_id, incoming)
    return response


def _begin(options: _Options, incoming: Incoming, context: LambdaLLMContext) -> str | None:
    """Open the unit of work, and return the session's id if it is a new one."""
    declared = options.session
    if declared is None or incoming.fault is not None:
        context.work.begin()
        return None
    known = incoming.session_id or declared.session_id
    session_id = known or _settings.random_id()
    identity = incoming.identity or context.work.work_id
    owner = declared.owner_of(incoming.event, context)
    rule = declared.rule(session_id, identity, owner, asks=context.model.wire_name)
    if incoming.after is not None and session_id == incoming.session_id:
        rule["after"] = incoming.after
    context.work.begin(rule)
    context.open_session(declared, session_id, owner)
    return None if known else session_id


def _run(
    function: Callable[..., Any],
    options: _Options,
    incoming: Incoming,
    context: LambdaLLMContext,
    started: float,
    new_session_id: str | None,
) -> Any:
    """Run what the user wrote, shape its answer, and end the unit of work either way."""
    try:
        polled = _polled(options, incoming)
        value = _answer(function, options, incoming, context, polled)
        session = context.session
        if polled or session is None or session.session_id != new_session_id:
            new_session_id = None
        results = sys.modules.get("lambdallm._chain_results")
        if results is not None and isinstance(value, results.ChainResult):
            from lambdallm import _chain_answers

            value = _chain_answers.of_result(value, incoming)
        response = _responses.from_value(value, incoming, new_session_id=new_session_id)
        _end(context, "ok", "", started)
        if context.session is not None and context.session.durability == "after_response":
            response = _responses.with_receipt(response, context.session.receipt, incoming)
    except BaseException as error:
        _end_failed(context, error, started)
        if isinstance(error, Exception):
            _tell_middleware(error, incoming, context)
        raise
    return response


def _polled(options: _Options, incoming: Incoming) -> str | None:
    """Return the run that somebody asks for and nothing else, None where he asks for more."""
    if options.timeout_strategy != "checkpoint" or incoming.shape != "http":
        return None
    if not _settings.store_url():
        return None
    from lambdallm import _chain_answers

    return _chain_answers.polled(incoming)


def _answer(
    function: Callable[..., Any],
    options: _Options,
    incoming: Incoming,
    context: LambdaLLMContext,
    polled: str | None,
) -> Any:
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


def _end(context: LambdaLLMContext, outcome: str, error_code: str, started: float) -> None:
    handler_ms = (_settings.monotonic() - started) * 1_000
    context.metrics.record("handler.latency_ms", handler_ms)
    context.metrics.record("handler.success" if outcome == "ok" else "handler.error", 1)
    try:
        context.close_run(outcome, error_code)
        if context.session is not None:
            context.session.finish(outcome)
    finally:  # a unit of work that is not ended would hold the environment to its deadline
        context.work.end(outcome, error_code, handler_ms)


def _end_failed(context: LambdaLLMContext, error: BaseException, started: float) -> None:
    """Close the unit of work after a failure, which stays the one that is told."""
    try:
        _end(context, "error", _code(error), started)
    except _errors.LambdaLLMError as second:
        _log.write(
            "WARNING",
            f"The unit of work could not be ended: {second.detail}",
            code=second.code,
            request_id=context.work.request_id,
        )


def _code(error: BaseException) -> str:
    """Name an error for telemetry: other libraries' errors have codes of other kinds."""
    return error.code if isinstance(error, _errors.LambdaLLMError) else type(error).__name__


def _tell_middleware(error: Exception, incoming: Incoming, context: LambdaLLMContext) -> None:
    for middleware in reversed(context.middleware):
        try:
            middleware.on_error(incoming.event, error, context)
        except Exception as second:  # noqa: BLE001 - the first error is the one to tell
            _log_unknown("Middleware failed in on_error.", second, context)


def _fail(
    error: Exception, options: _Options, incoming: Incoming, context: LambdaLLMContext
) -> Any:
    if (
        isinstance(error, _errors.DeadlineExceededError)
        and options.timeout_strategy == "checkpoint"
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
        _log_unknown("The handler failed.", error, context)
        if isinstance(error, _CONFUSED):
            error = _events.unreadable_body(incoming) or error
    return _responses.from_error(error, incoming, request_id)


def _log_unknown(message: str, error: Exception, context: LambdaLLMContext) -> None:
    from traceback import format_exception

    _log.write(
        "ERROR",
        message,
        error=type(error).__name__,
        request_id=context.work.request_id,
        traceback="".join(format_exception(type(error), error, error.__traceback__)),
    )


def _one_of(value: str, choices: tuple[str, ...], name: str) -> None:
    if value not in choices:
        message = f"{name}={value!r}: use {', '.join(map(repr, choices))}."
        raise _errors.ConfigurationError(message)


def _session(session: Any) -> Session | None:
    if session is None or isinstance(session, Session):
        return session
    message = f"session={session!r}: give a Session(…)."
    raise _errors.ConfigurationError(message)


def _schema(definition: Mapping[str, Any]) -> Schema:
    from lambdallm._schema import Schema

    return Schema(definition)
