"""Who invoked a function and does not wait for the end of its streamed response."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from fakes.streaming_runtime import END, plan, write_runtime
from fakes.waiting import until
from lambda_runtime_api.emulator import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("awslambdaric")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    task_root = write_runtime(tmp_path / "runtime")
    with Environment(task_root, "none", timeout_seconds=20) as environment:
        yield environment


def printed(environment: Environment, begin: str) -> list[str]:
    texts = [line.text for line in environment.logs if line.source == "function"]
    return [text for text in texts if text.startswith(begin)]


def test_lambda_reads_on_when_the_caller_has_gone(environment: Environment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    steps = [["chunk", "one"], ["gate", str(gate)], ["flood", 10_000_000], *END]
    stream = environment.invoke_stream(plan(*steps))
    assert next(stream) == b"one"

    stream.close()
    gate.touch()

    assert list(stream) == []
    assert (stream.closed, stream.error, stream.result.error_type) == (True, None, None)
    environment.wait_until_idle()
    assert printed(environment, "told") == ['told 202 {"status":"OK"}']


def test_something_between_may_break_the_connection(
    environment: Environment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    steps = [["chunk", "one"], ["gate", str(gate)], ["flood", 10_000_000], ["say", "sent"], *END]
    stream = environment.invoke_stream(plan(*steps))
    assert next(stream) == b"one"

    stream.close(interrupt=True)
    assert stream.error is not None
    assert stream.error.error_type == "Runtime.TruncatedResponse"
    gate.touch()

    after = environment.invoke_stream(plan(["chunk", "two"], *END))
    assert (list(after), after.result.cold) == ([b"two"], False)
    assert printed(environment, "sent") == []
    assert len(printed(environment, "broken")) == 1


def test_it_may_be_broken_before_it_begins(environment: Environment, tmp_path: Path) -> None:
    stream = environment.invoke_stream(plan(["gate", str(tmp_path / "gate")], *END))
    stream.close(interrupt=True)
    (tmp_path / "gate").touch()

    assert stream.error is not None
    assert stream.error.error_type == "Runtime.TruncatedResponse"


def test_a_reader_who_waits_hears_that_the_stream_was_closed(
    environment: Environment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    stream = environment.invoke_stream(plan(["chunk", "one"], ["gate", str(gate)], *END))
    assert next(stream) == b"one"
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.extend(stream))
    reader.start()

    stream.close()
    reader.join(20)

    assert not reader.is_alive()
    assert read == []
    gate.touch()


def test_an_environment_that_ends_lets_its_streams_go(tmp_path: Path) -> None:
    task_root = write_runtime(tmp_path / "runtime")
    with Environment(task_root, "none", timeout_seconds=60) as environment:
        finished = environment.invoke_stream(plan(["chunk", "one"], *END))
        until(lambda: printed(environment, "told"))
        environment.wait_until_idle()
        unread = environment.invoke_stream(plan(["flood", 10_000_000], *END))
        assert unread.streamed

    assert (list(finished), finished.error) == ([b"one"], None)
    assert (list(unread), unread.error) == ([], None)
