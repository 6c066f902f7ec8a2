"""What another thread of the parent held at a fork stands in no child's way."""

from __future__ import annotations

import os
import signal
import threading
from _thread import RLock, allocate_lock
from typing import Any

import pytest

from lambdallm._forked_locks import ForkedLock


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("make", [allocate_lock, RLock])
def test_a_forked_child_has_a_lock_of_its_own(make: Any) -> None:
    lock, held, enough = ForkedLock(make), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            enough.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(5)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # whoever waits for the parent's thread waits for ever
        for _ in range(2):
            with lock:
                pass
        os._exit(0)
    _, status = os.waitpid(child, 0)
    enough.set()
    thread.join()

    assert status == 0


@pytest.mark.parametrize("make", [allocate_lock, RLock])
def test_threads_of_one_process_wait_for_each_other(make: Any) -> None:
    lock, entered = ForkedLock(make), 0

    def enter() -> None:
        nonlocal entered
        for _ in range(2_000):
            with lock:
                before = entered
                len(str(before))
                entered = before + 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert entered == 8_000
