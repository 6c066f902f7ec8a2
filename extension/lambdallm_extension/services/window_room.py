"""A window goes to its handler in one reply; what does not fit is left out, oldest first."""

from __future__ import annotations

from lambdallm_extension.domain import memory
from lambdallm_wire import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdallm_wire.sessions import Turn

WINDOW_MAX_BYTES = 30 * 1024 * 1024
"""Of its turns as JSON; a reply takes 32 MiB, and a session's metadata has a part in it."""

BYTES_MAX_PER_SIZE = 2
"""A turn's size is estimated as two for each character, which has four bytes at most."""


def fitting(turns: Sequence[Turn]) -> list[Turn]:
    """Return the turns that fit: those that stay in any case, and the newest beside them."""
    left = WINDOW_MAX_BYTES
    chosen: set[int] = set()
    for stays in (True, False):
        for place in reversed(range(len(turns))):
            if memory.is_kept(turns[place]) is not stays:
                continue
            left -= len(codec.encode(turns[place])) + 1
            if left < 0:
                break
            chosen.add(place)
    return memory.sendable(turns, chosen)
