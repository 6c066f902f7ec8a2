"""Numbers of what is called the same: the second step `draft`, the second run of a chain."""

from __future__ import annotations

from _thread import allocate_lock, get_ident

from lambdallm import _errors


class Names:
    """Numbers what is called the same, in the order in which it comes."""

    def __init__(self) -> None:
        """Begin with none."""
        self._seen: dict[str, tuple[int, int]] = {}
        self._lock = allocate_lock()

    def number(self, name: str) -> int:
        """Return 1 for the first one of a name, 2 for the second.

        Raises:
            ConfigurationError: The one before came in another thread. Which of them is first
                differs from attempt to attempt, and one would get the other's results.
        """
        here = get_ident()
        with self._lock:
            seen, thread = self._seen.get(name, (0, here))
            if thread != here:
                message = (
                    f"{name!r} comes a second time, in another thread: nobody could tell later "
                    f"which is which. Give each a name of its own, as f'{name}-{{index}}', and "
                    "each run of a chain a run_id."
                )
                raise _errors.ConfigurationError(message)
            self._seen[name] = seen + 1, here
        return seen + 1

    def place(self, name: str) -> str:
        """Return the name itself for the first one, `name~2` for the second.

        Raises:
            ConfigurationError: As `number`.
        """
        seen = self.number(name)
        return name if seen == 1 else f"{name}~{seen}"
