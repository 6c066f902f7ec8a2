"""What a call may say beside its messages, and the request that is made of it."""

from __future__ import annotations

import sys

from lambdallm import _messages, _settings
from lambdallm._models import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm._models import ModelConfig

CHAT_PARAMETERS = frozenset(
    (
        "model",
        "system",
        "max_tokens",
        "temperature",
        "top_p",
        "stop_sequences",
        "tools",
        "tool_choice",
        "output_schema",
        "reasoning",
        "service_tier",
        "additional_fields",
        "region",
        "max_retries",
        "fallback_model",
        "fallback_models",
    )
)

EMBED_PARAMETERS = frozenset(("region", "max_retries", "additional_fields"))

_MODELS = {"model": None, "fallback_model": None, "fallback_models": None}


def check_names(method: str, parameters: Mapping[str, Any]) -> None:
    """Refuse a parameter that a call does not have.

    Raises:
        TypeError: It has one.
    """
    unknown = parameters.keys() - CHAT_PARAMETERS
    if unknown:
        message = f"{method}() has no parameter {min(unknown)!r}."
        raise TypeError(message)


def refuse_parameters(prompt: Any, variables: Mapping[str, Any]) -> None:
    """Refuse what is meant for `chat`: as a variable that stands nowhere it would do nothing.

    Raises:
        TypeError: There is such a variable.
    """
    misplaced = (CHAT_PARAMETERS & variables.keys()) - _messages.names_in(prompt)
    if misplaced:
        name = min(misplaced)
        message = (
            f"invoke() puts variables into its prompt, and this one has no {{{name}}}. As a "
            f"setting of one call {name} belongs into chat(…).text, as one of every call into "
            "@handler(…) or its ModelConfig."
        )
        raise TypeError(message)


def make_request(
    messages: list[dict[str, Any]],
    config: ModelConfig,
    parameters: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any],
    fallback: Any,
) -> dict[str, Any]:
    """Make a `lambdallm_wire.chat.ChatRequest`.

    Args:
        messages: In their form on the wire.
        config: Which model, and how to ask it.
        parameters: Of this call; they win over `defaults`, which win over `config`.
        defaults: Of every call of this handler.
        fallback: The handler's fallback model, or None.
    """
    request: dict[str, Any] = {
        "call_id": _settings.random_id(),
        "model": config.wire_name,
        "messages": messages,
        **config.parameters(),
    }
    given = {**defaults, **parameters, **_MODELS}
    request |= {name: value for name, value in given.items() if value is not None}
    fallback = parameters.get("fallback_model") or fallback
    if parameters.get("fallback_models") is not None:
        models = [resolve(model).wire_name for model in parameters["fallback_models"]]
        request["fallback_models"] = models
    elif fallback is not None:
        request["fallback_model"] = resolve(fallback).wire_name
    return add_own_providers(request)


def make_embed_request(
    texts: Any, model: Any, dimensions: int | None, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Make a `lambdallm_wire.chat.EmbedRequest`.

    Raises:
        TypeError: The texts are none, or a parameter is unknown.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not all(isinstance(text, str) for text in texts):
        message = "embed() takes texts: a list of strings."
        raise TypeError(message)
    unknown = parameters.keys() - EMBED_PARAMETERS
    if unknown:
        message = f"embed() has no parameter {min(unknown)!r}."
        raise TypeError(message)
    config = resolve(model)
    request: dict[str, Any] = {
        "call_id": _settings.random_id(),
        "model": config.wire_name,
        "texts": texts,
    }
    given = {"region": config.region, **parameters, "dimensions": dimensions}
    request |= {name: value for name, value in given.items() if value is not None}
    return add_own_providers({**request, "own_providers": []})


def add_own_providers(request: dict[str, Any]) -> dict[str, Any]:
    """Say which providers this process answers for itself."""
    own = sys.modules.get("lambdallm._own_providers")  # nobody loads it without need
    if own is not None and own.names():
        request["own_providers"] = own.names()
    return request
