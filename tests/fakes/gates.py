"""Played models that answer when a test says so, and calls that wait for them meanwhile."""

from __future__ import annotations

from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from lambdallm_extension import errors

if TYPE_CHECKING:
    from collections.abc import Callable


class Gates:
    """Steps of played models that wait until they are told to go on."""

    def __init__(self) -> None:
        self._gates: dict[str, Event] = {}
        self.reached: dict[str, Event] = {}

    def closed(self, name: str, outcome: Any) -> Callable[[Any], Any]:
        """Return an outcome that is played when the gate is opened."""
        gate = self._gates[name] = Event()
        reached = self.reached[name] = Event()

        def play(_request: Any) -> Any:
            reached.set()
            assert gate.wait(30)
            return outcome

        return play

    def open(self, name: str) -> None:
        self._gates[name].set()

    def open_all(self) -> None:
        for gate in self._gates.values():
            gate.set()


class Counted:
    """How many calls go on behind their answers."""

    def __init__(self) -> None:
        self.open = 0
        self.ever = 0
        self._lock = Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.open += 1
            self.ever += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.open -= 1


class Asking:
    """A call that is made on a thread of its own, so that a test may open gates meanwhile."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._reply: Any = None
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self._reply = call()
        except errors.ExtensionError as error:
            self._error = error

    def result(self) -> Any:
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self._reply
