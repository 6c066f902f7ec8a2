"""Providers of the user's own: small classes in the function's package, asked in its process.

The engine decides when (retries, fallbacks, deadline) and keeps the books; the class answers, on a
thread that is left at the deadline (`_bounded_calls`).

    engine ── {"perform": …} ──► chat(request) ── {"text": …, "usage": …} ──► engine ──► response
                             └─► embed(request) ── {"vectors": …, "usage": …} ─┘
"""

from __future__ import annotations

import importlib
from _thread import allocate_lock

from lambdallm import _bounded_calls, _errors, _log, _own_answers
from lambdallm_wire import errors as wire_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Any

    Post = Callable[[dict[str, Any]], dict[str, Any]]
    """Sends a `Performed` and returns the reply; see `lambdallm_wire.chat`."""

_FOR_THE_ENGINE = frozenset(
    (
        "work_id",
        "call_id",
        "own_providers",
        "max_retries",
        "fallback_model",
        "fallback_models",
        "region",
        "texts",
    )
)
"""Of a request, what its provider has no use for."""

_BUILT_IN = frozenset(("bedrock", "openai", "anthropic", "sagemaker", "scripted"))

_METHODS = ("chat", "stream", "embed")

_END = object()
"""In the place of a next piece."""

_registered: dict[str, Any] = {}
_of_class: dict[str, Any] = {}
_lock = allocate_lock()


def register(name: str, provider: Any) -> None:
    """Let models named `name/…` be answered by an object of the function's own.

    Args:
        name: A name that Python would take, and that is no provider of ours.
        provider: Has `chat(request)`, `stream(request)`, `embed(request)`, or more of them; used
            by several threads at once. None takes the name back.

    Raises:
        ConfigurationError: The name or the object cannot be.
    """
    if not (isinstance(name, str) and name.isidentifier()) or name in _BUILT_IN:  # type: ignore[redundant-expr]  # users err
        message = f"A provider cannot be named {name!r}: give it a name like 'mine'."
        raise _errors.ConfigurationError(message)
    if provider is None:
        _registered.pop(name, None)
        return
    if isinstance(provider, type) or not _can(provider, *_METHODS):
        message = (
            f"The provider {name!r} has to be an object with a method chat(request), "
            f"stream(request) or embed(request), not {provider!r}."
        )
        raise _errors.ConfigurationError(message)
    _registered[name] = provider


def names() -> list[str]:
    """Return the names that are registered."""
    return sorted(_registered)


def answer(perform: Mapping[str, Any], request: Mapping[str, Any], post: Post) -> dict[str, Any]:
    """Ask until the engine has its answer, and return that."""
    reply: dict[str, Any] = {"perform": perform}
    while "perform" in reply:
        reply = _perform(reply["perform"], request, post)
    return reply


def stream(
    perform: Mapping[str, Any], request: Mapping[str, Any], post: Post
) -> Generator[dict[str, Any], None, None]:
    """Ask, and yield the pieces of the answer as they come, and the engine's response last."""
    reply: dict[str, Any] = {"perform": perform}
    while "perform" in reply:
        perform = reply["perform"]
        try:
            provider = _find(perform)
        except Exception as error:  # noqa: BLE001 - told to the engine, which decides
            reply = _post_failure(error, perform, post)
            continue
        if _can(provider, "chat") and not _can(provider, "stream"):
            reply = _perform(perform, request, post)
            continue
        so_far = _own_answers.Pieces()
        try:
            pieces = _read(provider, perform, request)
            try:
                for piece in pieces:
                    yield from so_far.take(piece)
            finally:
                pieces.close()
            performed = so_far.to_performed()
        except GeneratorExit:
            _post_cut(so_far, perform, post)
            raise
        except Exception as error:  # noqa: BLE001 - told to the engine, which decides
            reply = _post_failure(error, perform, post, sent=so_far.begun)
        else:
            yield {"response": _post_answer(performed, perform, post)}
            return
    yield from _own_answers.to_pieces(reply["content"])
    yield {"response": reply}


def _perform(perform: Mapping[str, Any], request: Mapping[str, Any], post: Post) -> dict[str, Any]:
    so_far = _own_answers.Pieces()
    try:
        provider = _find(perform)
        if "text_indexes" in perform:
            performed = _embed(provider, perform, request)
        elif _can(provider, "chat"):
            performed = _chat(provider, perform, request)
        else:
            for piece in _read(provider, perform, request):
                so_far.take(piece)
            performed = so_far.to_performed()
    except Exception as error:  # noqa: BLE001 - told to the engine, which decides
        return _post_failure(error, perform, post, sent=so_far.begun)
    return _post_answer(performed, perform, post)


def _chat(provider: Any, perform: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    asked = _request_for(perform, request)
    with _bounded(perform) as bounded:
        return bounded.run(lambda: _own_answers.from_chat(provider.chat(asked)))


def _embed(provider: Any, perform: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    _require(provider, "embed", perform)
    texts = [request["texts"][index] for index in perform["text_indexes"]]
    asked = {**_request_for(perform, request), "texts": texts}
    with _bounded(perform) as bounded:
        return bounded.run(lambda: _own_answers.from_embed(provider.embed(asked)))


def _read(
    provider: Any, perform: Mapping[str, Any], request: Mapping[str, Any]
) -> Generator[Any, None, None]:
    """Yield what a provider streams, as long as there is time for it."""
    _require(provider, "stream", perform)
    asked = _request_for(perform, request)
    with _bounded(perform) as bounded:
        pieces = bounded.run(lambda: iter(provider.stream(asked)))
        bounded.holds(getattr(pieces, "close", None))
        while (piece := bounded.run(lambda: next(pieces, _END))) is not _END:
            yield piece
        bounded.holds(None)


def _bounded(perform: Mapping[str, Any]) -> _bounded_calls.BoundedCall:
    return _bounded_calls.BoundedCall(perform["provider"], perform["deadline_epoch_ms"])


def _require(provider: Any, method: str, perform: Mapping[str, Any]) -> None:
    if not _can(provider, method):
        message = f"The provider {perform['provider']!r} has no method {method}(request)."
        raise _errors.ConfigurationError(message)


def _find(perform: Mapping[str, Any]) -> Any:
    name, class_name = perform["provider"], perform.get("class_name", "")
    if name in _registered:
        return _registered[name]
    if not class_name:
        message = f"No provider {name!r} is registered: lambdallm.providers.register({name!r}, …)."
        raise _errors.ConfigurationError(message)
    with _lock:
        if class_name not in _of_class:
            _of_class[class_name] = _make(name, class_name)
        return _of_class[class_name]


def _make(name: str, class_name: str) -> Any:
    module, _, attribute = class_name.partition(":")
    try:
        provider = getattr(importlib.import_module(module), attribute)()
    except Exception as error:
        message = (
            f"The provider {name!r} could not be made of {class_name!r}: "
            f"{type(error).__name__}: {error}"
        )
        raise _errors.ConfigurationError(message) from error
    if not _can(provider, *_METHODS):
        message = f"{class_name!r} has none of chat(request), stream(request), embed(request)."
        raise _errors.ConfigurationError(message)
    return provider


def _request_for(perform: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in request.items() if name not in _FOR_THE_ENGINE}
    deadline = perform.get("deadline_epoch_ms", request.get("deadline_epoch_ms"))
    return {**kept, "model": perform["model_id"], "deadline_epoch_ms": deadline}


def _can(provider: Any, *methods: str) -> bool:
    return any(callable(getattr(provider, method, None)) for method in methods)


def _post_answer(
    performed: Mapping[str, Any], perform: Mapping[str, Any], post: Post
) -> dict[str, Any]:
    try:
        return post({**performed, "call_id": perform["call_id"]})
    except _errors.InvalidRequestError as refused:
        return _post_failure(refused, perform, post, sent=True)


def _post_failure(
    error: Exception, perform: Mapping[str, Any], post: Post, *, sent: bool = False
) -> dict[str, Any]:
    """Tell the engine, and return what it answers.

    Args:
        error: What happened.
        perform: What was to be done.
        post: Tells the engine.
        sent: Whether it has answered, or begun to: nobody is asked again.

    Raises:
        LambdaLLMError: It gives up, for this reason.
    """
    overdue = isinstance(error, _bounded_calls.OverdueError)
    # What it returned was an answer, which may be billed, though nobody can use it.
    sent = sent or overdue or isinstance(error, _errors.OutputError)
    problem = wire_errors.problem(
        error.code if isinstance(error, _errors.LambdaLLMError) else "model_invocation",
        f"{perform['provider']} failed: {type(error).__name__}: {error}",
        retryable=bool(getattr(error, "retryable", False)) and not sent,
        retry_after_seconds=getattr(error, "retry_after_seconds", None),
        source=perform["provider"],
    )
    if sent:
        problem["sent"] = True  # type: ignore[typeddict-unknown-key]  # so that nobody is asked again
    try:
        reply = post({"call_id": perform["call_id"], "problem": problem})
    except _errors.LambdaLLMError as told:
        if overdue:
            raise error from told
        raise told from error
    if sent:  # what came before would be followed by another answer
        raise _errors.from_problem(problem) from error
    return reply


def _post_cut(so_far: _own_answers.Pieces, perform: Mapping[str, Any], post: Post) -> None:
    """Book what was generated until nobody wanted more."""
    try:
        post({**so_far.to_performed(), "call_id": perform["call_id"], "finish_reason": "other"})
    except _errors.LambdaLLMError as error:
        _log.write(
            "WARNING",
            f"An answer of the provider {perform['provider']!r} could not be booked: "
            f"{error.detail}",
            code=error.code,
        )
