"""Code that may never return runs on a thread of its own, which is left at the deadline."""

import os
import signal
import threading

import pytest

from fakes.waiting import until
from lambdallm import _bounded_calls, _settings
from lambdallm._bounded_calls import BoundedCall, OverdueError


def later() -> int:
    return _settings.epoch_ms() + 60_000


def test_whatever_it_raises_is_raised_in_its_caller() -> None:
    def leave() -> None:
        raise SystemExit(3)

    with BoundedCall("mine", later()) as bounded:
        with pytest.raises(SystemExit):
            bounded.run(leave)
        assert bounded.run(lambda: 7) == 7


def test_nothing_is_run_when_the_time_is_over() -> None:
    ran: list[int] = []
    with BoundedCall("mine", _settings.epoch_ms()) as bounded, pytest.raises(OverdueError):
        bounded.run(lambda: ran.append(1))

    assert ran == []


def test_one_inside_another_gets_a_thread_of_its_own() -> None:
    def inner() -> int:
        with BoundedCall("inner", later()) as bounded:
            return bounded.run(threading.get_ident)

    with BoundedCall("outer", later()) as bounded:
        idents = {threading.get_ident(), bounded.run(threading.get_ident), bounded.run(inner)}

    assert len(idents) == 3


def test_many_at_once_each_get_their_own_answer_and_few_threads_stay() -> None:
    results: list[tuple[int, int]] = []

    def ask(number: int) -> None:
        for _ in range(50):
            with BoundedCall("mine", later()) as bounded:
                results.append((number, bounded.run(lambda: number)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == 800
    assert all(asked == answered for asked, answered in results)
    assert len(_bounded_calls._idle) <= _bounded_calls.IDLE_MAX


class InterruptedByTestError(Exception):
    """Raised by a signal's handler."""


def test_a_signal_may_end_the_waiting_and_what_was_begun_is_left() -> None:
    interrupted, silent, freed = threading.Event(), threading.Event(), threading.Event()

    def interrupt(*_: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise InterruptedByTestError

    def act() -> None:
        while not interrupted.wait(0.01):  # one that comes right before the waiting does not end it
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        silent.set()
        freed.wait()

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with BoundedCall("mine", later()) as bounded, pytest.raises(InterruptedByTestError):
            bounded.run(act)
        assert silent.wait(10), "no signal comes when it has its old meaning again"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert _bounded_calls._left == 1
    freed.set()
    until(lambda: _bounded_calls._left == 0)


def test_closing_waits_no_longer_than_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded_calls, "CLOSE_SECONDS", 600)
    freed = threading.Event()
    with BoundedCall("mine", _settings.epoch_ms() + 200) as bounded:
        bounded.holds(freed.wait)

    assert _bounded_calls._left == 1
    freed.set()
    until(lambda: _bounded_calls._left == 0)


def test_a_forked_child_has_threads_of_its_own() -> None:
    with BoundedCall("mine", later()) as bounded:
        bounded.run(os.getpid)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with BoundedCall("mine", _settings.epoch_ms() + 5_000) as bounded:
            os.write(writing, b"%d" % bounded.run(os.getpid))
        os._exit(0)
    os.close(writing)
    try:
        assert os.read(reading, 20) == b"%d" % child
    finally:
        os.close(reading)
        os.waitpid(child, 0)
