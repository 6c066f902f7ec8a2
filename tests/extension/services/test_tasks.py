"""Threads beside the caller: bounded, in order where that is asked for, never waiting in a ring."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, stack_size

import pytest

from lambdallm_extension import errors
from lambdallm_extension.services.tasks import WAITING_MAX, Deferred, Lane, Workers


def test_a_task_returns_or_raises_what_its_call_did() -> None:
    workers = Workers()

    def fail() -> None:
        raise ZeroDivisionError

    assert workers.start(lambda: 7).wait(5) == 7
    with pytest.raises(ZeroDivisionError):
        workers.start(fail).wait(5)


def test_waiting_ends_when_the_time_does() -> None:
    go = Event()
    task = Workers().start(lambda: go.wait(10))

    with pytest.raises(errors.DeadlineError):
        task.wait(0)
    go.set()
    assert task.wait(5)


def test_a_deferred_call_is_made_once_by_the_first_who_waits_for_it() -> None:
    go, begun = Event(), Event()
    made = Deferred(lambda: begun.set() or (go.wait(10) and current_thread()))
    first = Workers().start(lambda: (current_thread(), made.wait(5)))
    assert begun.wait(5)

    with pytest.raises(errors.DeadlineError):
        made.wait(0)
    go.set()
    thread, maker = first.wait(5)
    assert maker is thread
    assert made.wait(5) is thread


def test_a_deferred_call_that_fails_fails_for_everybody() -> None:
    made = Deferred(lambda: 1 // 0)

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            made.wait(5)


def test_threads_are_reused_and_never_more_than_allowed() -> None:
    workers, go = Workers(threads_max=3), Event()
    tasks = [workers.start(lambda: go.wait(10) and current_thread().name) for _ in range(10)]
    threads = [workers.start(current_thread) for _ in range(10)]
    go.set()

    assert all(task.wait(5) for task in tasks)
    assert len({task.wait(5).ident for task in threads}) <= 3


def test_more_waiting_calls_than_allowed_are_refused_with_words() -> None:
    workers, go, begun = Workers(threads_max=1), Event(), Event()
    first = workers.start(lambda: begun.set() or go.wait(10))
    begun.wait(5)
    waiting = [workers.start(lambda: True) for _ in range(WAITING_MAX)]

    with pytest.raises(errors.OverloadedError, match="try again") as refused:
        workers.start(lambda: True)
    assert refused.value.retryable
    lane = Lane(workers)
    with pytest.raises(errors.OverloadedError):
        lane.add(lambda: pytest.fail("It was refused."))
    go.set()
    assert first.wait(5)
    assert all(task.wait(5) for task in waiting)
    lane.wait(0)


@contextmanager
def no_more_threads() -> Iterator[None]:
    """Let every start of a thread fail, as where an environment has its 1,024 of them."""
    before = stack_size(1 << 46)  # more than a process can address
    try:
        yield
    finally:
        stack_size(before)


def test_where_no_thread_can_be_started_those_there_are_do_the_work() -> None:
    workers, go = Workers(threads_max=2), Event()
    busy = workers.start(lambda: go.wait(10))
    with no_more_threads():
        waiting = [workers.start(current_thread) for _ in range(3)]
    go.set()
    assert busy.wait(5)
    assert len({task.wait(5).ident for task in waiting}) == 1


def test_without_any_thread_a_call_is_refused_with_words_and_the_next_one_runs() -> None:
    workers = Workers(threads_max=1)
    with no_more_threads():
        for _ in range(2):
            with pytest.raises(errors.OverloadedError, match="No thread is left"):
                workers.start(lambda: True)

    assert workers.start(lambda: True).wait(5)


def test_a_lane_runs_in_order_and_ends_with_the_first_failure() -> None:
    lane, done, go = Lane(Workers()), [], Event()

    def fail() -> None:
        raise ZeroDivisionError

    lane.add(lambda: go.wait(10) and None)
    for number in range(50):
        lane.add(lambda number=number: done.append(number))
    lane.add(fail)
    lane.add(lambda: done.append(50))
    go.set()

    with pytest.raises(ZeroDivisionError):
        lane.wait(5)
    assert done == list(range(50))


def test_lanes_that_fill_every_thread_let_each_other_through() -> None:
    """A lane occupies a thread only while one of its calls runs."""
    workers = Workers(threads_max=2)
    lanes, done = [Lane(workers) for _ in range(20)], []
    for lane in lanes:
        lane.add(lambda: done.append(1))
        lane.add(lambda: done.append(1))
    for lane in lanes:
        lane.wait(5)

    assert len(done) == 40
