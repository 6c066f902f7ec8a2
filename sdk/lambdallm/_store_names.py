"""Where a session lies, as `Session(store=…)` says it.

- "dynamodb": where LAMBDALLM_STORE says; as the earlier package's default it says nothing.
- "redis", "sqlite", "memory": the same, and refused where LAMBDALLM_STORE says something else.
- A URL: there, whatever LAMBDALLM_STORE says.
"""

from __future__ import annotations

from lambdallm import _errors, _settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "dynamodb"

_KINDS = ("memory", "redis", "sqlite")
_SCHEMES = {"rediss": "redis"}


def url_of(store: Any) -> str:
    """Return the URL that the engine is told, "" for where LAMBDALLM_STORE says.

    Raises:
        ConfigurationError: It is no store, or contradicts LAMBDALLM_STORE.
    """
    if store == DEFAULT:
        return ""
    here = _settings.store_url()
    if isinstance(store, str) and ":" in store:
        return "" if store == here else store
    if store not in _KINDS:
        message = (
            f"Session(store={store!r}) is no store: give a URL such as dynamodb://TABLE, or "
            f"{', '.join(map(repr, (DEFAULT, *_KINDS)))}, and LAMBDALLM_STORE says which one."
        )
        raise _errors.ConfigurationError(message)
    scheme = here.partition(":")[0]
    if _SCHEMES.get(scheme, scheme) == store:
        return ""
    if not here and store != "redis":
        return "memory:" if store == "memory" else ""
    said = f"LAMBDALLM_STORE says {scheme}" if here else "LAMBDALLM_STORE names none"
    message = (
        f"Session(store={store!r}), but {said}: change one of them, or give Session(store=…) the "
        "whole URL of a store of its own."
    )
    raise _errors.ConfigurationError(message)
