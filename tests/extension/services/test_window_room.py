"""A window is as large as there is room for, and no more than that is read for it."""

from typing import Any

import pytest

from lambdallm_extension.services import window_room
from lambdallm_extension.services.recent_sessions import RecentSessions
from lambdallm_extension.services.recollection import Recollection
from lambdallm_extension.services.session_reads import LongSessions
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.stores.payloads import PayloadStore
from lambdallm_extension.stores.table_place import TablePlace

TEXT_BYTES = 30_000
ROOM_BYTES = 4 * TEXT_BYTES + 1_000


def turn(role: str, content: object, **more: Any) -> Any:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": 1, **more}


class CountingPlace(TablePlace):
    """Where the texts lie."""

    read_bytes = 0

    def read(self, key: str, number: int, *, is_text: bool, deadline_ms: int) -> bytes | None:
        piece = super().read(key, number, is_text=is_text, deadline_ms=deadline_ms)
        self.read_bytes += len(piece or b"")
        return piece


@pytest.fixture
def place(sessions: Any) -> CountingPlace:
    """Large texts lie beside their items, and a read may bring four of them."""
    place = CountingPlace(sessions.store)
    sessions.store = PayloadStore(
        sessions.store, [place], clock=sessions.clock, workers=Workers(),
        threshold_bytes=8_192, room_bytes=ROOM_BYTES,
    )  # fmt: skip
    return place


def large(number: int) -> str:
    return f"{number} ".ljust(TEXT_BYTES, "x")


def say(sessions: Any, numbers: range) -> None:
    for number in numbers:
        sessions.say(("user", f"q{number}"), ("assistant", large(number)))


@pytest.mark.parametrize("max_messages", [None, 20])
@pytest.mark.parametrize("times", [1, 3])
def test_what_does_not_fit_is_not_even_read(
    sessions: Any, place: CountingPlace, max_messages: int | None, times: int
) -> None:
    say(sessions, range(9))
    environment = {"long_sessions": LongSessions(), "recent_sessions": RecentSessions()}
    lines: list[str] = []
    for _ in range(times):
        place.read_bytes = 0
        work = sessions.begin(max_messages=max_messages, log=lines.append, **environment)
        window = work.window()

    assert [each["content"][:2].strip() for each in window["turns"]] == [
        "q5", "5", "q6", "6", "q7", "7", "q8", "8",
    ]  # fmt: skip
    assert (window["version"], place.read_bytes <= ROOM_BYTES) == (9, True)
    assert len(lines) == times
    assert "cut to its newest 8 messages" in lines[0]


def test_what_is_said_after_a_cut_window_is_stored_as_ever(
    sessions: Any, place: CountingPlace
) -> None:
    say(sessions, range(9))
    work = sessions.begin(max_messages=20)
    work.window()
    work.append([turn("user", "q9"), turn("assistant", "a9")], metadata=None, clear=False)

    assert work.save(5) == 10
    assert sessions.seen(max_messages=2) == ["q9", "a9"]


def test_a_recent_session_that_has_grown_is_cut_as_well(
    sessions: Any, place: CountingPlace
) -> None:
    environment = {"long_sessions": LongSessions(), "recent_sessions": RecentSessions()}
    sessions.say(("user", "old"), ("assistant", "known"))
    for _ in range(3):
        sessions.begin(max_messages=20, **environment).window()
    say(sessions, range(9))

    window = sessions.begin(max_messages=20, **environment).window()

    assert [each["content"][0] for each in window["turns"]] == [*"q5q6q7q8"]


def test_a_summary_is_not_made_of_what_was_not_read(sessions: Any, place: CountingPlace) -> None:
    def remembered_after(exchanges: int) -> Any:
        say(sessions, range(exchanges))
        work = sessions.begin(max_messages=20, recollect=summary)
        work.window()
        work.append([turn("user", "q"), turn("assistant", "a")], metadata=None, clear=False)
        work.save(5)
        return work.remembered()

    def summary(store: Any) -> Recollection:
        rule: Any = {
            "session_id": "s", "identity": "e", "ttl_seconds": 60,
            "memory": {"strategy": "summary"}, "durability": "before_response",
        }  # fmt: skip
        return Recollection(rule, store=store, workers=sessions.workers, clock=sessions.clock,
                            deadline_ms=lambda: sessions.clock.now_ms + 5_000)  # fmt: skip

    assert remembered_after(4) is not None
    assert remembered_after(4) is None


def test_a_pinned_exchange_that_is_too_large_is_cut_and_hides_nothing_else(
    sessions: Any, place: CountingPlace
) -> None:
    pinned = sessions.begin()
    answers = [turn("assistant", large(number)) for number in range(6)]
    pinned.append([turn("user", "mind", pinned=True), *answers], metadata=None, clear=False)
    pinned.save(5)
    for number in range(30):
        sessions.say(("user", f"q{number}"), ("assistant", f"a{number}"))
    lines: list[str] = []
    window = sessions.begin(max_messages=2, log=lines.append).window()

    said = [each["content"] for each in window["turns"]]
    assert (said[0], said[-2:]) == ("mind", ["q29", "a29"])
    assert len(said) == 1 + 4 + 2
    assert len(lines) == 1


def test_what_fits_is_no_matter(sessions: Any, place: CountingPlace) -> None:
    say(sessions, range(4))
    lines: list[str] = []

    assert len(sessions.begin(max_messages=20, log=lines.append).window()["turns"]) == 8
    assert lines == []


def test_one_text_is_never_too_large(sessions: Any, place: CountingPlace) -> None:
    say(sessions, range(2))
    sessions.say(("user", "q"), ("assistant", "x" * 8 * TEXT_BYTES))

    assert sessions.seen(max_messages=20) == ["q", "x" * 8 * TEXT_BYTES]


def test_the_reply_takes_what_stays_and_the_newest_of_the_rest() -> None:
    room = window_room.WINDOW_MAX_BYTES
    third = "x" * (room // 3 - 200)
    turns = [
        turn("system", "You are short."), turn("user", third, pinned=True),
        *(turn(role, third) for role in ("user", "assistant", "user", "assistant")),
    ]  # fmt: skip

    assert window_room.fitting(turns) == [*turns[:2], *turns[4:]]
    assert window_room.fitting(turns[:3]) == turns[:3]
