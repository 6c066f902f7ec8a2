"""What is asked of an engine that is one version older: it ignores fields that it does not know.

A field without which the answer would be another one is refused here, by name.
"""

from __future__ import annotations

from lambdallm import _errors
from lambdallm_wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OWN_VECTORS_VERSION = 4
"""Of the wire: it brought vectors by providers of the user's own, tags, and budgets."""


_WITHOUT = {
    "principal": "keep sessions by their owners",
    "store": "keep a session in a store of its own",
    "after": "wait for what its reader has seen of a session",
}


def refusal_of(field: str) -> _errors.ConfigurationError:
    """Make the error of a session that an older engine would read otherwise than it was meant."""
    return _errors.ConfigurationError(
        f"The lambdallm layer is too old to {_WITHOUT[field]}: update it. Nothing was written."
    )


def adapt(route: routes.Route, message: dict[str, Any], version: int) -> None:
    """Leave out what an older engine does not know, and refuse what it would drop.

    Raises:
        ConfigurationError: It cannot do what is asked. Nothing was sent.
    """
    if route is routes.APPEND and any(turn.get("pinned") for turn in message["turns"]):
        reason = "The lambdallm layer is too old to pin messages: update it. It was not stored."
        raise _errors.ConfigurationError(reason)
    if version >= OWN_VECTORS_VERSION or route is not routes.EMBED:
        return
    own = message.pop("own_providers", ())
    if message["model"].partition("/")[0] in own:
        reason = (
            "The lambdallm layer cannot ask a provider of your own for vectors: it speaks version "
            f"{version} of the localhost API, and that came with version {OWN_VECTORS_VERSION}. "
            "Update the layer."
        )
        raise _errors.ConfigurationError(reason)


def refusal_of_route(
    error: _errors.SidecarError, route: routes.Route, what: str
) -> _errors.LambdaLLMError:
    """Make the error of a route that an older engine does not have; any other stays as it is.

    Engines before the one that brought the route say this of it, and say it with no code that the
    SDK could tell from others.
    """
    if not error.detail.startswith(f"There is no {route.method} {route.path}."):
        return error
    return _errors.ConfigurationError(
        f"The lambdallm layer is too old to {what}: update it. Nothing was sent."
    )
