"""Locks of objects that a forked child goes on with.

Another thread of the parent may hold one just then; in the child there is no such thread, and
nobody would ever let go of it.
"""

from __future__ import annotations

from lambdallm import _unit_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class ForkedLock:
    """A lock for `with`, and a new one in each forked child."""

    def __init__(self, make: Callable[[], Any]) -> None:
        """Make it: `allocate_lock` or `RLock` of `_thread`."""
        self._make = make
        self._lock = make()
        self._forks = _unit_names.forks

    def __enter__(self) -> None:
        if self._forks != _unit_names.forks:
            self._lock, self._forks = self._make(), _unit_names.forks
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
