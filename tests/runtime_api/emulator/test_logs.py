"""Lines from pipes: whole, in order, and there when they are asked for."""

from __future__ import annotations

import os
import sys
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


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns all the time, so that each meets the others at every point."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
@pytest.mark.timeout(20)
def test_asking_right_after_a_line_always_ends(pump: LogPump) -> None:
    """A request must not be left lying when its wake-up arrives together with a line."""
    pipe = pump.open_pipe("function")
    for number in range(1, 5_001):
        os.write(pipe, b"line\n")
        assert pump.count == number
    os.close(pipe)


def test_lines_stay_after_the_end() -> None:
    pump = LogPump()
    pump.note("kept")
    pump.close()

    assert pump.lines_from(0) == [LogLine("platform", "kept")]
