"""Which turns stay in every window, as a session's head names them.

Windows read the newest turns alone, and would not come by the older ones that stay. So the write
that stores such a turn names it in the head, under an attribute of its exchange: writers of two
exchanges change two attributes, and a writer of the same exchange replaces what it replaces.

Shape:
    HEAD  {"fixed_000017": "0,2", …}     exchange 17: its first and its third turn
"""

from __future__ import annotations

from lambdallm_extension.domain import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambdallm_extension.ports import Value
    from lambdallm_wire.sessions import Turn

EXCHANGES_MAX = 32
"""The newest exchanges with such turns that are read; each may cost a request."""

_PREFIX = "fixed_"


def assignment(exchange: int, turns: Sequence[Turn], *, first: int) -> dict[str, Value]:
    """Return what the head is to say of an exchange, nothing if the new turns need nothing said.

    Args:
        exchange: Its number.
        turns: All of its turns.
        first: The first one that is written now.
    """
    places = [place for place, turn in enumerate(turns) if memory.is_kept(turn)]
    if not places or places[-1] < first:
        return {}
    return {f"{_PREFIX}{exchange:06d}": ",".join(map(str, places))}


def named(attributes: Mapping[str, Value], first_exchange: int) -> tuple[tuple[int, int], ...]:
    """Return exchange and place of the turns that a head names, oldest first.

    What cannot be read is passed over: it would only bring a turn into sight.
    """
    found: dict[int, list[int]] = {}
    for name, value in attributes.items():
        number = name.removeprefix(_PREFIX)
        if number == name or not number.isdecimal() or not isinstance(value, str):
            continue
        if int(number) >= first_exchange:
            found[int(number)] = [int(place) for place in value.split(",") if place.isdecimal()]
    newest = sorted(found)[-EXCHANGES_MAX:]
    return tuple((exchange, place) for exchange in newest for place in found[exchange])
