"""Records of a run's calls: they travel with what the run writes next, one request less for each.

carry ──► in the next transaction ──► written
              └── which has failed ──► in the one after it
let_go    the run writes nothing more ──► they go the way of other calls' records
"""

from __future__ import annotations

from threading import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.ports import Item

    Carried = tuple[Item, Callable[[], None]]


class CarriedRecords:
    """Records that one attempt of a run is to write. Threads share it."""

    def __init__(self) -> None:
        """Carry nothing yet."""
        self._lock = Lock()
        self._waiting: list[Carried] = []
        self._over = False

    def carry(self, item: Item, otherwise: Callable[[], None]) -> None:
        """Take a record.

        Args:
            item: It.
            otherwise: Writes it without the run; called once the run writes nothing more.
        """
        with self._lock:
            over = self._over
            if not over:
                self._waiting.append((item, otherwise))
        if over:
            otherwise()

    def take(self) -> list[Carried]:
        """Return what is to be written now; `give_back` what was not."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken

    def give_back(self, taken: Sequence[Carried]) -> None:
        """Write them with something else: nobody knows whether they are written."""
        for item, otherwise in taken:
            self.carry(item, otherwise)

    def let_go(self) -> None:
        """Carry nothing from now on."""
        with self._lock:
            self._over = True
        for _, otherwise in self.take():
            otherwise()
