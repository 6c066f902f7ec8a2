"""How stored items are addressed: one table, partition key `pk`, sort key `sk`.

    SESSION#<session id>   HEAD                    one per session
    SESSION#<session id>   EXCHANGE#<identity>     one per event that spoke in it
    SESSION#<session id>   TURN#000017#0           exchange 17, its first turn
    CALL#<call id>         CALL                    one per model call

Sort keys order as their numbers do: an exchange has six digits, and a turn's index of two or
three digits carries a letter in front that sorts behind every single digit.
"""

from __future__ import annotations

EXCHANGE_MAX = 999_999
"""Six digits in the sort key; a session that reaches it has to be closed."""

TURNS_PER_EXCHANGE_MAX = 1_000
"""Indexes of up to three digits; one event that says more belongs into a chain."""

TURN_PREFIX = "TURN#"
HEAD = "HEAD"
CALL = "CALL"


def session_pk(session_id: str) -> str:
    """Partition of a session."""
    return f"SESSION#{session_id}"


def exchange_sk(identity: str) -> str:
    """Sort key of an exchange, by the identity of its event."""
    return f"EXCHANGE#{identity}"


def turn_sk(exchange: int, index: int) -> str:
    """Sort key of a turn.

    Raises:
        ValueError: A number is out of range, so that the key would not sort.
    """
    if not (0 <= exchange <= EXCHANGE_MAX and 0 <= index < TURNS_PER_EXCHANGE_MAX):
        message = f"Turn {index} of exchange {exchange} has no key that sorts."
        raise ValueError(message)
    return f"{TURN_PREFIX}{exchange:06d}#{('', 'A', 'B')[len(str(index)) - 1]}{index}"


def parse_turn_sk(sk: str) -> tuple[int, int]:
    """Return exchange and index of a turn's sort key."""
    _, exchange, index = sk.split("#")
    return int(exchange), int(index.lstrip("AB"))


def call_pk(call_id: str) -> str:
    """Partition of a call's record."""
    return f"CALL#{call_id}"
