"""The decorator of handlers whose answer leaves piece by piece, from the managed runtime.

    @stream_handler(via="function-url")
    def tell(event, context):
        for piece in context.stream("Tell me a story."):
            yield sse(piece)
        yield sse({"usd": context.total_cost}, event="cost")

In which way the function is invoked cannot be seen by it: `via` says it, and `lambdallm check`
compares it with the template.
"""

from __future__ import annotations

from lambdallm import _runtime_client
from lambdallm._delivery import POLICIES, VIAS, Delivery
from lambdallm._handler import decorating, one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from lambdallm._models import Model, ModelConfig
    from lambdallm._session import Session


def stream_handler(  # noqa: PLR0913 - `handler`'s arguments, and its own
    model: Any = None,
    timeout_buffer: float = 5,
    max_retries: int = 3,
    *,
    via: str = "function-url",
    content_type: str | None = None,
    on_disconnect: str = "cancel",
    keep_partial: bool = False,
    error_event: bool = False,
    timeout_strategy: str = "fail-fast",
    fallback_model: Model | ModelConfig | str | None = None,
    middleware: Sequence[Any] | None = None,
    session: Session | None = None,
    router: Any = None,
    input_schema: Mapping[str, Any] | None = None,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> Any:
    """Turn a function of `(event, context)` into a Lambda handler whose answer is streamed.

    The function yields (`async def` may, too), or returns what `@handler` takes, or a dict whose
    `body` is a generator or a `context.stream(…)`. It yields `bytes`, `str`, `dict` and `sse(…)`.
    Until the first chunk an error becomes a status, as with `@handler`; after it the answer ends
    with Lambda's error trailers. The answer ends when everything that is to be waited for is
    stored. Everything else is as with `@handler`, whose arguments it takes.

    Args:
        model: As of `handler`.
        timeout_buffer: As of `handler`.
        max_retries: As of `handler`.
        via: How its callers reach it: `function-url` (InvokeMode RESPONSE_STREAM), `api-gateway`
            (a REST API with response streaming), `invoke` (InvokeWithResponseStream; bytes
            without status and headers), `websocket` (each chunk is a message to the connection).
        content_type: By default what the first chunk means: `text/event-stream` for `sse(…)`,
            JSON lines for a dict, plain text for a `str`, `application/octet-stream` for bytes.
        on_disconnect: When nobody reads the answer any more: `cancel` closes the generator
            (`GeneratorExit` at its `yield`) and its model's stream, `finish` runs it to its end.
        keep_partial: Whether what a cancelled answer's reader has seen becomes the session's
            answer, marked `partial` in its metadata; else the exchange counts as unanswered.
        error_event: Whether a stream of events tells of an error by an event `error`, too.
        timeout_strategy: As of `handler`; it holds until the first chunk.
        fallback_model: As of `handler`.
        middleware: As of `handler`; `after_invoke` gets the generator, before it runs.
        session: As of `handler`.
        router: As of `handler`.
        input_schema: As of `handler`.
        system: As of `handler`.
        max_tokens: As of `handler`.
        temperature: As of `handler`.

    Raises:
        ConfigurationError: An argument is not what it has to be.
    """
    function = model if callable(model) and not isinstance(model, type) else None
    one_of(via, VIAS, "via")
    one_of(on_disconnect, POLICIES, "on_disconnect")
    delivery = Delivery(
        via=via,
        content_type=content_type,
        on_disconnect=on_disconnect,
        keep_partial=keep_partial,
        error_event=error_event,
    )
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
            "cost_headers": False,
        },
        delivery,
    )

    def decorate_and_stream(made: Callable[..., Any]) -> Callable[..., Any]:
        _runtime_client.install()
        return decorate(made)

    return decorate_and_stream if function is None else decorate_and_stream(function)
