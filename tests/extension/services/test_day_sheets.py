"""Sums of a day: written seldom, once each, whatever becomes of a write's answer."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, strategies as st

from fakes.clocks import HandClock
from fakes.faulty_store import FAULTS, FaultyStore
from lambdallm_extension import errors
from lambdallm_extension.domain import day_sheets as sheets_of_days
from lambdallm_extension.domain.day_sheets import ENTRIES_MAX, OTHER, Counted
from lambdallm_extension.domain.overhead import Overhead
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.services import day_sheets
from lambdallm_extension.services.day_sheets import DaySheets
from lambdallm_extension.stores.memory import MemoryStore

DAY_MS = 86_400_000
ONE = Counted(calls=1, cost_pico_usd=7, input_tokens=5, output_tokens=2)


class Environments:
    """Some of them over one store, on one clock."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.inner: Any = MemoryStore(self.clock)
        self.store: Any = FaultyStore(self.inner)
        self.overhead = Overhead()
        self.opened = 0

    def environment(self, name: str = "e1", function: str = "chat") -> DaySheets:
        def store() -> Any:
            self.opened += 1
            return self.store

        return DaySheets(store, self.clock, lambda: name, function, self.overhead)

    def flush(self, sheets: DaySheets, *, last: bool = False) -> None:
        sheets.flush(self.clock.now_ms + 1_000, last=last)

    def read(self, first: str = "2026-09-01", last: str = "2026-10-31") -> list[Any]:
        return day_sheets.read(self.inner, first, last, self.clock.now_ms + 1_000)

    @property
    def calls(self) -> int:
        return sum(day["total"]["calls"] for day in self.read())


def test_the_sums_of_all_environments_are_read_by_what_calls_belong_to() -> None:
    world = Environments()
    one, other = world.environment("e1"), world.environment("e2", "batch")
    one.book({"model": "m", "tenant": "acme"}, ONE)
    one.book({"model": "n"}, Counted(calls=1, unknown=1, unknown_pico_usd=9))
    other.book({"model": "m", "tag:team": "ads"}, ONE)
    for sheets in (one, other):
        world.flush(sheets)
    (day,) = world.read()

    assert day["day"] == "2026-09-21"
    assert day["environments"] == 2
    assert day["total"] == {
        "calls": 3, "cost_pico_usd": 14, "input_tokens": 10, "output_tokens": 4,
        "unpriced": 0, "unknown": 1, "unknown_pico_usd": 9,
    }  # fmt: skip
    assert {name: each["calls"] for name, each in day["by"]["model"].items()} == {"m": 2, "n": 1}
    assert {name: each["calls"] for name, each in day["by"]["function"].items()} == {
        "chat": 2, "batch": 1,
    }  # fmt: skip
    assert [*day["by"]["tenant"]] == ["acme"]
    assert [*day["by"]["tag:team"]] == ["ads"]


def test_it_is_written_once_in_fifteen_seconds_and_at_the_end() -> None:
    world = Environments()
    sheets = world.environment()
    sheets.book({"model": "m"}, ONE)
    world.flush(sheets)
    assert world.calls == 1, "what an environment has done that lives for one invocation"

    sheets.book({"model": "m"}, ONE)
    world.clock.jump("wall", 14.9)
    world.flush(sheets)
    assert world.calls == 1
    world.clock.jump("wall", 0.2)
    world.flush(sheets)
    assert world.calls == 2
    sheets.book({"model": "m"}, ONE)
    world.flush(sheets, last=True)
    assert world.calls == 3


def test_nothing_is_asked_where_nothing_was_booked() -> None:
    world = Environments()
    sheets = world.environment()
    world.flush(sheets, last=True)

    assert world.opened == 0


def test_a_long_sheet_is_written_less_often() -> None:
    world = Environments()
    sheets = world.environment()
    for number in range(60):
        sheets.book({"user": f"u{number}"}, ONE)
    world.flush(sheets)
    sheets.book({"user": "u1"}, ONE)
    world.clock.jump("wall", 60)
    world.flush(sheets)
    assert world.calls == 60
    world.clock.jump("wall", 60)
    world.flush(sheets)
    assert world.calls == 61


def test_each_day_has_a_sheet_and_yesterdays_is_written_after_midnight() -> None:
    world = Environments()
    sheets = world.environment()
    sheets.book({"model": "m"}, ONE)
    world.overhead.write(1_000)
    world.clock.now_ms += DAY_MS - world.clock.now_ms % DAY_MS
    sheets.book({"model": "m"}, ONE)
    world.overhead.write(3_000)
    world.flush(sheets, last=True)

    assert [(day["day"], day["total"]["calls"], day["overhead_pico_usd"]) for day in world.read()
            ] == [("2026-09-21", 1, 625_000), ("2026-09-22", 1, 1_875_000)]  # fmt: skip


def test_a_clock_that_is_set_back_over_midnight_loses_nothing() -> None:
    world = Environments()
    sheets = world.environment()
    for days in (0, 1, -1, 1):
        world.clock.now_ms += days * DAY_MS
        sheets.book({"model": "m"}, ONE)
        world.flush(sheets)
    world.flush(sheets, last=True)

    assert world.calls == 4


def test_a_clock_that_goes_to_and_fro_over_midnight_tells_all_overhead_once() -> None:
    world = Environments()
    sheets = world.environment()
    for days in (0, 1, -1, 1, 0, -1):
        world.clock.jump("wall", days * 86_400)
        sheets.book({}, ONE)
        world.overhead.write(1_000)
        world.flush(sheets, last=True)

    told = sum(day["overhead_pico_usd"] for day in world.read())
    assert told == world.overhead.pico_usd == 6 * 625_000


def test_beyond_so_many_names_they_count_together() -> None:
    world = Environments()
    sheets = world.environment()
    for number in range(ENTRIES_MAX + 50):
        sheets.book({"model": "m", "user": f"u{number}"}, ONE)
    world.flush(sheets)
    (day,) = world.read()
    users = day["by"]["user"]

    assert len(users) == ENTRIES_MAX
    assert users[OTHER]["calls"] == 51
    assert sum(each["calls"] for each in users.values()) == ENTRIES_MAX + 50
    assert day["by"]["model"]["m"]["calls"] == ENTRIES_MAX + 50


@given(st.lists(st.sampled_from([each for each in FAULTS if each != "between"]), max_size=12))
def test_whatever_the_store_does_each_call_counts_once(plan: list[str]) -> None:
    world = Environments()
    sheets = world.environment()
    world.store.plan = [*plan]
    booked = 0
    while world.store.plan:
        sheets.book({"model": "m"}, ONE)
        booked += 1
        try:
            world.flush(sheets, last=True)
        except errors.StoreError:
            continue
    sheets.book({"model": "m"}, ONE)
    world.flush(sheets, last=True)
    for _ in plan:
        world.store.arrive()  # what was late comes now, and is older

    assert world.calls == booked + 1


def test_threads_book_and_write_at_once() -> None:
    world = Environments()
    sheets = world.environment()
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait()
        for _ in range(200):
            sheets.book({"model": "m"}, ONE)
            world.flush(sheets, last=True)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert world.calls == 1_600


def test_days_that_no_store_takes_are_given_up_after_a_week() -> None:
    world = Environments()
    sheets = world.environment()
    for _ in range(12):
        sheets.book({"model": "m"}, ONE)
        world.clock.now_ms += DAY_MS
    world.flush(sheets, last=True)

    assert world.calls == day_sheets.WAITING_MAX


@pytest.mark.parametrize(
    "attributes",
    [{}, {"total": [1, 2]}, {"total": ["x"] * 7}, {"total": [True] * 7},
     {"total": [0] * 7, "by": 5}, {"total": [0] * 7, "by": {"model": {"m": None}}}],
)  # fmt: skip
def test_what_is_no_sheet_is_an_error(attributes: Any) -> None:
    world = Environments()
    item = Item(Key("SPEND#2026-09-21", "e1"), attributes)
    world.inner.put_if(Put(item), deadline_ms=world.clock.now_ms + 1_000)

    with pytest.raises(errors.StoreRefusedError, match="SPEND#2026-09-21"):
        world.read()


def test_a_later_version_may_count_more() -> None:
    amounts = sheets_of_days.amounts_of([1, 2, 3, 4, 5, 6, 7, 8])

    assert amounts["unknown_pico_usd"] == 7


@pytest.mark.parametrize(
    ("first", "last"), [("2026-02-30", "2026-03-01"), ("2020-01-01", "2026-01-01")]
)
def test_days_that_are_none_and_too_many_are_refused(first: str, last: str) -> None:
    with pytest.raises(errors.InvalidRequestError):
        Environments().read(first, last)


def test_what_lambda_bills_is_summed_by_function_and_older_sheets_are_read() -> None:
    world = Environments()
    one, other, third = (
        world.environment("e1"), world.environment("e2", "batch"), world.environment("e3"),
    )  # fmt: skip
    one.book_compute(5)
    one.book_compute(6)
    other.book_compute(7)
    other.book({"model": "m"}, ONE)
    third.book({"model": "m"}, ONE)
    for sheets in (one, other, third):
        world.flush(sheets)
    key = Key("SPEND#2026-09-21", "e3")
    (stored,) = [
        item
        for item in world.inner.query(key.pk, "", deadline_ms=world.clock.now_ms)
        if item.key == key
    ]
    kept = {
        name: value
        for name, value in stored.attributes.items()
        if name not in ("compute", "invocations")
    }
    world.inner.put_if(Put(Item(key, kept, stored.expires_at)), deadline_ms=world.clock.now_ms)
    (day,) = world.read()

    assert day["compute_pico_usd"] == 18
    assert day["functions"] == {
        "chat": {"compute_pico_usd": 11, "overhead_pico_usd": 0, "invocations": 2},
        "batch": {"compute_pico_usd": 7, "overhead_pico_usd": 0, "invocations": 1},
    }
    assert day["total"]["calls"] == 2
