"""Which turns of a session a handler sees.

Exchanges come in one order that all readers agree on. An exchange that was not answered stays
out (its event will be retried, and a question without an answer would put two user turns in a
row), and so does the exchange of the event that is being handled, when it is a redelivery.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambdallm_wire.sessions import Memory, Turn

READ_AHEAD = 12
"""Turns read beyond the window, for those of unanswered exchanges that will be left out."""


class StoredTurn(NamedTuple):
    """A turn with its place in the session."""

    exchange: int
    place: int
    identity: str
    turn: Turn


def is_answered(turns: Sequence[Turn]) -> bool:
    """Say whether these turns end with an answer, so that they are worth writing."""
    return bool(turns) and turns[-1]["role"] == "assistant"


def is_waiting(turns: Sequence[Turn]) -> bool:
    """Say whether these turns end with somebody who waits for an answer."""
    return bool(turns) and turns[-1]["role"] == "user"


def read_limit(memory: Memory) -> int | None:
    """How many turns to read, newest first; None: all of them."""
    if memory.get("strategy") == "full_history":
        return None
    return memory["max_messages"] + READ_AHEAD


def select(stored: Iterable[StoredTurn], memory: Memory, *, own_identity: str) -> list[Turn]:
    """Return the turns that the handler sees, oldest first.

    Args:
        stored: The session's newest turns in any order; the oldest exchange may be cut off.
        memory: The rule.
        own_identity: Identity of the event being handled; its own turns are left out.
    """
    turns = _visible(stored, own_identity)
    if memory.get("strategy") == "full_history":
        return turns
    return _slide(turns, memory["max_messages"])


def fills(stored: Iterable[StoredTurn], memory: Memory, own_identity: str) -> bool:
    """Say whether so many turns can be seen that older ones would not be."""
    spoken = [turn for turn in _visible(stored, own_identity) if turn["role"] != "system"]
    return memory.get("strategy") != "full_history" and len(spoken) >= memory["max_messages"]


def _visible(stored: Iterable[StoredTurn], own_identity: str) -> list[Turn]:
    """Return the turns of other events that wait for nobody, in their order."""
    exchanges: dict[int, list[StoredTurn]] = {}
    for entry in sorted(stored):
        exchanges.setdefault(entry.exchange, []).append(entry)
    return [
        entry.turn
        for exchange in exchanges.values()
        if exchange[0].identity != own_identity
        and not is_waiting([entry.turn for entry in exchange])
        for entry in exchange
    ]


def _slide(turns: list[Turn], messages_max: int) -> list[Turn]:
    """Keep the last messages, beginning with a user's, and every system turn."""
    spoken = [place for place, turn in enumerate(turns) if turn["role"] != "system"]
    kept = spoken[max(0, len(spoken) - messages_max) :]
    while kept and turns[kept[0]]["role"] != "user":
        del kept[0]
    first = kept[0] if kept else len(turns)
    return [turn for turn in turns[:first] if turn["role"] == "system"] + turns[first:]
