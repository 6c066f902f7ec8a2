"""Days, ISO weeks and months in a budget's own time zone: when they begin and end, and their names.

A day of 23 or 25 hours is one day. UTC needs no time zone data and is computed here; other zones
load Python's, when there is a budget that has one.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.budget_settings import WINDOWS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import date

FOREVER_MS = 1 << 62

UTC = "UTC"


class Window(NamedTuple):
    """A stretch of time: from `begin_ms` up to, not including, `end_ms` (epoch milliseconds)."""

    name: str
    begin_ms: int
    end_ms: int

    def holds(self, epoch_ms: int) -> bool:
        """Say whether an instant is in it."""
        return self.begin_ms <= epoch_ms < self.end_ms


def window_at(kind: str, epoch_ms: int, time_zone: str = UTC) -> Window:
    """Return the window that an instant is in.

    Names: `2026-11-21`, `2026-W47`, `2026-11`, `all`.

    Raises:
        ValueError: There is no such kind, or no such time zone on this machine.
    """
    if kind == "all":
        return Window("all", -FOREVER_MS, FOREVER_MS)
    if kind not in WINDOWS:
        message = f"A budget's window is one of {', '.join(WINDOWS)}, not {kind!r}."
        raise ValueError(message)
    from datetime import datetime, timedelta, timezone

    zone = timezone.utc if time_zone == UTC else _zone(time_zone)
    today = datetime.fromtimestamp(epoch_ms / 1_000, zone).date()
    if kind == "day":
        name, begin, end = today.isoformat(), today, today + timedelta(days=1)
    elif kind == "week":
        begin = today - timedelta(days=today.weekday())
        year, week, _ = begin.isocalendar()
        name, end = f"{year}-W{week:02d}", begin + timedelta(days=7)
    else:
        begin = today.replace(day=1)
        name, end = f"{begin:%Y-%m}", (begin + timedelta(days=31)).replace(day=1)

    def midnight(day: date) -> int:
        """Return the first instant of a day; where clocks skip midnight, that is later."""
        first = datetime(day.year, day.month, day.day, tzinfo=zone)
        return round(first.timestamp() * 1_000)

    return Window(name, midnight(begin), midnight(end))


def _zone(name: str):  # type: ignore[no-untyped-def]  # its type is what is loaded here
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        message = f"There is no time zone {name!r} on this machine ({error})."
        raise ValueError(message) from None
