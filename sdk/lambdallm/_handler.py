"""The decorator: what it is given, checked when it is given. `_invocation` is what it does."""

from __future__ import annotations

from functools import wraps

from lambdallm import _errors, _restore
from lambdallm._invocation import Invocation, Options
from lambdallm._models import resolve
from lambdallm._session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, overload

    from lambdallm._delivery import Delivery
    from lambdallm._models import Model, ModelConfig
    from lambdallm._schema import Schema

TIMEOUT_STRATEGIES = ("fail-fast", "truncate", "checkpoint")

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
    function = model if callable(model) and not isinstance(model, type) else None
    decorate = decorating(
        {
            "model": None if function is not None else model,
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
    )
    return decorate if function is None else decorate(function)


def decorating(
    config: dict[str, Any], delivery: Delivery | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator that `handler` was asked for.

    Args:
        config: Its arguments.
        delivery: How answers leave, where they are not returned.

    Raises:
        ConfigurationError: An argument is not what it has to be.
    """
    one_of(config["timeout_strategy"], TIMEOUT_STRATEGIES, "timeout_strategy")
    model, fallback = config["model"], config["fallback_model"]
    schema = config["input_schema"]
    options = Options(
        model=None if model is None else resolve(model),
        fallback_model=None if fallback is None else resolve(fallback),
        session=_session(config["session"]),
        schema=None if schema is None else _schema(schema),
        plain=config,
        delivery=delivery,
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        _restore.register()

        @wraps(function)
        def wrapper(event: Any, lambda_context: Any = None) -> Any:
            return Invocation(options, event, lambda_context).run(function)

        wrapper._lambdallm_handler = True  # type: ignore[attr-defined]  # noqa: SLF001 - ours
        wrapper._lambdallm_config = config  # type: ignore[attr-defined]  # noqa: SLF001 - ours
        return wrapper

    return decorate


def one_of(value: str, choices: tuple[str, ...], name: str) -> None:
    """Refuse a word that is none of those that can be said.

    Raises:
        ConfigurationError: It is none.
    """
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
