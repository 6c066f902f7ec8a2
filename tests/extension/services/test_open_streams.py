"""Streams that are open: found by their unit, waited for, and booked when the environment ends."""

from threading import Thread, Timer
from typing import Any

import pytest

from lambdallm_extension.domain.answers import AnswerSoFar
from lambdallm_extension.services.open_streams import OpenStreams, Partial


class Booked:
    def __init__(self, streams: OpenStreams, *, waits_once: bool = False) -> None:
        self.times = 0
        self.waits_once = waits_once
        self._streams = streams

    def settle_now(self) -> None:
        self.times += 1
        self._streams.remove(self)  # as one that ends at the same time


@pytest.fixture
def streams() -> OpenStreams:
    return OpenStreams()


def opened(streams: OpenStreams, work_id: str, *call_ids: str) -> list[Any]:
    added = []
    for call_id in call_ids:
        stream = Booked(streams)
        streams.add(Partial(call_id, work_id, AnswerSoFar()), stream)
        added.append(stream)
    return added


def test_each_unit_has_its_own(streams: OpenStreams) -> None:
    first, _ = opened(streams, "w1", "a", "b")
    opened(streams, "w2", "c")

    assert [partial.call_id for partial in streams.of("w1")] == ["a", "b"]
    streams.remove(first)
    streams.remove(first)
    assert [partial.call_id for partial in streams.of("w1")] == ["b"]
    assert [partial.call_id for partial in streams.of("w2")] == ["c"]


def test_the_last_one_wakes_whoever_waits(streams: OpenStreams) -> None:
    assert streams.wait_for_none(0)
    one, another = opened(streams, "w", "a", "b")
    assert not streams.wait_for_none(0)
    answers: list[bool] = []
    waiting = Thread(target=lambda: answers.append(streams.wait_for_none(10)))
    waiting.start()
    streams.remove(one)
    streams.remove(another)
    waiting.join(10)

    assert answers == [True]


def test_one_that_nobody_reads_is_waited_for_once(streams: OpenStreams) -> None:
    left = Booked(streams, waits_once=True)
    streams.add(Partial("left", "w", AnswerSoFar()), left)
    assert not streams.wait_for_none(0), "a look is no waiting"
    assert not streams.wait_for_none(0.01)
    streams.add(Partial("later", "w2", AnswerSoFar()), later := Booked(streams))
    Timer(0.05, streams.remove, (later,)).start()

    assert not streams.wait_for_none(30), "it goes on, though nobody waits for it any more"
    streams.remove(later)
    assert not streams.wait_for_none(30)
    streams.remove(left)
    assert streams.wait_for_none(0)


def test_all_are_booked_when_the_environment_ends_and_waited_for_no_longer(
    streams: OpenStreams,
) -> None:
    added = opened(streams, "w", "a", "b", "c")
    streams.settle_all()
    streams.settle_all()

    assert [stream.times for stream in added] == [1, 1, 1]
    assert streams.wait_for_none(0)
    assert streams.of("w") == []
