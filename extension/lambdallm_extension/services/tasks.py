"""Work beside the caller: a bounded pool of threads, tasks to wait for, lanes that keep order."""

from __future__ import annotations

from _queue import SimpleQueue  # which `queue` has from here, beside much else
from collections import deque
from threading import Event, Lock, Thread

from lambda_runtime_api.declarations import Generic, TypeVar
from lambdallm_extension import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

THREADS_MAX = 32
"""Blocking calls under way at once: session reads, saves and call records, not model calls."""

WAITING_MAX = 1_024
"""Calls that wait for a thread: far more than the sessions of 64 concurrent invocations need."""


class Task(Generic[T]):
    """One call on another thread, and its result."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._done = Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Make the call and keep what came of it. Once only."""
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again in whoever waits
            self._error = error
        finally:
            self._done.set()

    def wait(self, seconds: float) -> T:
        """Return the result, or raise what the call raised.

        Raises:
            DeadlineError: The call is still running.
        """
        if not self._done.wait(max(0.0, seconds)):
            message = f"It took longer than the {max(0.0, seconds):.1f} s that were left."
            raise errors.DeadlineError(message)
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set whenever there is no error

    @property
    def done(self) -> bool:
        """Whether it has ended, either way."""
        return self._done.is_set()


class Deferred(Task[T]):
    """A call that the first one who waits for its result makes, on his own thread."""

    def __init__(self, call: Callable[[], T]) -> None:
        super().__init__(call)
        self._taken = Lock()

    def wait(self, seconds: float) -> T:
        """Make the call, or wait for whoever is making it; see `Task.wait`."""
        if self._taken.acquire(blocking=False):
            self.run()
        return super().wait(seconds)


class Workers:
    """Threads that appear when there is work and stay. Daemons: they never hold up an exit."""

    def __init__(self, threads_max: int = THREADS_MAX) -> None:
        self._threads_max = threads_max
        self._queue: SimpleQueue[Task[object]] = SimpleQueue()
        self._lock = Lock()
        self._threads = 0
        self._idle = 0

    def start(self, call: Callable[[], T]) -> Task[T]:
        """Run a call on another thread.

        Raises:
            OverloadedError: Too many are waiting already, or there is no thread; it is not run.
        """
        task = Task(call)
        with self._lock:
            if self._queue.qsize() >= WAITING_MAX:
                message = f"{WAITING_MAX} calls are waiting for the store already; try again."
                raise errors.OverloadedError(message)
            if self._idle:
                self._idle -= 1
            elif self._threads < self._threads_max:
                self._add_thread()
        self._queue.put(task)  # type: ignore[arg-type]  # the queue does not look inside
        return task

    def _add_thread(self) -> None:
        """Start one more; where the environment has no more of them, those there are must do."""
        try:
            Thread(target=self._work, name="lambdallm-worker", daemon=True).start()
        except RuntimeError as error:
            if not self._threads:
                message = f"No thread is left in this environment ({error}); try again."
                raise errors.OverloadedError(message) from error
        else:
            self._threads += 1

    def _work(self) -> None:
        while True:
            self._queue.get().run()
            with self._lock:
                self._idle += 1


class Lane:
    """Calls that run one after the other, in order. The first failure ends the lane."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._lock = Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._task: Task[None] | None = None
        self._error: BaseException | None = None

    def add(self, call: Callable[[], None]) -> None:
        """Run it when everything before it has run.

        Raises:
            OverloadedError: Too much is waiting already; it is not run.
        """
        with self._lock:
            if self._task is None:
                self._task = self._workers.start(self._run)
            self._waiting.append(call)

    def wait(self, seconds: float) -> None:
        """Wait until everything has run.

        Raises:
            DeadlineError: Something is still running.
            BaseException: What the first failed call raised; the ones behind it did not run.
        """
        with self._lock:
            task = self._task
        if task is not None:
            task.wait(seconds)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._error is not None:
                    self._waiting.clear()
                    self._task = None
                    return
                call = self._waiting.popleft()
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - raised again in whoever waits
                self._error = error
