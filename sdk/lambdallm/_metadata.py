"""A session's metadata: what of it was changed, and is merged key by key with others' changes."""

from __future__ import annotations

import json

from lambdallm import _errors
from lambdallm_wire import turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Canonical: TypeAlias = dict[str, str]


class Metadata:
    """A dict that may be changed in place or replaced, and what the store holds of it.

    Attributes:
        value: As the user sees it.
    """

    def __init__(self, value: dict[str, Any] | None = None) -> None:
        """Keep what a session begins with; nothing is known of a stored one."""
        self.value = {} if value is None else value
        self._seen = canonical(self.value)
        self._known = False
        self._defaults: Canonical = {}

    def found(self, stored: dict[str, Any], *, exists: bool) -> None:
        """Take in what the store holds: all of it, but keys that were changed before it was read.

        Args:
            stored: Is not kept.
            exists: Whether the session does. What a new one begins with is a change.
        """
        changed = self.keys_changed()
        if not exists:
            declared = canonical(self.value)
            self._defaults = {key: declared[key] for key in declared if key not in changed}
            changed = list(declared)
        mine: dict[str, Any] = copied(self.value)
        self._seen, self._known = canonical(stored), True
        self.value.clear()
        self.value.update(stored)
        for key in changed:
            self.value.pop(key, None)
            if key in mine:
                self.value[key] = mine[key]

    def keys_changed(self) -> list[str]:
        """Return the keys whose values were set or removed since it was read, or handed over.

        Raises:
            TypeError: It is no dict, or holds what JSON cannot.
        """
        now = canonical(self.value)
        return sorted(key for key in {*now, *self._seen} if now.get(key) != self._seen.get(key))

    def to_send(self) -> list[str]:
        """Return `keys_changed`, none before it was read: nobody could tell.

        Raises:
            InvalidRequestError: It is too large to be kept.
        """
        keys = self.keys_changed() if self._known else []
        fault = turns.metadata_fault_of(self.value) if keys else None
        if fault is not None:
            raise _errors.InvalidRequestError(fault)
        return keys

    def defaults_of(self, keys: list[str]) -> list[str]:
        """Return those that a new session begins with: nobody has set them."""
        now = canonical(self.value) if self._defaults else {}
        return [key for key in keys if key in now and now[key] == self._defaults.get(key)]

    def handed_over(self) -> None:
        """Take note that the engine has it as it is now."""
        self._seen, self._defaults = canonical(self.value), {}


def canonical(metadata: object) -> Canonical:
    """Return each value as JSON, by which a change is noticed; keys become strings as in JSON.

    Raises:
        TypeError: It is no dict, or holds what JSON cannot.
    """
    if not isinstance(metadata, dict):
        message = f"session.metadata is a dict, not {type(metadata).__name__}."
        raise TypeError(message)
    if not metadata:
        return {}
    try:
        strings = json.loads(json.dumps(metadata, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        message = f"session.metadata holds what JSON cannot: {error}."
        raise TypeError(message) from error
    return {key: json.dumps(each, sort_keys=True) for key, each in strings.items()}


def copied(value: Any) -> Any:
    """Copy through JSON, which is how it would come back from the store."""
    return json.loads(json.dumps(value)) if value else type(value)()
