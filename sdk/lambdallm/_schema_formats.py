"""What `format` asks of a text."""

from __future__ import annotations

import re
from datetime import date, datetime, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TIME = r"\d\d:\d\d:\d\d(\.\d{1,6})?\d*([Zz]|[+-]\d\d:\d\d)"

_PATTERNS = {
    "email": re.compile(r"[^@\s]+@[^@\s]+"),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "uri": re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+"),
    "hostname": re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"),
    "ipv4": re.compile(r"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}"),
}


def fits(name: str, text: str) -> bool:
    """Say whether a text has a format."""
    if name in _PATTERNS:
        return _PATTERNS[name].fullmatch(text) is not None
    read = _READERS.get(name)
    if read is None:
        return True
    try:
        read(text)
    except ValueError:
        return False
    return True


def read_moment(text: str) -> datetime:
    """Read a `date-time`, which has a zone.

    Raises:
        ValueError: It is none.
    """
    found = re.fullmatch(rf"(\d{{4}}-\d\d-\d\d)[Tt ]{_TIME}", text)
    if found is None:
        message = "it is no date-time with a zone, as 2026-11-22T04:00:00Z"
        raise ValueError(message)
    return datetime.fromisoformat(_spelled_out(text))


def read_time(text: str) -> time:
    """Read a `time`.

    Raises:
        ValueError: It is none.
    """
    return time.fromisoformat(_spelled_out(text))


def read_day(text: str) -> date:
    """Read a `date`.

    Raises:
        ValueError: It is none.
    """
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text) is None:  # of 3.11 on, Python takes other forms too
        message = "it is no date, as 2026-11-22"
        raise ValueError(message)
    return date.fromisoformat(text)


def _spelled_out(text: str) -> str:
    """Write a moment as every Python since 3.10 reads it: six digits of a second, no Z."""
    text = re.sub(r"[Zz]$", "+00:00", text)
    return re.sub(r"\.(\d{1,6})\d*", lambda found: f".{found[1]:0<6}", text)


_READERS: dict[str, Callable[[str], object]] = {
    "date-time": read_moment,
    "date": read_day,
    "time": read_time,
}
