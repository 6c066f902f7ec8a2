"""Records that travel with a run's writes: none is lost, and none is written twice for nothing."""

from collections.abc import Callable
from typing import Any

from lambdallm_extension.ports import Item, Key
from lambdallm_extension.services.run_records import CarriedRecords

ONE, TWO = (Item(Key(f"CALL#{name}", "CALL"), {}, 0) for name in ("one", "two"))


class Written:
    """What was written without the run."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def of(self, item: Item) -> Callable[[], None]:
        return lambda: self.items.append(item)


def test_what_is_taken_is_taken_once() -> None:
    records, written = CarriedRecords(), Written()
    records.carry(ONE, written.of(ONE))
    records.carry(TWO, written.of(TWO))

    assert [item for item, _ in records.take()] == [ONE, TWO]
    assert records.take() == []
    records.let_go()
    assert written.items == []


def test_what_could_not_be_written_is_written_with_something_else() -> None:
    records, written = CarriedRecords(), Written()
    records.carry(ONE, written.of(ONE))
    records.give_back(records.take())

    assert [item for item, _ in records.take()] == [ONE]


def test_when_the_run_writes_nothing_more_they_are_written_without_it() -> None:
    records, written = CarriedRecords(), Written()
    records.carry(ONE, written.of(ONE))
    taken = records.take()
    records.carry(TWO, written.of(TWO))
    records.let_go()

    assert written.items == [TWO]
    records.give_back(taken)
    records.carry(TWO, written.of(TWO))
    assert written.items == [TWO, ONE, TWO]
