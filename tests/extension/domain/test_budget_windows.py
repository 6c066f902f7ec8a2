"""Windows: where a day begins, in whose time zone, and how long it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.domain.budget_windows import window_at

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu",
         "Australia/Lord_Howe", "Pacific/Apia", "Asia/Beirut"]  # fmt: skip
HOUR_MS = 3_600_000


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("kind", "at", "zone", "name", "hours"),
    [
        ("day", "2026-11-21T00:00:00", "UTC", "2026-11-21", 24),
        ("day", "2026-11-21T23:59:59.999", "UTC", "2026-11-21", 24),
        ("day", "2026-03-29T12:00", "Europe/Berlin", "2026-03-29", 23),
        ("day", "2026-10-25T12:00", "Europe/Berlin", "2026-10-25", 25),
        ("week", "2027-01-03T12:00", "UTC", "2026-W53", 168),
        ("week", "2026-03-29T23:59", "Europe/Berlin", "2026-W13", 167),
        ("month", "2026-02-28T23:59", "America/New_York", "2026-02", 28 * 24),
        ("month", "2026-12-31T12:00", "UTC", "2026-12", 31 * 24),
    ],
)
def test_a_window_has_a_name_and_its_own_length(
    kind: str, at: str, zone: str, name: str, hours: int
) -> None:
    window = window_at(kind, ms(at, zone), zone)

    assert window.name == name
    assert window.end_ms - window.begin_ms == hours * HOUR_MS
    begins = datetime.fromtimestamp(window.begin_ms / 1_000, ZoneInfo(zone))
    assert (begins.hour, begins.minute) == (0, 0)


@given(
    st.integers(ms("2020-01-01"), ms("2035-01-01")),
    st.sampled_from(ZONES),
    st.sampled_from(["day", "week", "month"]),
)
def test_windows_hold_their_instant_and_leave_no_gap(instant: int, zone: str, kind: str) -> None:
    window = window_at(kind, instant, zone)
    following = window_at(kind, window.end_ms, zone)

    assert window.holds(instant)
    assert window_at(kind, window.end_ms - 1, zone) == window
    assert following.begin_ms == window.end_ms
    assert following.name > window.name
    assert timedelta(milliseconds=window.end_ms - window.begin_ms) <= timedelta(days=32)


def test_one_without_an_end_holds_always() -> None:
    window = window_at("all", 0)

    assert window.name == "all"
    assert window.holds(-(10**15))
    assert window.holds(10**15)


@pytest.mark.parametrize(("kind", "zone"), [("day", "Mars/Olympus"), ("day", "../etc/passwd"),
                                            ("hour", "UTC"), ("day", "")])  # fmt: skip
def test_what_there_is_not_is_said(kind: str, zone: str) -> None:
    with pytest.raises(ValueError, match=r"window|time zone"):
        window_at(kind, 0, zone)
