"""What is asked of an engine that is one version older: it ignores fields that it does not know.

A field without which the answer would be another one is refused here, by name.
"""

from __future__ import annotations

from lambdallm import _errors
from lambdallm._models import MAX_TOKENS
from lambdallm_wire import model_names, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CALLS_VERSION = 3
"""Of the wire: it brought these fields, streams, embeddings and providers of the user's own."""

_FIELDS = (
    "tools",
    "tool_choice",
    "output_schema",
    "reasoning",
    "service_tier",
    "additional_fields",
    "fallback_models",
)

_ROUTES = {
    routes.STREAM.path: "stream an answer",
    routes.EMBED.path: "turn texts into vectors",
    routes.PERFORMED.path: "ask a provider of your own",
}


def adapt(route: routes.Route, message: dict[str, Any], version: int) -> None:
    """Say what an older engine does not know by itself, and refuse what it would drop.

    It knows no short names of models, and leaves the bound of an answer to the model.

    Raises:
        ConfigurationError: It cannot do what is asked. Nothing was sent.
    """
    if version >= CALLS_VERSION:
        return
    needed = _ROUTES.get(route.path, "")
    if not needed:
        needed = next((f"understand {name!r}" for name in _FIELDS if name in message), "")
    if not needed and isinstance(message.get("system"), list):
        needed = "take a system prompt of blocks"
    own = message.pop("own_providers", ())
    asked = (message.get("model", ""), message.get("fallback_model", ""))
    if not needed and any(model.partition("/")[0] in own for model in asked):
        needed = _ROUTES[routes.PERFORMED.path]
    if needed:
        reason = (
            f"The lambdallm layer cannot {needed}: it speaks version {version} of the localhost "
            f"API, and that came with version {CALLS_VERSION}. Update the layer."
        )
        raise _errors.ConfigurationError(reason)
    if "messages" in message:
        message.setdefault("max_tokens", MAX_TOKENS)
    for name in ("model", "fallback_model"):
        if message.get(name):
            message[name] = model_names.qualified(message[name])
