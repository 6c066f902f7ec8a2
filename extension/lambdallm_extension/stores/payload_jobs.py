"""Several things at once, for one caller who waits for all of them."""

from __future__ import annotations

from collections import deque

from lambdallm_extension.errors import DeadlineError, StoreUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from lambdallm_extension.ports import Clock
    from lambdallm_extension.services.tasks import Workers

    T = TypeVar("T")


AT_ONCE_MAX = 8
"""Of one caller's: four fill the network of a small function."""


class Jobs:
    """Runs what is independent of each other, several at once."""

    def __init__(self, workers: Workers, clock: Clock) -> None:
        self._workers = workers
        self._clock = clock

    def run(self, jobs: Sequence[Callable[[], T]], deadline_ms: int) -> list[T]:
        """Make the calls and return what each gave. This thread does its share; mostly it is all.

        Raises:
            StoreUnavailableError: Some have not ended before the deadline.
            Exception: What the first failed call has raised; those not begun are not made.
        """
        done: dict[int, T] = {}
        waiting = deque(enumerate(jobs))
        failed: list[BaseException] = []

        def take() -> None:
            while waiting and not failed:
                try:
                    index, job = waiting.popleft()
                except IndexError:  # another thread took the last one
                    return
                try:
                    done[index] = job()
                except BaseException as error:
                    failed.append(error)
                    raise

        tasks = [self._workers.start(take) for _ in range(min(len(jobs), AT_ONCE_MAX) - 1)]
        take()
        try:
            for task in tasks:
                task.wait((deadline_ms - self._clock.epoch_ms()) / 1_000)
        except DeadlineError as error:
            message = f"Large texts took too long. {error.detail}"
            raise StoreUnavailableError(message) from None
        return [done[index] for index in range(len(jobs))]
