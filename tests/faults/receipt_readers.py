"""Readers that present the receipts of others, while these write, and keep what they were shown."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LOST = 500
NOT_YET = 503


class Readers:
    """One environment that reads, with receipts of what was written in others.

    Attributes:
        shown: Receipts that opened a session with their exchange in it, by the exchange's name.
        lost: Those that were told that theirs will not come.
        orders: What each of these reads saw, questions only, in the order of the reads.
        faults: What no reader may ever get.
    """

    def __init__(self, environment: Any, session: str, receipts: Callable[[], dict[str, str]]):
        self._environment = environment
        self._session = session
        self._receipts = receipts
        self._written = threading.Event()
        self._thread = threading.Thread(target=self._read_on)
        self.shown: set[str] = set()
        self.lost: set[str] = set()
        self.orders: list[list[str]] = []
        self.faults: list[str] = []

    def __enter__(self) -> Readers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._written.set()
        self._thread.join()

    def present(self, name: str, receipt: str) -> int:
        """Read with this receipt; return the status of the answer."""
        headers = {"x-lambdallm-exchange": receipt} if receipt else {}
        invocation = self._environment.invoke({"session": self._session, "headers": headers})
        if invocation.error_type is not None:
            self.faults.append(f"{name}: {invocation.error_type}")
            return 0
        answer = invocation.json()
        status: int = answer["status"]
        if status == LOST:
            self.lost.add(name)
        elif status != NOT_YET:
            names = [text.removesuffix(" asks") for text in answer["seen"][::2]]
            self.orders.append(names)
            self.shown.add(name)
            if name not in names:
                self.faults.append(f"{name} was answered with a session without it")
        return status

    def _read_on(self) -> None:
        """Present the newest receipt that nobody has presented, until all has been written."""
        presented: set[str] = set()
        while not self._written.is_set():
            fresh = {n: r for n, r in self._receipts().items() if n not in presented}
            if not fresh:
                self._written.wait(0.02)
                continue
            name, receipt = fresh.popitem()
            presented.add(name)
            self.present(name, receipt)
