"""What lambdallm itself causes: requests of its store, objects of large values, lines of its log.

Prices are those of us-east-1, on demand; other regions charge up to twice as much. Not in it: time
of the function, which its own bill has, custom metrics, which are paid by the month, and whatever
is paid by the hour (Redis).
Sources: DynamoDB pricing (on-demand, since 2024-11-01), S3 pricing (Standard), CloudWatch pricing
(logs, vended by Lambda as Standard class), us-east-1, 2026-11.
"""

from __future__ import annotations

from threading import Lock

WRITE_UNIT_PICO_USD = 625_000
"""$0.625 for a million write request units."""

READ_UNIT_PICO_USD = 125_000
"""$0.125 for a million read request units."""

LOG_BYTE_PICO_USD = 500
"""$0.50 for a GB of 10^9 bytes that is taken in."""

LOG_EVENT_BYTES = 26
"""Counted beside each line's own. Source: CloudWatch Logs API, `PutLogEvents`, 2026-11."""

OBJECT_WRITE_PICO_USD = 5_000_000
"""$0.005 for a thousand PUT and COPY requests; DELETE is free."""

OBJECT_READ_PICO_USD = 400_000
"""$0.0004 for a thousand GET requests."""

MILLI = 1_000


class Overhead:
    """What one environment has caused so far, in pico-USD. Threads share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pico_usd = 0
        self._taken = 0
        self.write_units_milli = 0
        self.read_units_milli = 0
        self.log_bytes = 0

    @property
    def pico_usd(self) -> int:
        """All of it."""
        return self._pico_usd

    def write(self, units_milli: int) -> None:
        """Count write units of DynamoDB, in thousandths."""
        with self._lock:
            self.write_units_milli += units_milli
            self._pico_usd += units_milli * WRITE_UNIT_PICO_USD // MILLI

    def read(self, units_milli: int) -> None:
        """Count read units of DynamoDB, in thousandths."""
        with self._lock:
            self.read_units_milli += units_milli
            self._pico_usd += units_milli * READ_UNIT_PICO_USD // MILLI

    def log(self, line: str) -> None:
        """Count a line of the log."""
        size = LOG_EVENT_BYTES + len(line.encode("utf-8", "replace"))
        with self._lock:
            self.log_bytes += size
            self._pico_usd += size * LOG_BYTE_PICO_USD

    def object_written(self) -> None:
        """Count a request that writes an object of S3."""
        with self._lock:
            self._pico_usd += OBJECT_WRITE_PICO_USD

    def object_read(self) -> None:
        """Count a request that reads one."""
        with self._lock:
            self._pico_usd += OBJECT_READ_PICO_USD

    def take(self) -> int:
        """Return what was counted since the last time."""
        with self._lock:
            taken, self._taken = self._pico_usd - self._taken, self._pico_usd
        return taken
