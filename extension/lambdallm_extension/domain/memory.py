"""Which turns of a session a handler sees.

Exchanges come in one order that all readers agree on. An exchange that was not answered stays
out (its event will be retried, and a question without an answer would put two user turns in a
row), and so does the exchange of the event that is being handled, when it is a redelivery.

    recalled  ┐
    pinned    ├─► in their order ──► what a model's API takes (`lambdallm_wire.windows`)
    newest    ┘   and every turn of the system
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.domain import context_windows, token_counts
from lambdallm_wire import windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from lambdallm_wire.sessions import Memory, Turn

READ_AHEAD = 12
"""Turns read beyond the window, for those of unanswered exchanges that will be left out."""

MESSAGES = 20
"""Of the recent window where a rule does not say it."""

UPDATE_AFTER_MESSAGES = 20
"""So many turns beyond the recent window, and they are summed up."""

TOKENS_A_TURN = 150
"""A first guess at how many turns a window of tokens holds; too few cost another read."""

FIRST_READ_MIN, FIRST_READ_MAX = 20, 200

REMEMBERING = ("summary", "semantic")
"""Strategies that keep something beside the turns."""


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


def is_kept(turn: Turn) -> bool:
    """Say whether a turn stays in every window, however old it is."""
    return turn["role"] == "system" or turn.get("pinned") is True


def read_limit(memory: Memory) -> int | None:
    """How many turns to read, newest first; None: all of them."""
    strategy = memory.get("strategy")
    if strategy == "full_history":
        return None
    if strategy == "token_window":
        guess = tokens_max(memory) // TOKENS_A_TURN
        return min(FIRST_READ_MAX, max(FIRST_READ_MIN, guess)) + READ_AHEAD
    return _messages_max(memory) + READ_AHEAD


def tokens_max(memory: Memory) -> int:
    """Return how many tokens a window may hold."""
    given = memory.get("max_tokens")
    return context_windows.share(memory.get("asks", "")) if given is None else given


def select(
    stored: Iterable[StoredTurn],
    memory: Memory,
    *,
    own_identity: str,
    recalled: Collection[int] = (),
    covered: int = 0,
) -> list[Turn]:
    """Return the turns that the handler sees, oldest first.

    Args:
        stored: The session's newest turns in any order, and older ones that are pinned or
            recalled; the oldest exchange of the newest may be cut off.
        memory: The rule.
        own_identity: Identity of the event being handled; its own turns are left out.
        recalled: Exchanges that are wanted wherever they stand.
        covered: The last exchange that a summary tells of, 0 without one.
    """
    entries = visible(stored, own_identity)
    turns = [entry.turn for entry in entries]
    wanted = {place for place, turn in enumerate(turns) if turn["role"] == "system"}
    for place, entry in enumerate(entries):
        if entry.exchange in recalled:
            wanted.add(place)
        elif entry.turn.get("pinned") is True:
            wanted |= windows.round_of([_said(turn) for turn in turns], place)
    wanted |= _newest(entries, memory, wanted, covered)
    return sendable(turns, wanted)


def sendable(turns: Sequence[Turn], wanted: Collection[int]) -> list[Turn]:
    """Return the wanted turns of a session that a model takes together, oldest first.

    Calls of tools stay at the end only if nothing was said behind them: the next event may bring
    their results. A pinned call that was passed over has none any more.
    """
    places = sorted(wanted)
    while True:
        said = [_said(turns[place]) for place in places]
        kept = [places[each] for each in windows.acceptable(said, open_end=True)]
        passed_over = _last_calls(turns, kept) - _last_calls(turns, range(len(turns)))
        if not passed_over:
            return [turns[place] for place in kept]
        places = [place for place in kept if place not in passed_over]


def _last_calls(turns: Sequence[Turn], places: Sequence[int]) -> set[int]:
    """Return the places of the calls behind which no user says anything."""
    calls = set()
    for place in reversed(places):
        if turns[place]["role"] == "user":
            break
        if turns[place]["role"] == "assistant" and windows.calls_of(turns[place]["content"]):
            calls.add(place)
    return calls


def fills(stored: Iterable[StoredTurn], memory: Memory, own_identity: str) -> bool:
    """Say whether so many turns can be seen that older ones would not be."""
    strategy = memory.get("strategy")
    if strategy == "full_history":
        return False
    turns = [each.turn for each in visible(stored, own_identity) if each.turn["role"] != "system"]
    if strategy == "token_window":
        return sum(token_counts.count(turns)) >= tokens_max(memory)
    return len(turns) >= _messages_max(memory)


def newest_exchanges(stored: Iterable[StoredTurn], memory: Memory, own_identity: str) -> set[int]:
    """Return the exchanges that the newest turns of a window are of."""
    entries = visible(stored, own_identity)
    return {entries[place].exchange for place in _newest(entries, memory, set(), 0)}


def visible(stored: Iterable[StoredTurn], own_identity: str) -> list[StoredTurn]:
    """Return the turns of other events that wait for nobody, in their order."""
    exchanges: dict[int, list[StoredTurn]] = {}
    for entry in sorted(stored, key=_order):
        exchanges.setdefault(entry.exchange, []).append(entry)
    return [
        entry
        for exchange in exchanges.values()
        if exchange[0].identity != own_identity
        for entry in _answered_part(exchange)
    ]


def _answered_part(exchange: list[StoredTurn]) -> list[StoredTurn]:
    """Return an exchange up to its last answer where a question behind that waits for one."""
    if not is_waiting([entry.turn for entry in exchange]):
        return exchange
    answers = [place for place, each in enumerate(exchange) if each.turn["role"] == "assistant"]
    return exchange[: answers[-1] + 1] if answers else []


def _said(turn: Turn) -> tuple[str, object]:
    return turn["role"], turn["content"]


def _order(entry: StoredTurn) -> tuple[int, int]:
    return entry.exchange, entry.place


def _messages_max(memory: Memory) -> int:
    """Return how many turns are read and seen word for word."""
    recent = memory.get("max_messages", MESSAGES)
    if memory.get("strategy") == "summary":
        return recent + memory.get("update_after_messages", UPDATE_AFTER_MESSAGES)
    return recent


def _newest(
    entries: Sequence[StoredTurn], memory: Memory, wanted: set[int], covered: int
) -> set[int]:
    """Return the places of the newest turns, as many as the rule has room for."""
    spoken = [
        place
        for place, entry in enumerate(entries)
        if entry.turn["role"] != "system" and entry.exchange > covered
    ]
    strategy = memory.get("strategy")
    if strategy == "full_history":
        return {*spoken}
    if strategy == "token_window":
        return _within(entries, spoken, wanted, tokens_max(memory))
    messages_max = _messages_max(memory)
    return {*spoken[max(0, len(spoken) - messages_max) :]}


def _within(
    entries: Sequence[StoredTurn], spoken: list[int], wanted: set[int], tokens: int
) -> set[int]:
    """Return the newest of these places that fit beside those that stay in any case."""
    counts = token_counts.count([entry.turn for entry in entries])
    left = tokens - sum(counts[place] for place in wanted)
    newest: set[int] = set()
    for place in reversed(spoken):
        if place not in wanted:
            left -= counts[place]
        if left < 0:
            break
        newest.add(place)
    return newest
