"""Lines from pipes: whole, in order, and there when they are asked for."""

from __future__ import annotations

import os
import queue
import threading
from typing import TYPE_CHECKING

import pytest

from lambda_runtime_api.emulator.logs import LogLine, LogPump

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pump() -> Iterator[LogPump]:
    pump = LogPump()
    yield pump
    pump.close()


def test_what_was_printed_is_there_when_asked_for(pump: LogPump) -> None:
    function, extension = pump.open_pipe("function"), pump.open_pipe("extension")
    os.write(function, b"one\ntw")
    pump.note("between")
    first = pump.lines_from(0)
    os.write(extension, b"other\r\n")
    os.write(function, b"o\nrest")
    os.close(function)
    second = pump.lines_from(len(first))
    os.close(extension)

    assert sorted(first) == [LogLine("function", "one"), LogLine("platform", "between")]
    assert sorted(second) == [
        LogLine("extension", "other"),
        LogLine("function", "rest"),
        LogLine("function", "two"),
    ]


@pytest.mark.timeout(30)
def test_asking_while_a_line_comes_always_ends(pump: LogPump) -> None:
    """A request must not be left lying when its wake-up is taken together with a line."""
    pipe = pump.open_pipe("function")
    delays: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def print_lines() -> None:
        while (delay := delays.get()) is not None:
            for _ in range(delay):
                pass
            os.write(pipe, b"line\n")

    printer = threading.Thread(target=print_lines, daemon=True)
    printer.start()
    for delay in range(12_000):
        delays.put(delay % 400)
        assert pump.count <= delay + 1
    delays.put(None)
    printer.join()
    os.close(pipe)

    assert pump.count == 12_000


def test_lines_stay_after_the_end() -> None:
    pump = LogPump()
    pump.note("kept")
    pump.close()

    assert pump.lines_from(0) == [LogLine("platform", "kept")]


@pytest.mark.parametrize("times", [100, pytest.param(1_000, marks=pytest.mark.slow)])
def test_it_may_end_before_it_is_woken(times: int) -> None:
    """A line that comes lets its thread see that it is to end, before it is told so."""
    for _ in range(times):
        pump = LogPump()
        pipe = pump.open_pipe("function")
        ended = threading.Event()

        def print_lines(pipe: int = pipe, ended: threading.Event = ended) -> None:
            while not ended.is_set():
                try:
                    os.write(pipe, b"line\n")
                except BrokenPipeError:  # nobody reads any more
                    break
            os.close(pipe)

        printer = threading.Thread(target=print_lines)
        printer.start()
        pump.close()
        ended.set()
        printer.join()
