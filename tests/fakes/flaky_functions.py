"""Functions of steps that fail at first."""

from threading import Lock
from typing import Any


class Flaky:
    """A function that fails so often, and counts."""

    def __init__(self, failures: int = 1, result: Any = "fine") -> None:
        self.left = failures
        self.calls = 0
        self.result = result
        self._lock = Lock()

    def __call__(self, values: dict[str, Any]) -> Any:
        with self._lock:
            self.calls += 1
            if self.left:
                self.left -= 1
                raise ValueError("It does not work.")
        return self.result
