"""How long an API asks to wait, from the headers of its refusal.

    retry-after-ms: 1500                            OpenAI, Azure
    retry-after: 2          retry-after: Sat, 21 Nov 2026 13:00:07 GMT
    x-ratelimit-remaining-requests: 0  with  x-ratelimit-reset-requests: 6m0s

A date counts from the reply's own `date`, so that no clock of ours has to be right.
Source: RFC 9110, 10.2.3 and 5.6.7; platform.openai.com/docs, "Rate limits"; 2026-11.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers

_TOO_MANY = 429

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_DATE_WORDS = 6
_CLOCK_PARTS = 3


def retry_after_seconds(status: int, headers: Headers) -> float | None:
    """Return how long to wait, None where the API does not say it."""
    given = dict(reversed(headers))  # the first of a name counts
    seconds = _number(given.get("retry-after-ms", ""))
    if seconds is not None:
        return seconds / 1_000
    asked = given.get("retry-after", "")
    seconds = _number(asked)
    if seconds is not None:
        return seconds
    until, now = _epoch_seconds(asked), _epoch_seconds(given.get("date", ""))
    if until is not None and now is not None:
        return float(max(0, until - now))
    if status != _TOO_MANY:
        return None
    waits = [
        _duration(given.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if given.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _number(text: str) -> float | None:
    whole, dot, fraction = text.strip().partition(".")
    digits = whole + fraction if dot else whole
    if not (whole and digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
        return None
    return float(text)


_DIGITS_MAX = 12


def _duration(text: str) -> float | None:
    """Return the seconds of `1s`, `6m0s`, `120ms`, `1h2m3.5s`; None for anything else."""
    seconds, number, rest = 0.0, "", text.strip()
    while rest:
        if rest[0] in "0123456789.":
            number, rest = number + rest[0], rest[1:]
            continue
        unit = "ms" if rest.startswith("ms") else rest[0]
        amount = _number(number)
        if unit not in _UNITS or amount is None:
            return None
        seconds += amount * _UNITS[unit]
        number, rest = "", rest[len(unit) :]
    return seconds if text.strip() and not number else _number(number)


def _epoch_seconds(text: str) -> int | None:
    """Return the instant of `Sat, 21 Nov 2026 13:00:07 GMT`, the one form that is still sent."""
    words = text.split()
    if len(words) != _DATE_WORDS or words[5] != "GMT" or words[2].lower() not in _MONTHS:
        return None
    clock = words[4].split(":")
    numbers = [words[1], words[3], *clock]
    if len(clock) != _CLOCK_PARTS or not all(
        number.isascii() and number.isdigit() and len(number) <= _YEAR_DIGITS for number in numbers
    ):
        return None
    day, year, hour, minute, second = map(int, numbers)
    month = _MONTHS.index(words[2].lower()) + 1
    return _days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second


_YEAR_DIGITS = 4


def _days(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a day of the Gregorian calendar.

    Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
    """
    year -= month <= 2  # noqa: PLR2004 - the year of the algorithm begins in March
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1  # noqa: PLR2004
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146_097 + day_of_era - 719_468
