"""Code of the user's own that may never return: it runs on a thread, which is left at the deadline.

    caller   run ─► hand over ─► [wait] ─► result, or OverdueError: the worker is left to itself
    worker            └─► act ─────┘             └─► ends when the code does, if it ever does

A worker that was not left takes the next call, the one that was used last first: what the code
keeps for each thread, such as connections, is mostly there again.
"""

from __future__ import annotations

import os
from _thread import allocate_lock, start_new_thread
from contextvars import copy_context

from lambdallm import _errors, _log, _settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

IDLE_MAX = 8
"""Threads that are kept for the next call; more end with theirs."""

LEFT_MAX = 64
"""Threads that are left and still run. Where there are more, nobody is asked: each has its memory,
and an execution environment has 1,024 threads and processes.

Source: Lambda developer guide, "Lambda quotas", 2026-10.
"""

CLOSE_SECONDS = 1.0
"""For an iterator to let go of what it holds, when its reader has gone."""


class OverdueError(_errors.DeadlineExceededError):
    """The time for it was over. What was asked may go on, and may be billed."""


class BoundedCall:
    """One call's runs: one after the other on one thread, in one context, until one deadline."""

    def __init__(self, name: str, deadline_epoch_ms: int) -> None:
        """Take a thread; it is given back at the end of a `with`.

        Args:
            name: Who is called.
            deadline_epoch_ms: Nobody waits longer than that.

        Raises:
            ProviderError: Too many threads are left that still run.
        """
        self._name = name
        self._deadline_epoch_ms = deadline_epoch_ms
        self._context = copy_context()
        self._worker: _Worker | None = _take(name)
        self._let_go: Callable[[], object] | None = None

    def run(self, act: Callable[[], T]) -> T:
        """Run it and return or raise what it does.

        Raises:
            OverdueError: The time is over.
        """
        left_ms = self._deadline_epoch_ms - _settings.epoch_ms()
        if left_ms <= 0:
            raise self._overdue()
        return self._run(act, left_ms / 1_000)

    def holds(self, let_go: Callable[[], object] | None) -> None:
        """Know what is to be called on its thread at the end, None for nothing."""
        self._let_go = let_go

    def __enter__(self) -> BoundedCall:
        return self

    def __exit__(self, *_error: object) -> None:
        let_go, self._let_go = self._let_go, None
        if let_go is not None and self._worker is not None:
            left_seconds = (self._deadline_epoch_ms - _settings.epoch_ms()) / 1_000
            seconds = max(0.05, min(CLOSE_SECONDS, left_seconds))
            _close(self._name, lambda: self._run(let_go, seconds))
        worker, self._worker = self._worker, None
        if worker is not None:
            _give_back(worker)

    def _run(self, act: Callable[[], T], seconds: float) -> T:
        worker = self._worker
        assert worker is not None  # noqa: S101 - nobody runs anything after the end
        try:
            returned = worker.wait_for(lambda: self._context.run(act), seconds)
        except BaseException:  # a signal's handler has ended the waiting
            self._leave(worker)
            raise
        if not returned and self._leave(worker):
            raise self._overdue()
        result: T = worker.result()
        return result

    def _leave(self, worker: _Worker) -> bool:
        """Leave the thread to itself; False where it has just come to its end."""
        let_go, name, context = self._let_go, self._name, self._context

        def end(error: BaseException | None) -> None:
            if error is not None:
                _say(name, "failed after the time for it was over", error)
            if let_go is not None:
                _close(name, lambda: context.run(let_go))

        left = worker.leave(end)
        if left:
            self._worker, self._let_go = None, None
        return left

    def _overdue(self) -> OverdueError:
        return OverdueError(f"{self._name} was still answering when the time for it was over.")


class _Worker:
    """A thread that runs one thing after another."""

    def __init__(self) -> None:
        """Start it.

        Raises:
            RuntimeError: This environment has no more threads.
        """
        self._given, self._done = _closed_lock(), _closed_lock()
        self._changing = allocate_lock()
        self._act: Callable[[], Any] | None = None
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._end: Callable[[BaseException | None], None] | None = None
        start_new_thread(self._work, ())

    def wait_for(self, act: Callable[[], Any], seconds: float) -> bool:
        """Let it run something, and wait; False when it has not returned."""
        self._act, self._outcome = act, None
        self._given.release()
        returned: bool = self._done.acquire(timeout=seconds)
        return returned

    def result(self) -> Any:
        """Return or raise what came of it."""
        outcome, self._outcome = self._outcome, None
        assert outcome is not None  # noqa: S101 - it has returned
        value, error = outcome
        if error is None:
            return value
        try:
            raise error
        finally:
            del outcome, error  # they hold this frame, which holds them

    def leave(self, end: Callable[[BaseException | None], None]) -> bool:
        """Let it end alone, and do this then; False where it has returned: `result` says what."""
        with self._changing:
            if self._outcome is not None:
                self._done.acquire(blocking=False)
                return False
            self._end = end
        _count_left(1)
        return True

    def stop(self) -> None:
        """Let the thread end, which runs nothing."""
        self._given.release()

    def _work(self) -> None:
        while True:
            self._given.acquire()
            act, self._act = self._act, None
            if act is None:
                return
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = act(), None
            except BaseException as error:  # noqa: BLE001 - raised in whoever waits
                outcome = None, error
            del act
            with self._changing:
                self._outcome, end = outcome, self._end
                if end is None:
                    self._done.release()
            if end is not None:
                _count_left(-1)
                end(outcome[1])
                return
            del outcome


_idle: list[_Worker] = []
_left = 0
_lock = allocate_lock()


def _take(name: str) -> _Worker:
    with _lock:
        if _left >= LEFT_MAX:
            message = (
                f"{name} was not asked: {_left} calls of your own providers were left at their "
                "deadlines and still run. Give their clients timeouts."
            )
            raise _errors.ProviderError(message)
        if _idle:
            return _idle.pop()
    return _Worker()


def _give_back(worker: _Worker) -> None:
    with _lock:
        if len(_idle) < IDLE_MAX:
            _idle.append(worker)
            return
    worker.stop()


def _count_left(change: int) -> None:
    global _left  # noqa: PLW0603 - it is a fact about the process
    with _lock:
        _left += change


def _closed_lock() -> Any:
    lock = allocate_lock()
    lock.acquire()
    return lock


def _close(name: str, let_go: Callable[[], object]) -> None:
    try:
        let_go()
    except Exception as error:  # noqa: BLE001 - the answer is there, or its error is told
        _say(name, "was not closed", error)


def _say(name: str, what: str, error: BaseException) -> None:
    reason = f"{type(error).__name__}: {error}"
    _log.write("WARNING", f"A call of the provider {name!r} {what}: {reason}", code="output")


def _forget_threads() -> None:
    """Start from nothing in a forked child, which has none of its parent's threads."""
    global _lock, _left
    _lock, _left = allocate_lock(), 0
    _idle.clear()


os.register_at_fork(after_in_child=_forget_threads)
