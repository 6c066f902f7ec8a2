"""What a `Session(…)` is declared with, and how an engine is told of it."""

from __future__ import annotations

from lambdallm import _errors, _memory, _owners, _store_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambdallm_wire.sessions import SessionRule

DURABILITIES = ("before_response", "after_response")

TTL_HOURS_MAX = 876_000
"""A hundred years: stores count seconds, and take no number of any size."""


class Declaration:
    """The part of a session that is the same for all events: see `lambdallm.Session`."""

    def __init__(  # noqa: PLR0913 - the earlier package's signature
        self,
        *,
        store: str,
        ttl_hours: float,
        memory: _memory.AnyMemory,
        max_messages: int,
        session_id: str | None,
        durability: str,
        owner: str | Callable[[Any, Any], str] | None,
    ) -> None:
        """Keep it.

        Raises:
            ConfigurationError: The message says which argument, and what it may be.
        """
        if durability not in DURABILITIES:
            message = f"durability={durability!r}: use {' or '.join(map(repr, DURABILITIES))}."
            raise _errors.ConfigurationError(message)
        if not (_is(ttl_hours, (int, float)) and 0 < ttl_hours <= TTL_HOURS_MAX):
            message = f"ttl_hours={ttl_hours!r}: use a number of hours above 0."
            raise _errors.ConfigurationError(message)
        if not (_is(max_messages, int) and max_messages > 0):
            message = f"max_messages={max_messages!r}: use a whole number from 1 on."
            raise _errors.ConfigurationError(message)
        _owners.check_rule(owner)
        _memory.check(memory)
        self.store = store
        self.ttl_hours = ttl_hours
        self.memory = memory
        self.max_messages = max_messages
        self.session_id = session_id
        self.durability = durability
        self.owner = owner

    def owner_of(self, event: Any, context: Any) -> str:
        """Return whose session an event is about, "" for nobody's.

        Raises:
            ConfigurationError: An authorizer has let the event in and does not say whom.
            UnauthorizedError: It has to be somebody's, and nothing says whose.
        """
        return _owners.owner_of(self.owner, event, context)

    def rule(
        self, session_id: str, identity: str, owner: str = "", *, asks: str = ""
    ) -> SessionRule:
        """Return what `begin` is told of it (`lambdallm_wire.sessions.SessionRule`).

        Args:
            session_id: Which one.
            identity: Of the event, or of what stands for it.
            owner: Whose it is, "" for nobody's.
            asks: The model of the handler, "" where it is not known.

        Raises:
            ConfigurationError: Its store is none, or contradicts LAMBDALLM_STORE.
        """
        rule: SessionRule = {
            "session_id": session_id,
            "identity": identity,
            "ttl_seconds": max(1, round(self.ttl_hours * 3_600)),
            "memory": _memory.to_wire(self.memory, self.max_messages, asks),
            "durability": self.durability,  # type: ignore[typeddict-item]  # checked in __init__
        }
        if owner:
            rule["principal"] = owner
        url = _store_names.url_of(self.store)
        if url:
            rule["store"] = url
        return rule


def _is(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
