"""Messages and groups over the memory store, a clock set by hand, and a gateway that is played."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fakes.clocks import HandClock
from fakes.dice import HighDice
from lambdallm_extension import errors
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.services.connections import (
    CONNECTING_MS,
    GONE_MAX,
    RETRIES_MAX,
    Connections,
)
from lambdallm_extension.services.group_pushes import AT_ONCE
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.stores.memory import MemoryStore

MINUTES = 60_000


class Gateway:
    """Takes every message, but of connections whose answers a test has said."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, str, bytes]] = []
        self.answers: dict[str, list[Any]] = {}
        self.open: set[str] = set()
        self.together = 0
        self.gate: threading.Barrier | None = None

    def address_of(self, client: Any) -> str:
        return f"https://{client.get('api_id', 'api')}/prod"

    def post(self, address: str, connection_id: str, data: bytes, *, deadline_ms: int) -> bool:
        self.posts.append((address, connection_id, data))
        if self.gate is not None:
            self.gate.wait(20)
        answers = self.answers.get(connection_id, [True])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class Place:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.store = MemoryStore(self.clock)
        self.gateway = Gateway()
        self.waits: list[float] = []
        self.has_store = True
        self.connections = Connections(
            self.gateway, lambda: self.store, has_store=lambda: self.has_store, workers=Workers(),
            clock=self.clock, random=HighDice(), sleep=self.sleep,
        )  # fmt: skip

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.now_ms += round(seconds * 1_000)

    def push(self, name: str = "ada", data: bytes = b"x", unit: str = "1") -> bool:
        return self.connections.push(
            {"connection_id": name}, data, unit=unit, deadline_ms=self.clock.now_ms + MINUTES
        )

    def join(self, name: str, group: str = "room", **more: Any) -> None:
        client: Any = {"connection_id": name, **more}
        self.connections.join(client, group, deadline_ms=self.clock.now_ms + MINUTES)

    def leave(self, name: str, group: str = "") -> list[str]:
        return self.connections.leave(
            {"connection_id": name}, group, deadline_ms=self.clock.now_ms + MINUTES
        )

    def tell(self, data: bytes = b"x", group: str = "room") -> Any:
        return self.connections.push_to_group(group, data, deadline_ms=self.clock.now_ms + MINUTES)

    def items(self) -> list[str]:
        found = [
            f"{item.key.pk} {item.key.sk}"
            for pk in ("GROUP#room", "GROUP#hall", "CONNECTION#ada", "CONNECTION#bob")
            for item in self.store.query(pk, "", deadline_ms=0)
        ]
        return sorted(found)


@pytest.fixture
def place() -> Place:
    return Place()


def test_a_message_is_posted_as_it_is(place: Place) -> None:
    assert place.push(data="grüße".encode())
    assert place.gateway.posts == [("https://api/prod", "ada", "grüße".encode())]


def test_a_throttled_message_is_sent_again_and_waits_longer_each_time(place: Place) -> None:
    throttled = errors.PushThrottledError("later")
    place.gateway.answers["ada"] = [throttled, errors.PushError("500"), throttled, True]

    assert place.push()
    assert place.waits == [0.2, 0.4, 0.8]
    assert len(place.gateway.posts) == 4


def test_it_is_given_up_in_the_end(place: Place) -> None:
    place.gateway.answers["ada"] = [errors.PushThrottledError("later")]

    with pytest.raises(errors.PushThrottledError):
        place.push()
    assert len(place.gateway.posts) == RETRIES_MAX + 1


def test_it_is_given_up_at_the_deadline(place: Place) -> None:
    place.gateway.answers["ada"] = [errors.PushThrottledError("later")]

    with pytest.raises(errors.PushThrottledError):
        place.connections.push(
            {"connection_id": "ada"}, b"x", unit="1", deadline_ms=place.clock.now_ms + 900
        )
    assert place.waits == [0.2, 0.4]


def test_what_may_have_come_is_not_sent_again(place: Place) -> None:
    place.gateway.answers["ada"] = [errors.PushError("lost", sent=True), True]

    with pytest.raises(errors.PushError, match="lost"):
        place.push()
    assert len(place.gateway.posts) == 1


@pytest.mark.parametrize("error", [errors.SettingError("no"), errors.InvalidRequestError("no")])
def test_what_nothing_mends_is_not_tried_again(place: Place, error: Exception) -> None:
    place.gateway.answers["ada"] = [error, True]

    with pytest.raises(type(error)):
        place.push()
    assert len(place.gateway.posts) == 1


def test_who_is_gone_is_asked_once_in_a_unit_of_work(place: Place) -> None:
    place.gateway.answers["ada"] = [False]

    assert [place.push(), place.push(), place.push()] == [False] * 3
    assert len(place.gateway.posts) == 1
    place.gateway.answers["ada"] = [True]
    assert place.push(unit="2"), "another one may know it from before it was open"


def test_few_are_known_to_be_gone(place: Place) -> None:
    for number in range(GONE_MAX + 50):
        place.gateway.answers[f"c{number}"] = [False]
        assert not place.push(f"c{number}")

    assert len(place.connections._gone) == GONE_MAX


def test_a_group_is_told_and_left(place: Place) -> None:
    for name in ("ada", "bob"):
        place.join(name)
    place.join("ada", "hall")

    assert place.tell(b"hi") == {"delivered": 2, "gone": 0}
    assert {post[1:] for post in place.gateway.posts} == {("ada", b"hi"), ("bob", b"hi")}
    assert sorted(place.leave("ada")) == ["hall", "room"]
    assert place.tell() == {"delivered": 1, "gone": 0}
    assert place.items() == ["CONNECTION#bob GROUP#room", "GROUP#room CONNECTION#bob"]
    assert place.leave("ada") == []


def test_one_group_of_two_is_left(place: Place) -> None:
    place.join("ada")
    place.join("ada", "hall")

    assert place.leave("ada", "room") == ["room"]
    assert place.tell() == {"delivered": 0, "gone": 0}
    assert place.tell(group="hall") == {"delivered": 1, "gone": 0}


def test_joining_twice_is_joining_once(place: Place) -> None:
    for _ in range(2):
        place.join("ada")

    assert place.tell() == {"delivered": 1, "gone": 0}


@pytest.mark.parametrize("group", ["room #1", "räume/🐍", "%23", "a#b"])
def test_a_group_has_any_name(place: Place, group: str) -> None:
    place.join("ada", group)

    assert place.tell(group=group) == {"delivered": 1, "gone": 0}
    assert place.leave("ada") == [group]


def test_who_is_gone_leaves_all_his_groups(place: Place) -> None:
    for name in ("ada", "bob"):
        place.join(name)
    place.join("ada", "hall")
    place.clock.now_ms += CONNECTING_MS + 1
    place.gateway.answers["ada"] = [False]

    assert place.tell() == {"delivered": 1, "gone": 1}
    assert place.items() == ["CONNECTION#bob GROUP#room", "GROUP#room CONNECTION#bob"]


def test_a_message_of_his_own_finds_it_too(place: Place) -> None:
    place.join("ada")
    place.clock.now_ms += CONNECTING_MS + 1
    place.gateway.answers["ada"] = [False]

    assert not place.push()
    assert place.items() == []


def test_without_a_store_nothing_is_looked_for(place: Place) -> None:
    place.has_store = False
    place.gateway.answers["ada"] = [False]
    place.store = None  # type: ignore[assignment]

    assert not place.push()


def test_who_is_just_connecting_looks_gone_and_stays(place: Place) -> None:
    place.join("ada")
    place.gateway.answers["ada"] = [False, True]

    assert place.tell() == {"delivered": 0, "gone": 1}
    assert place.tell() == {"delivered": 1, "gone": 0}


def test_a_store_that_fails_now_leaves_the_cleaning_to_the_next_message(place: Place) -> None:
    place.join("ada")
    place.clock.now_ms += CONNECTING_MS + 1
    place.gateway.answers["ada"] = [False]
    delete, place.store.delete = place.store.delete, _unavailable  # type: ignore[method-assign,assignment]

    assert place.tell() == {"delivered": 0, "gone": 1}
    assert len(place.items()) == 2
    place.store.delete = delete  # type: ignore[method-assign]
    assert place.tell() == {"delivered": 0, "gone": 1}
    assert place.items() == []


def _unavailable(*_: Any, **__: Any) -> None:
    raise errors.StoreUnavailableError("throttled")


def test_a_leaving_that_is_cut_is_found_again(place: Place) -> None:
    place.join("ada")
    delete, calls = place.store.delete, []

    def once(key: Key, **more: Any) -> None:
        calls.append(key)
        if len(calls) == 2:
            raise errors.WriteUncertainError("lost")
        delete(key, **more)

    place.store.delete = once  # type: ignore[method-assign,assignment]
    with pytest.raises(errors.WriteUncertainError):
        place.leave("ada")
    assert place.items() == ["CONNECTION#ada GROUP#room"]
    assert place.tell() == {"delivered": 0, "gone": 0}
    assert place.leave("ada") == ["room"]
    assert place.items() == []


def test_a_joining_that_is_cut_is_in_no_group(place: Place) -> None:
    put, calls = place.store.put_if, []

    def once(action: Put, **more: Any) -> None:
        calls.append(action)
        if len(calls) == 2:
            raise errors.StoreUnavailableError("throttled")
        put(action, **more)

    place.store.put_if = once  # type: ignore[method-assign,assignment]
    with pytest.raises(errors.StoreUnavailableError):
        place.join("ada")
    assert place.tell() == {"delivered": 0, "gone": 0}
    place.join("ada")
    assert place.tell() == {"delivered": 1, "gone": 0}


def test_a_connection_ends_two_hours_after_it_was_opened(place: Place) -> None:
    opened = place.clock.now_ms
    place.clock.now_ms += 60 * MINUTES
    place.join("ada", connected_epoch_ms=opened)
    place.join("bob")
    place.clock.now_ms = opened + 120 * MINUTES

    assert place.tell() == {"delivered": 1, "gone": 0}
    assert [post[1] for post in place.gateway.posts] == ["bob"]
    expiries = [item.expires_at for item in place.store.query("GROUP#room", "", deadline_ms=0)]
    assert expiries == [opened // 1_000 + 7_200, opened // 1_000 + 10_800]


def test_each_is_written_to_by_the_api_that_he_came_by(place: Place) -> None:
    place.join("ada", api_id="one")
    place.join("bob", api_id="two")

    place.tell()
    assert {post[:2] for post in place.gateway.posts} == {
        ("https://one/prod", "ada"),
        ("https://two/prod", "bob"),
    }


def test_many_are_written_to_at_once(place: Place) -> None:
    for number in range(AT_ONCE):
        place.join(f"c{number}")
    place.gateway.gate = threading.Barrier(AT_ONCE)  # passed only by so many together

    assert place.tell() == {"delivered": AT_ONCE, "gone": 0}


def test_a_large_group_gets_each_message_once(place: Place) -> None:
    for number in range(200):
        place.join(f"c{number}")

    assert place.tell() == {"delivered": 200, "gone": 0}
    assert len({post[1] for post in place.gateway.posts}) == len(place.gateway.posts) == 200


def test_one_who_cannot_be_reached_keeps_it_from_nobody(place: Place) -> None:
    for name in ("ada", "bob", "cyd"):
        place.join(name)
    place.gateway.answers["bob"] = [errors.PushError("lost", sent=True)]

    with pytest.raises(errors.PushError, match="2 of 3 clients have got it"):
        place.tell()


def test_a_fault_of_ours_loses_nobody_without_a_word(place: Place) -> None:
    for number in range(40):
        place.join(f"c{number}")
    place.gateway.answers["c17"] = [ZeroDivisionError("ours")]

    with pytest.raises(ZeroDivisionError):
        place.tell()


def test_a_permission_that_is_missing_ends_it(place: Place) -> None:
    for number in range(200):
        place.join(f"c{number}")
        place.gateway.answers[f"c{number}"] = [errors.SettingError("not allowed")]

    with pytest.raises(errors.SettingError):
        place.tell()
    assert len(place.gateway.posts) <= 2 * AT_ONCE


@pytest.mark.parametrize(
    "attributes",
    [{"schema": 2, "address": "https://a/b", "at": 1}, {"schema": 1, "at": 1}, {"a": "b"}],
)
def test_what_is_newer_or_damaged_is_not_misread(place: Place, attributes: Any) -> None:
    key = Key("GROUP#room", "CONNECTION#ada")
    expires_at = place.clock.now_ms // 1_000 + 60
    place.store.put_if(Put(Item(key, attributes, expires_at)), deadline_ms=0)

    with pytest.raises(errors.StoreRefusedError, match=r"Update the layer|delete it"):
        place.tell()
