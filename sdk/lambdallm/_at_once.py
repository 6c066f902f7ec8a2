"""Doing some calls at once, in threads of their own, so many at a time."""

from __future__ import annotations

from contextvars import copy_context
from threading import Lock, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class Outcome:
    """What came of one call."""

    __slots__ = ("error", "value")

    def __init__(self) -> None:
        """Nothing yet."""
        self.value: Any = None
        self.error: BaseException | None = None


def run(calls: Sequence[Callable[[], Any]], concurrency: int) -> list[Outcome]:
    """Make all calls, and return what came of them in their order.

    After a failure no further one is begun; those that are under way are waited for.

    Args:
        calls: What to do.
        concurrency: So many at once, the caller's own thread among them.
    """
    outcomes = [Outcome() for _ in calls]
    waiting = iter(range(len(calls)))
    lock = Lock()
    failed = False

    def work() -> None:
        nonlocal failed
        while not failed:
            with lock:
                index = next(waiting, None)
            if index is None:
                return
            try:
                outcomes[index].value = calls[index]()
            except BaseException as error:  # noqa: BLE001 - told to whoever has asked
                outcomes[index].error = error
                failed = not getattr(error, "tokens", None)

    threads = [
        Thread(target=copy_context().run, args=(work,), name="lambdallm-step", daemon=True)
        for _ in range(min(concurrency, len(calls)) - 1)
    ]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    return outcomes
