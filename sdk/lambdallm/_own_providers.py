"""Providers of the user's own: small classes in the function's package, asked in its process.

The engine decides when (retries, fallbacks, deadline) and keeps the books; the class answers.

    engine ── {"perform": …} ──► chat(request) ── {"text": …, "usage": …} ──► engine ──► response
"""

from __future__ import annotations

import importlib
from _thread import allocate_lock

from lambdallm import _errors, _log, _settings
from lambdallm._models import ModelResponse
from lambdallm_wire import errors as wire_errors, plain_json
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from typing import Any

    Post = Callable[[dict[str, Any]], dict[str, Any]]
    """Sends a `Performed` and returns the reply; see `lambdallm_wire.chat`."""

PICO_USD = 1_000_000_000_000

_FOR_THE_ENGINE = frozenset(
    (
        "work_id",
        "call_id",
        "own_providers",
        "max_retries",
        "fallback_model",
        "fallback_models",
        "region",
    )
)
"""Of a request, what its provider has no use for."""

_BUILT_IN = frozenset(("bedrock", "openai", "anthropic", "sagemaker", "scripted"))

_PASSED_ON = ("finish_reason", "model", "provider_request_id")

_registered: dict[str, Any] = {}
_of_class: dict[str, Any] = {}
_lock = allocate_lock()


def register(name: str, provider: Any) -> None:
    """Let models named `name/…` be answered by an object of the function's own.

    Args:
        name: A name that Python would take, and that is no provider of ours.
        provider: Has `chat(request)`, `stream(request)` or both; used by several threads at
            once. None takes the name back.

    Raises:
        ConfigurationError: The name or the object cannot be.
    """
    if not (isinstance(name, str) and name.isidentifier()) or name in _BUILT_IN:  # type: ignore[redundant-expr]  # users err
        message = f"A provider cannot be named {name!r}: give it a name like 'mine'."
        raise _errors.ConfigurationError(message)
    if provider is None:
        _registered.pop(name, None)
        return
    if isinstance(provider, type) or not _can(provider, "chat", "stream"):
        message = (
            f"The provider {name!r} has to be an object with a method chat(request) or "
            f"stream(request), not {provider!r}."
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
        if not _can(provider, "stream"):
            reply = _perform(perform, request, post)
            continue
        so_far = _Pieces()
        try:
            for piece in provider.stream(_request_for(perform, request)):
                yield from so_far.take(piece)
                _look_at_the_time(perform)
            performed = so_far.to_performed()
        except GeneratorExit:
            _post_cut(so_far, perform, post)
            raise
        except Exception as error:  # noqa: BLE001 - told to the engine, which decides
            reply = _post_failure(error, perform, post, so_far)
        else:
            yield {"response": post({**performed, "call_id": perform["call_id"]})}
            return
    yield from _to_pieces(reply["content"])
    yield {"response": reply}


def _perform(perform: Mapping[str, Any], request: Mapping[str, Any], post: Post) -> dict[str, Any]:
    try:
        provider = _find(perform)
        asked = _request_for(perform, request)
        if _can(provider, "chat"):
            performed = _to_performed(provider.chat(asked))
        else:
            so_far = _Pieces()
            for piece in provider.stream(asked):
                so_far.take(piece)
                _look_at_the_time(perform)
            performed = so_far.to_performed()
    except Exception as error:  # noqa: BLE001 - told to the engine, which decides
        return _post_failure(error, perform, post)
    return post({**performed, "call_id": perform["call_id"]})


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
    if not _can(provider, "chat", "stream"):
        message = f"{class_name!r} has neither chat(request) nor stream(request)."
        raise _errors.ConfigurationError(message)
    return provider


def _look_at_the_time(perform: Mapping[str, Any]) -> None:
    """End a stream whose call's time is over.

    Raises:
        DeadlineExceededError: It is.
    """
    if _settings.epoch_ms() >= perform["deadline_epoch_ms"]:
        message = f"{perform['provider']} was still answering when the time for it was over."
        raise _errors.DeadlineExceededError(message)


def _request_for(perform: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in request.items() if name not in _FOR_THE_ENGINE}
    deadline = perform.get("deadline_epoch_ms", request.get("deadline_epoch_ms"))
    return {**kept, "model": perform["model_id"], "deadline_epoch_ms": deadline}


def _can(provider: Any, *methods: str) -> bool:
    return any(callable(getattr(provider, method, None)) for method in methods)


def _post_failure(
    error: Exception, perform: Mapping[str, Any], post: Post, so_far: _Pieces | None = None
) -> dict[str, Any]:
    """Tell the engine, and return what it answers.

    Raises:
        LambdaLLMError: It gives up, for this reason.
    """
    begun = so_far is not None and so_far.begun
    problem = wire_errors.problem(
        error.code if isinstance(error, _errors.LambdaLLMError) else "model_invocation",
        f"{perform['provider']} failed: {type(error).__name__}: {error}",
        retryable=bool(getattr(error, "retryable", False)) and not begun,
        retry_after_seconds=getattr(error, "retry_after_seconds", None),
        source=perform["provider"],
    )
    if begun:
        problem["sent"] = True  # type: ignore[typeddict-unknown-key]  # so that nobody is asked again
    try:
        reply = post({"call_id": perform["call_id"], "problem": problem})
    except _errors.LambdaLLMError as told:
        raise told from error
    if begun:  # what came before would be followed by another answer
        raise _errors.from_problem(problem) from error
    return reply


def _post_cut(so_far: _Pieces, perform: Mapping[str, Any], post: Post) -> None:
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


class _Pieces:
    """What has come of a streamed answer."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: dict[Any, dict[str, Any]] = {}
        self._facts: dict[str, Any] = {}
        self.begun = False

    def take(self, piece: Any) -> list[dict[str, Any]]:
        """Keep a piece, and return it in the form of `lambdallm_wire.chat.ChatDelta`."""
        if isinstance(piece, str):
            piece = {"text": piece}
        if not isinstance(piece, dict):
            message = f"A piece of an answer is a text or a dict, not {type(piece).__name__}."
            raise _errors.OutputError(message)
        passed: list[dict[str, Any]] = []
        for kind, value in piece.items():
            if kind == "text":
                self._text.append(value)
            elif kind == "reasoning":
                self._reasoning.append(value)
            elif kind == "tool_use":
                self._tools[value["index"]] = {**value, "json": ""}
            elif kind == "tool_input":
                self._tools[value["index"]]["json"] += value["json"]
            else:
                self._facts[kind] = value
                continue
            if value:
                passed.append({kind: value})
        self.begun = self.begun or bool(passed)
        return passed

    def to_performed(self) -> dict[str, Any]:
        """Return the whole of it."""
        content: list[dict[str, Any]] = []
        if self._reasoning:
            thought = {"text": "".join(self._reasoning)}
            content.append({"reasoningContent": {"reasoningText": thought}})
        if self._text or not self._tools:
            content.append({"text": "".join(self._text)})
        content += [
            {
                "toolUse": {
                    "toolUseId": tool["id"],
                    "name": tool["name"],
                    "input": plain_json.loads(tool["json"] or "{}"),
                }
            }
            for _, tool in sorted(self._tools.items())
        ]
        return _to_performed({"content": content, **self._facts})


def _to_pieces(content: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Say a whole answer as pieces: a fallback's, which was not streamed."""
    for index, block in enumerate(content):
        if block.get("text"):
            yield {"text": block["text"]}
        elif "toolUse" in block:
            tool = block["toolUse"]
            yield {"tool_use": {"index": index, "id": tool["toolUseId"], "name": tool["name"]}}
            yield {"tool_input": {"index": index, "json": plain_json.dumps(tool["input"])}}


def _to_performed(said: Any) -> dict[str, Any]:
    """Turn what `chat` returned into a `lambdallm_wire.chat.Performed`."""
    if isinstance(said, str):
        said = {"text": said}
    elif isinstance(said, ModelResponse):
        said = _fields_of(said)
    if not isinstance(said, dict) or not ("text" in said or "content" in said):
        message = (
            "A provider's chat() returns a text, a ModelResponse, or a dict with 'text' or "
            f"'content', not {type(said).__name__}."
        )
        raise _errors.OutputError(message)
    content = said.get("content")
    if content is None:
        content = [{"text": said["text"]}]
    text = said.get("text")
    if text is None:
        text = "".join(block.get("text", "") for block in content)
    tools = any("toolUse" in block for block in content)
    performed: dict[str, Any] = {
        "text": text,
        "content": content,
        "finish_reason": "tool_calls" if tools else "stop",
        **_spent(said),
    }
    return performed | {name: said[name] for name in _PASSED_ON if said.get(name)}


def _fields_of(response: ModelResponse) -> dict[str, Any]:
    """A cost of 0 is that class's default, and says nothing."""
    fields: dict[str, Any] = {
        "text": response.content,
        "model": response.model_id,
        "usage": {"input_tokens": response.tokens_in, "output_tokens": response.tokens_out},
    }
    return fields | ({"cost_usd": response.cost_usd} if response.cost_usd else {})


def _spent(said: Mapping[str, Any]) -> dict[str, Any]:
    usage = dict(said.get("usage") or {})
    if "input_tokens" in usage:
        usage.setdefault("uncached_input_tokens", usage["input_tokens"])
    spent: dict[str, Any] = {
        "usage": {name: int(usage.get(name, 0)) for name in NO_USAGE},
    }
    if said.get("cost_pico_usd") is not None:
        spent["cost_pico_usd"] = int(said["cost_pico_usd"])
    elif said.get("cost_usd") is not None:
        spent["cost_pico_usd"] = round(float(said["cost_usd"]) * PICO_USD)
    return spent
