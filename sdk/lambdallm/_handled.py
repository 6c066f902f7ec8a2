"""Events that are being handled in this process, and which of them a caller belongs to.

    the thread of a handler               the event that it handles, of nested ones the innermost
    a thread that works for a coroutine   the coroutine's event, also when that is over
    a thread that was begun meanwhile     any of those that are being handled
    a thread that was there before        nobody knows: an event of before may have left it

So nobody opens the sessions of another event's user (`_owners`).
"""

from __future__ import annotations

import sys
from _thread import get_ident
from itertools import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Handled:
    """One event.

    Attributes:
        number: No other event of this process has it; from 1 on.
        event, context: As its handler has them; `context` is a `LambdaLLMContext`.
        thread: Identifier of its handler's.
        older_threads: Those that were there before it.
    """

    __slots__ = ("context", "event", "number", "older_threads", "thread")

    def __init__(self, event: Any, context: Any) -> None:
        """Begin now, in this thread."""
        self.number = next(_numbers)
        self.event = event
        self.context = context
        self.thread = get_ident()
        self.older_threads = _threads()


_numbers = count(1)
_handled: dict[int, Handled] = {}

of_coroutine: Callable[[], int] = int
"""Returns the number of the event whose coroutine this is, 0 for none; `_async` replaces it."""


def begin(event: Any, context: Any) -> int:
    """Know of an event until `end` is called with what this returns."""
    handled = Handled(event, context)
    _handled[handled.number] = handled
    return handled.number


def end(number: int) -> None:
    """Forget an event."""
    del _handled[number]


def is_going_on(number: int) -> bool:
    """Say whether an event is being handled."""
    return number in _handled


def is_any_going_on() -> bool:
    """Say whether one is."""
    return bool(_handled)


def here() -> list[Handled]:
    """Return the events that the caller may belong to; one, mostly."""
    handled = [*_handled.values()]
    own = [each for each in handled if each.thread == get_ident()]
    if own:
        return own[-1:]
    number = of_coroutine()
    return [each for each in handled if each.number == number] if number else handled


def number_here() -> int:
    """Return the number of the event that the caller belongs to, 0 where that is not known."""
    handled = here()
    return handled[0].number if len(handled) == 1 else 0


def deadline_here(otherwise_epoch_ms: int) -> int:
    """Return when the last event that the caller may belong to is over, or another time without."""
    deadlines: list[int] = [each.context.work.deadline_epoch_ms for each in here()]
    return min(otherwise_epoch_ms, max(deadlines, default=otherwise_epoch_ms))


def may_be_of_another(handled: list[Handled]) -> bool:
    """Say whether the caller may have been left by an event that is over, given its `here`."""
    if of_coroutine() or any(each.thread == get_ident() for each in handled):
        return False
    threading = sys.modules.get("threading")
    if threading is None:
        return False
    thread = threading.current_thread()
    return any(thread is older for each in handled for older in each.older_threads)


def _threads() -> list[Any]:
    """Return the threads that there are; without `threading` no code has begun one."""
    threading = sys.modules.get("threading")
    return [] if threading is None else threading.enumerate()
