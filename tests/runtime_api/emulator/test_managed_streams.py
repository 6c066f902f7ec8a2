"""Streamed responses of Managed Instances: several at once, and none ends another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes.streaming_runtime import END, chunks, plan, write_runtime
from fakes.waiting import until
from lambda_runtime_api.emulator import Environment, StreamError

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("awslambdaric")


def managed(tmp_path: Path, timeout_seconds: float = 20) -> Environment:
    task_root = write_runtime(tmp_path / "runtime")
    return Environment(task_root, "none", timeout_seconds=timeout_seconds, managed_concurrency=2)


def printed(environment: Environment, begin: str) -> list[str]:
    return [line.text for line in environment.logs if line.text.startswith(begin)]


def test_two_streams_at_once(tmp_path: Path) -> None:
    gates = [tmp_path / "one", tmp_path / "two"]
    with managed(tmp_path) as environment:
        first, second = (
            environment.invoke_stream(plan(["chunk", gate.name], ["gate", str(gate)], *END))
            for gate in gates
        )
        assert (next(first), next(second)) == (b"one", b"two")
        gates[1].touch()
        assert list(second) == []
        gates[0].touch()
        assert list(first) == []
        assert (first.error, second.error) == (None, None)


def test_it_is_collected_for_who_waits(tmp_path: Path) -> None:
    with managed(tmp_path) as environment:
        result = environment.invoke(plan(*chunks("one", "two"), *END))

    assert (result.payload, result.error_type) == (b"onetwo", None)


def test_the_trailers_tell_of_an_error(tmp_path: Path) -> None:
    error = {"errorMessage": "no", "errorType": "ValueError"}
    with managed(tmp_path) as environment:
        stream = environment.invoke_stream(
            plan(["chunk", "one"], ["fail", "ValueError", error], ["told"])
        )
        assert list(stream) == [b"one"]

    assert stream.error == StreamError("ValueError", error)


def test_a_response_that_is_cut(tmp_path: Path) -> None:
    with managed(tmp_path) as environment:
        stream = environment.invoke_stream(plan(["chunk", "one"]))
        assert list(stream) == [b"one"]
        assert stream.error is not None
        assert stream.error.error_type == "Runtime.TruncatedResponse"
        assert environment.invoke(plan(["chunk", "two"], *END)).payload == b"two"


def test_a_timeout_tells_the_caller_and_then_the_worker(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    steps = [["chunk", "one"], ["gate", str(gate)], ["chunk", "two"], ["told"]]
    with managed(tmp_path, timeout_seconds=1) as environment:
        before = environment.pids["runtime"]
        stream = environment.invoke_stream(plan(*steps))
        assert list(stream) == [b"one"]
        assert stream.error is not None
        assert stream.error.error_type == "Sandbox.Timedout"
        gate.touch()
        until(lambda: printed(environment, "told"))
        assert '"InvokeTimeout"' in printed(environment, "told 410")[0]
        assert environment.pids["runtime"] == before


def test_the_runtime_dies(tmp_path: Path) -> None:
    with managed(tmp_path) as environment:
        gate = tmp_path / "gate"
        stream = environment.invoke_stream(plan(["chunk", "one"], ["gate", str(gate)], ["exit", 3]))
        assert next(stream) == b"one"
        gate.touch()
        assert list(stream) == []
        assert stream.error is not None
        assert stream.error.error_type == "Runtime.TruncatedResponse"


def test_an_answer_is_begun_once(tmp_path: Path) -> None:
    """Another one is refused meanwhile; an error is taken, and ends the stream."""
    gate = tmp_path / "gate"
    steps = [["chunk", "one"], ["error", '{"errorType": "Late"}'], ["gate", str(gate)], *END]
    with managed(tmp_path) as environment:
        stream = environment.invoke_stream(plan(*steps))
        assert b"".join(stream) == b"one"
        assert stream.error == StreamError("Late", {"errorType": "Late"})
        gate.touch()
        until(lambda: printed(environment, "told 400"))
        assert printed(environment, "told 202")


def test_who_closes_stops_nobody(tmp_path: Path) -> None:
    with managed(tmp_path) as environment:
        gone = environment.invoke_stream(plan(["flood", 1_000_000], *END))
        gone.close()
        assert gone.error is None
        broken = environment.invoke_stream(plan(["flood", 50_000_000], *END))
        next(broken)
        broken.close(interrupt=True)
        assert broken.error is not None
        assert broken.error.error_type == "Runtime.TruncatedResponse"
        assert environment.invoke(plan(["chunk", "two"], *END)).payload == b"two"
