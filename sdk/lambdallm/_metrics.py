"""Numbers of one invocation, for its handler's own use."""

from __future__ import annotations


class Metrics:
    """Numbers of this invocation, for the handler's own use."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}

    def record(self, name: str, value: float) -> None:
        """Set a number."""
        self._values[name] = value

    def get(self, name: str) -> float | None:
        """Return a number, None if it was not recorded."""
        return self._values.get(name)

    def all(self) -> dict[str, float]:
        """Return a copy of all of them."""
        return dict(self._values)
