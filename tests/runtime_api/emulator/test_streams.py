"""Streamed responses, from a bare runtime to whoever invoked it, and how each of them can end."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fakes.streaming_runtime import END, chunks, plan, write_runtime
from fakes.waiting import until
from lambda_runtime_api.emulator import Environment, InvocationStream, StreamError
from lambda_runtime_api.emulator.responses import TRAILERS_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("awslambdaric")

TRUNCATED = {
    "errorMessage": "The response ended before its last chunk.",
    "errorType": "Runtime.TruncatedResponse",
}


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    task_root = write_runtime(tmp_path / "runtime")
    with Environment(task_root, "none", timeout_seconds=20) as environment:
        yield environment


def printed(environment: Environment, begin: str) -> list[str]:
    texts = [line.text for line in environment.logs if line.source == "function"]
    return [text for text in texts if text.startswith(begin)]


def reports(environment: Environment) -> list[str]:
    return [line.text for line in environment.logs if line.text.startswith("REPORT")]


def receive(stream: InvocationStream, size: int) -> bytes:
    """Take this much, and no more pieces than that needs."""
    data = b""
    while len(data) < size:
        data += next(stream)
    return data


# What arrives.


def test_chunks_are_there_before_the_handler_ends(environment: Environment, tmp_path: Path) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]
    steps = [["chunk", "one"], ["gate", str(gates[0])], ["chunk", "two"], ["gate", str(gates[1])]]

    stream = environment.invoke_stream(plan(*steps, *END))

    assert stream.streamed
    assert stream.content_type == "text/plain"
    assert next(stream) == b"one"
    with pytest.raises(RuntimeError, match="to its end"):
        stream.result  # noqa: B018
    gates[0].touch()
    assert next(stream) == b"two"
    assert printed(environment, "told") == []
    gates[1].touch()
    assert list(stream) == []
    assert stream.error is None
    assert (stream.result.payload, stream.result.error_type) == (b"", None)
    environment.wait_until_idle()
    assert printed(environment, "told") == ['told 202 {"status":"OK"}']


def test_an_answer_that_is_not_streamed_is_one_piece(environment: Environment) -> None:
    headers = {"Content-Type": "application/json"}
    stream = environment.invoke_stream({"response": '{"a": 1}', "headers": headers})

    assert not stream.streamed
    assert stream.content_type == "application/json"
    assert list(stream) == [b'{"a": 1}']
    assert stream.error is None


def test_an_error_that_is_not_streamed_is_no_piece(environment: Environment) -> None:
    error = {"errorType": "ValueError", "errorMessage": "no"}
    stream = environment.invoke_stream({"error": json.dumps(error)})

    assert list(stream) == []
    assert not stream.streamed
    assert stream.error == StreamError("ValueError", error)


def test_a_streamed_response_may_be_empty(environment: Environment) -> None:
    stream = environment.invoke_stream(plan(*END))

    assert (list(stream), stream.streamed, stream.error) == ([], True, None)


@pytest.mark.parametrize("before", [(), ("one", "two")])
def test_the_trailers_tell_of_an_error(environment: Environment, before: tuple[str, ...]) -> None:
    error = {"errorMessage": "grün", "errorType": "ValueError"}
    steps = [*chunks(*before), ["fail", "ValueError", error], ["told"]]

    stream = environment.invoke_stream(plan(*steps))

    assert b"".join(stream) == "".join(before).encode()
    assert stream.error == StreamError("ValueError", error)
    assert stream.result.error_type == "ValueError"
    environment.wait_until_idle()
    assert printed(environment, "told") == ['told 202 {"status":"OK"}']
    assert "Status" not in reports(environment)[0]  # Lambda calls it a success


def test_trailers_that_were_not_announced_are_none(environment: Environment) -> None:
    steps = [["chunk", "one"], ["fail", "ValueError", {}], ["told"]]

    stream = environment.invoke_stream(plan(*steps, headers={"Trailer": ""}))

    assert (list(stream), stream.error) == ([b"one"], None)


@pytest.mark.parametrize(
    ("over", "error_type"), [(0, "Odd"), (1, "Runtime.TruncatedResponse")], ids=["within", "over"]
)
def test_longer_trailers_cut_the_response(
    environment: Environment, over: int, error_type: str
) -> None:
    begin = "Lambda-Runtime-Function-Error-Type: Odd\r\nLambda-Runtime-Function-Error-Body: "
    text = "A" * (TRAILERS_MAX_BYTES - len(begin) - len("\r\n\r\n") + over)
    step = ["raw", f"0\r\n{begin}{text}\r\n\r\n"]

    stream = environment.invoke_stream(plan(["chunk", "one"], step, ["told"]))

    assert b"".join(stream) == b"one"
    assert stream.error is not None
    assert stream.error.error_type == error_type
    assert list(environment.invoke_stream(plan(["chunk", "two"], *END))) == [b"two"]


def test_a_body_of_an_error_that_is_not_base64(environment: Environment) -> None:
    trailers = (
        "0\r\nLambda-Runtime-Function-Error-Type: Odd\r\n"
        "Lambda-Runtime-Function-Error-Body: {}\r\n\r\n"
    )
    stream = environment.invoke_stream(plan(["raw", trailers], ["told"]))

    assert (list(stream), stream.error) == ([], StreamError("Odd", ""))


def test_it_is_collected_for_who_waits(environment: Environment) -> None:
    error = {"errorMessage": "no"}

    whole = environment.invoke(plan(*chunks("one", "two"), *END))
    failed = environment.invoke(plan(["chunk", "one"], ["fail", "ValueError", error], ["told"]))

    assert (whole.payload, whole.error_type) == (b"onetwo", None)
    assert (failed.json(), failed.error_type) == (error, "ValueError")


# What goes wrong in the middle.


@pytest.mark.parametrize(
    "last",
    [[], [["half"], ["told"]], [["raw", "zz\r\n"], ["told"]], [["raw", "5\r\nabcde--"], ["told"]]],
    ids=["cut", "half closed", "not a size", "not a chunk's end"],
)
def test_a_response_that_is_truncated(environment: Environment, last: list[list[Any]]) -> None:
    first = environment.invoke_stream(plan(["chunk", "one"], *last))

    assert b"".join(first).startswith(b"one")
    assert first.error == StreamError("Runtime.TruncatedResponse", TRUNCATED)
    again = environment.invoke_stream(plan(["chunk", "two"], *END))
    assert (list(again), again.result.cold) == ([b"two"], False)  # the runtime goes on
    told = [text for text in printed(environment, "told") if "202" not in text]
    assert all("400" in text and "TruncatedHTTPRequest" in text for text in told)
    assert len(told) == (1 if last else 0)


def test_collected_it_is_an_error(environment: Environment) -> None:
    result = environment.invoke(plan(["chunk", "one"]))

    assert (result.json(), result.error_type) == (TRUNCATED, "Runtime.TruncatedResponse")


def test_the_runtime_dies(environment: Environment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    steps = [["chunk", "one"], ["gate", str(gate)], ["chunk", "two"], ["exit", 3]]
    stream = environment.invoke_stream(plan(*steps))

    assert next(stream) == b"one"
    gate.touch()
    assert list(stream) == [b"two"]
    assert stream.error == StreamError("Runtime.TruncatedResponse", TRUNCATED)
    assert environment.invoke_stream(plan(*END)).streamed
    report = reports(environment)[0]
    assert report.endswith("Status: error\tError Type: Runtime.ExitError")


def test_what_it_had_said_before_it_died_still_arrives(
    environment: Environment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    steps = [["chunk", "one"], ["gate", str(gate)], ["flood", 500_000], ["exit", 3]]
    stream = environment.invoke_stream(plan(*steps))
    assert next(stream) == b"one"

    gate.touch()
    until(lambda: "runtime" not in environment.pids)

    assert len(b"".join(stream)) == 500_000
    assert stream.error == StreamError("Runtime.TruncatedResponse", TRUNCATED)


def test_a_runtime_that_asks_for_more_as_it_cuts_its_stream(
    environment: Environment, tmp_path: Path
) -> None:
    """Whichever of both connections is looked at first."""
    gate = tmp_path / "gate"
    stream = environment.invoke_stream(plan(["chunk", "one"], ["gate", str(gate)], ["early"]))
    assert next(stream) == b"one"

    gate.touch()

    assert list(stream) == []
    assert stream.error == StreamError("Runtime.TruncatedResponse", TRUNCATED)
    after = environment.invoke("next")
    assert (after.payload, after.cold) == (b'"early"', False)


def test_a_timeout(tmp_path: Path) -> None:
    task_root = write_runtime(tmp_path / "runtime")
    hanging = plan(["chunk", "one"], ["gate", str(tmp_path / "never")])
    with Environment(task_root, "none", timeout_seconds=1) as environment:
        stream = environment.invoke_stream(hanging)
        received = list(stream)
        collected = environment.invoke(hanging)
        after = environment.invoke_stream(plan(["chunk", "two"], *END))
        assert (list(after), after.result.cold) == ([b"two"], True)

    assert received == [b"one"]
    assert stream.error is not None
    assert stream.error.error_type == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in str(stream.error.body)
    assert collected.error_type == "Sandbox.Timedout"


def test_who_does_not_read_holds_the_runtime_up_until_its_timeout(tmp_path: Path) -> None:
    task_root = write_runtime(tmp_path / "runtime")
    with Environment(task_root, "none", timeout_seconds=1.5) as environment:
        stream = environment.invoke_stream(plan(["flood", 50_000_000], ["say", "sent"], *END))
        environment.wait_until_idle()
        assert printed(environment, "sent") == []
        assert len(b"".join(stream)) <= 65_536  # all that was ever waiting
        assert stream.error is not None
        assert stream.error.error_type == "Sandbox.Timedout"


@pytest.mark.parametrize("size", [200 * 1_048_576 + 1])
def test_more_than_may_be_streamed(environment: Environment, size: int) -> None:
    stream = environment.invoke_stream(plan(["flood", size], *END))

    assert sum(map(len, stream)) == 200 * 1_048_576
    assert stream.error is not None
    assert stream.error.error_type == "Function.ResponseSizeTooLarge"
    environment.wait_until_idle()
    [told] = printed(environment, "told")
    assert told.startswith("told 413")
    assert "RequestEntityTooLarge" in told


@pytest.mark.parametrize("size", [6_291_557, 40_000_000])
def test_more_than_may_be_collected(environment: Environment, size: int) -> None:
    """The runtime is told, even while it is still sending."""
    fits = environment.invoke(plan(["flood", 6_291_556], *END))
    result = environment.invoke(plan(["flood", size], *END))

    assert (len(fits.payload), fits.error_type) == (6_291_556, None)
    assert result.error_type == "Function.ResponseSizeTooLarge"
    environment.wait_until_idle()
    assert "RequestEntityTooLarge" in printed(environment, "told 413")[0]


def test_a_mode_that_does_not_exist(environment: Environment) -> None:
    headers = {"Lambda-Runtime-Function-Response-Mode": "chunky"}
    stream = environment.invoke_stream({"response": "x", "headers": headers})

    assert list(stream) == []
    error_type = "Runtime.InvalidResponseModeHeader"
    assert stream.error == StreamError(error_type, {"errorType": error_type})
    environment.wait_until_idle()
    assert '"InvalidFunctionResponseMode"' in printed(environment, "told 400")[0]


def test_what_is_not_allowed_in_the_middle(environment: Environment, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    begun = [["chunk", "one"], ["gate", str(gate)]]
    stream = environment.invoke_stream(
        plan(*begun, ["next"], ["error", "{}"], ["chunk", "two"], *END)
    )

    assert next(stream) == b"one"
    gate.touch()
    assert b"".join(stream) == b"two"
    environment.wait_until_idle()
    refused = "State transition from InvocationResponse to {} failed for runtime. "
    [asked] = printed(environment, "next")
    assert asked.startswith("next 403")
    assert refused.format("Ready") in asked
    [said] = printed(environment, "told 403")
    assert refused.format("InvocationErrorResponse") in said


def test_a_response_to_another_invocation(tmp_path: Path) -> None:
    task_root = write_runtime(tmp_path / "runtime")
    with Environment(task_root, "none", timeout_seconds=1) as environment:
        stream = environment.invoke_stream(plan(["told"], id="unknown"))

        assert (list(stream), stream.streamed) == ([], False)
        assert '"InvalidRequestID"' in printed(environment, "told 400")[0]


# One after the other.


def test_the_next_invocation_waits_for_the_end_of_the_stream(
    environment: Environment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first = environment.invoke_stream(plan(["chunk", "one"], ["gate", str(gate)], *END))
    assert next(first) == b"one"
    second: list[bytes] = []
    waiting = threading.Thread(
        target=lambda: second.extend(environment.invoke_stream(plan(["chunk", "two"], *END)))
    )
    waiting.start()

    gate.touch()
    assert list(first) == []
    waiting.join(20)

    assert second == [b"two"]
    environment.wait_until_idle()
    starts = [line.text for line in environment.logs if line.text.startswith(("START", "END"))]
    assert [text.partition(" ")[0] for text in starts] == ["START", "END"] * 2


def test_chunks_that_come_together_may_arrive_together(environment: Environment) -> None:
    texts = [f"{number} " for number in range(1_000)]
    stream = environment.invoke_stream(plan(*chunks(*texts), *END))

    assert receive(stream, len("".join(texts))).decode() == "".join(texts)
    assert list(stream) == []
