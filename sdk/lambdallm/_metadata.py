"""A session's metadata: how a change in it is noticed, and how it is copied."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def canonical(metadata: object) -> str:
    """Return it as JSON, by which a change is noticed; keys become strings as they do there.

    Raises:
        TypeError: It is no dict, or holds what JSON cannot.
    """
    if not isinstance(metadata, dict):
        message = f"session.metadata is a dict, not {type(metadata).__name__}."
        raise TypeError(message)
    try:
        try:
            return json.dumps(metadata, sort_keys=True, allow_nan=False)
        except TypeError:  # keys of several types have no order before they are strings
            strings = json.loads(json.dumps(metadata, allow_nan=False))
            return json.dumps(strings, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"session.metadata holds what JSON cannot: {error}."
        raise TypeError(message) from error


def copied(value: Any) -> Any:
    """Copy through JSON, which is how it would come back from the store."""
    return json.loads(json.dumps(value)) if value else type(value)()
