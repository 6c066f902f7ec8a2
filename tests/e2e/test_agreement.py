"""Our emulator against AWS's: the same function and the same extension see the same things.

Where the two differ on purpose, the difference has a name here; nothing else may differ.

* **Reasons**: ours says `spindown`, `timeout` and `failure` as the service does; AWS's emulator
  has words of its own (`REASONS`).
* **Early answer**: ours answers the caller when the runtime has answered, as the service does;
  AWS's emulator waits for the extensions, and turns their crash into the caller's failure.
* **Timeout's payload**: ours sends the service's JSON, AWS's emulator a bare sentence.
* **Second attempt**: ours repeats a failed Init phase inside the invocation, as the service does;
  AWS's emulator fails the invocation, and repeats it in the next one.
* **Account and trace**: ours tells the account's number when asked and always sends a trace.
* **Text of parsing errors**: it is the JSON parser's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from e2e.conftest import Start
    from lambda_runtime_api.emulator import Invocation

REASONS = {"SandboxTerminated": "spindown", "ReleaseFail": "failure", "Timeout": "timeout"}

PROGRAMS = Path(__file__).with_name("programs")

FUNCTION = """
import os, signal, sys, time

print("imported")

def handler(event, context):
    print("called")
    time.sleep(event.get("sleep", 0))
    if "exit" in event:
        os._exit(event["exit"])
    if "kill" in event:
        os.kill(os.getpid(), signal.SIGKILL)
    if "raise" in event:
        raise ValueError(event["raise"])
    if "large" in event:
        return "x" * event["large"]
    return {"event": event, "client": context.client_context and context.client_context.custom,
            "remaining": 0 < context.get_remaining_time_in_millis() <= 20_000,
            "id": context.aws_request_id, "arn": context.invoked_function_arn.split(":")[-1]}
"""

TOO_LONG = {"sleep": 60}


class Seen(NamedTuple):
    """What came of a series of invocations, without what differs by nature or on purpose."""

    outcomes: list[tuple[Any, ...]]
    extension: list[tuple[str, Any]]
    function: list[str]


@pytest.fixture
def opt(tmp_path: Path) -> Path:
    folder = tmp_path / "opt"
    (folder / "extensions").mkdir(parents=True)
    shutil.copy(PROGRAMS / "watcher", folder / "extensions")
    return folder


def watch(start: Start, events: list[Any], plan: dict[str, Any] | None, opt: Path | None) -> Seen:
    """Invoke, shut down, and tell what was seen."""
    with start(
        {"app.py": FUNCTION},
        opt=opt,
        timeout_seconds=2 if TOO_LONG in events else 20,
        variables={"EXTENSION_PLAN": json.dumps(plan or {})},
    ) as environment:
        results = [environment.invoke(event) for event in events]
        environment.wait_until_idle()
        pids = environment.pids
        environment.shutdown()
        logs = environment.logs
    assert not [pid for pid in pids.values() if alive(pid)]
    said = [json.loads(line.text) for line in logs if line.source == "extension" and line.text]
    return Seen(
        [outcome(result) for result in results],
        [(what, plain(value)) for what, value in said],
        [line.text.partition("\r")[0] for line in logs if line.source == "function"],
    )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def outcome(result: Invocation) -> tuple[Any, ...]:
    assert len(result.request_id) == 36
    assert (result.init_ms is not None) <= result.cold
    try:
        payload = json.loads(result.payload)
    except ValueError:
        payload = {"errorMessage": result.payload.decode()}
    if isinstance(payload, dict):
        if result.error_type == "Sandbox.Timedout":
            payload = {"errorMessage": payload["errorMessage"].partition("Error: ")[2] or
                       payload["errorMessage"]}  # fmt: skip
        if payload.get("id") == result.request_id:
            payload["id"] = "ours"
        payload.pop("requestId", None)
        payload.pop("stackTrace", None)
        for name, value in payload.items():
            if isinstance(value, str):
                payload[name] = value.replace(result.request_id, "ID")
    return payload, result.error_type, result.cold


def plain(value: Any) -> Any:
    status, answer = value
    if isinstance(answer, dict):
        answer = {
            name: field
            for name, field in answer.items()
            if name not in ("accountId", "requestId", "deadlineMs", "invokedFunctionArn", "tracing")
        }
        reason = answer.get("shutdownReason")
        if reason:
            answer["shutdownReason"] = REASONS.get(reason, reason)
        if (
            answer.get("errorType") == "InvalidRequestFormat"
            and "keys" not in answer["errorMessage"]
        ):
            answer["errorMessage"] = "the parser's"
        if "failed for extension " in answer.get("errorMessage", ""):
            words = answer["errorMessage"].split(" failed for extension ")
            name = words[1].partition(".")[0]
            answer["errorMessage"] = f"{words[0]} / {'name' if name == 'watcher' else 'id'}"
    return status, answer


def compare(
    both: tuple[Start, Start], events: list[Any], plan: dict[str, Any] | None, opt: Path | None
) -> Seen:
    ours, theirs = (watch(start, events, plan, opt) for start in both)
    assert ours == theirs
    return ours


def test_register_refusals(both: tuple[Start, Start], opt: Path) -> None:
    seen = compare(both, [{}], {"refusals": True}, opt)

    said = dict(seen.extension)
    assert said["no name"] == (
        403,
        {"errorMessage": "Empty extension name", "errorType": "Extension.InvalidExtensionName"},
    )
    assert len(said) == 9 + 1 + 4 + 6 + 2 + 1


def test_internal_extensions_are_counted(both: tuple[Start, Start], opt: Path) -> None:
    ours, theirs = (watch_refusals(start, {"internal": True}, opt) for start in both)

    assert ours == theirs
    assert ours["internal 9"][1]["errorType"] == "Extension.TooManyExtensions"


def watch_refusals(start: Start, plan: dict[str, Any], opt: Path) -> dict[str, Any]:
    """Let the extension speak during INIT; its internal ones never ask for an event."""
    with start(
        {"app.py": FUNCTION},
        opt=opt,
        timeout_seconds=1,
        variables={"EXTENSION_PLAN": json.dumps(plan)},
        **({"init_seconds": 1.0} if start.name == "emulator" else {}),
    ) as environment:
        environment.invoke({})
        logs = environment.logs
    said = [json.loads(line.text) for line in logs if line.source == "extension"]
    return {what: plain(value) for what, value in said if what.startswith("internal")}


def test_events(both: tuple[Start, Start], opt: Path) -> None:
    seen = compare(both, [{"a": 1}, {"b": [2]}], None, opt)

    assert [what for what, _ in seen.extension] == ["registered", "event", "event", "event"]
    assert seen.extension[-1] == (
        "event",
        (200, {"eventType": "SHUTDOWN", "shutdownReason": "spindown"}),
    )
    assert [outcome[2] for outcome in seen.outcomes] == [True, False]
    assert seen.function == ["imported", "called", "called"]


def test_what_an_invoke_event_says(host: Start, opt: Path) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    with host({"app.py": FUNCTION}, opt=opt, variables={"EXTENSION_PLAN": "{}"}) as environment:
        result = environment.invoke({}, headers={"X-Amzn-Trace-Id": trace})
        environment.shutdown()
        lines = [line.text for line in environment.logs if line.source == "extension"]
    event = json.loads(lines[1])[1][1]

    assert event.pop("deadlineMs") > 1_700_000_000_000
    assert event.pop("invokedFunctionArn").endswith(":function:function")
    assert event == {
        "eventType": "INVOKE",
        "requestId": result.request_id,
        "tracing": {"type": "X-Amzn-Trace-Id", "value": trace},
    }


@pytest.mark.parametrize("event", [{"exit": 0}, {"exit": 3}, {"kill": True}], ids=str)
@pytest.mark.parametrize("extension", [True, False], ids=["extension", "none"])
def test_the_runtime_crashes(
    both: tuple[Start, Start], opt: Path, event: dict[str, Any], extension: bool
) -> None:
    event = {**event, "sleep": 0.3}  # a faster crash may overtake the extension's event
    seen = compare(both, [{}, event, {}], None, opt if extension else None)

    assert [outcome[1:] for outcome in seen.outcomes] == [
        (None, True),
        ("Runtime.ExitError", False),
        (None, True),
    ]
    reasons = [value[1].get("shutdownReason") for _, value in seen.extension]
    assert [reason for reason in reasons if reason] == ["failure", "spindown"] * extension


@pytest.mark.parametrize("status", [0, 1])
def test_an_extension_ends_while_the_handler_works(
    both: tuple[Start, Start], opt: Path, status: int
) -> None:
    """With any status, 0 included, it takes the invocation and the environment with it."""
    ours, theirs = (watch(start, [{"sleep": 0.3}, {}], {"exit": status}, opt) for start in both)

    assert [outcome[1:] for outcome in ours.outcomes] == [
        ("Extension.Crash", False ^ True),
        (None, True),
    ]
    assert [outcome[1:] for outcome in theirs.outcomes] == [
        outcome[1:] for outcome in ours.outcomes
    ]
    assert ours.extension == theirs.extension


def test_an_extension_reports_that_it_leaves(both: tuple[Start, Start], opt: Path) -> None:
    ours, theirs = (watch(start, [{"sleep": 0.3}, {}], {"exit/error": 1}, opt) for start in both)

    assert [outcome[1:] for outcome in ours.outcomes] == [
        ("Extension.ExitError", True),
        (None, True),
    ]
    assert [outcome[1:] for outcome in theirs.outcomes] == [
        outcome[1:] for outcome in ours.outcomes
    ]
    assert ours.extension == theirs.extension


def test_init_error_is_for_init_alone(both: tuple[Start, Start], opt: Path) -> None:
    seen = compare(both, [{}], {"late init/error": True}, opt)

    assert ("late init/error", (403, {
        "errorMessage": "State transition from Running to InitError / id",
        "errorType": "Extension.InvalidExtensionState",
    })) in seen.extension  # fmt: skip


@pytest.mark.parametrize("plan", [{"init/error": 1}, {"exit at start": 1}], ids=str)
def test_an_extension_fails_in_init(
    both: tuple[Start, Start], opt: Path, plan: dict[str, Any]
) -> None:
    """Named difference: ours has begun anew when the caller's first invocation runs."""
    ours, theirs = (watch(start, [{}, {}], plan, opt) for start in both)

    expected = "Extension.InitError" if "init/error" in plan else "Extension.Crash"
    assert [outcome[1:] for outcome in ours.outcomes] == [(None, True), (None, False)]
    assert [outcome[1:] for outcome in theirs.outcomes] == [(expected, True), (None, True)]


@pytest.mark.parametrize("extension", [True, False], ids=["extension", "none"])
def test_the_function_times_out(both: tuple[Start, Start], opt: Path, extension: bool) -> None:
    seen = compare(both, [{}, TOO_LONG, {}], None, opt if extension else None)

    assert [outcome[1:] for outcome in seen.outcomes] == [
        (None, True),
        ("Sandbox.Timedout", False),
        (None, True),
    ]
    assert seen.outcomes[1][0] == {"errorMessage": "Task timed out after 2.00 seconds"}
    reasons = [value[1].get("shutdownReason") for _, value in seen.extension]
    assert [reason for reason in reasons if reason] == ["timeout", "spindown"] * extension


@pytest.mark.slow
def test_an_extension_ignores_shutdown(both: tuple[Start, Start], opt: Path) -> None:
    compare(both, [{}], {"ignore shutdown": True}, opt)


@pytest.mark.parametrize("events", [[], ["INVOKE"], ["SHUTDOWN"]], ids=str)
def test_what_an_extension_subscribes_to(
    both: tuple[Start, Start], opt: Path, events: list[str]
) -> None:
    seen = compare(both, [{}, {}], {"events": events}, opt)

    kinds = [value[1]["eventType"] for what, value in seen.extension if what == "event"]
    assert kinds == ["INVOKE", "INVOKE"] * ("INVOKE" in events) + ["SHUTDOWN"] * (
        "SHUTDOWN" in events
    )


@pytest.mark.parametrize("handler", ["app.missing", "nothing.handler"])
def test_an_unknown_handler(both: tuple[Start, Start], handler: str) -> None:
    results = []
    for start in both:
        with start({"app.py": FUNCTION}, handler) as environment:
            results.append([outcome(environment.invoke({})) for _ in range(2)])

    assert results[0] == results[1]
    assert results[0][0][1] == {
        "app.missing": "Runtime.HandlerNotFound",
        "nothing.handler": "Runtime.ImportModuleError",
    }[handler]  # fmt: skip


def test_a_handler_raises(both: tuple[Start, Start], opt: Path) -> None:
    seen = compare(both, [{"raise": "no"}, {}], None, opt)

    assert seen.outcomes[0][:2] == ({"errorMessage": "no", "errorType": "ValueError"}, "ValueError")
    assert seen.outcomes[1][2] is False


def test_a_file_that_is_no_program(both: tuple[Start, Start], opt: Path) -> None:
    """Whatever lies beside the extension is started too, and breaks the function for good."""
    (opt / "extensions" / "notes.txt").write_text("not a program")

    seen = [watch_failing(start, opt) for start in both]

    assert seen[0] == seen[1] == ["Extension.LaunchError", "Extension.LaunchError"]


def watch_failing(start: Start, opt: Path) -> list[str | None]:
    with start(
        {"app.py": FUNCTION}, opt=opt, variables={"EXTENSION_PLAN": "{}"}, timeout_seconds=20
    ) as environment:
        return [environment.invoke({}).error_type for _ in range(2)]


def test_a_crash_between_invocations(both: tuple[Start, Start], opt: Path) -> None:
    for start in both:
        with start(
            {"app.py": FUNCTION}, opt=opt, variables={"EXTENSION_PLAN": "{}"}
        ) as environment:
            environment.invoke({})
            environment.wait_until_idle()
            os.kill(environment.pids["runtime"], signal.SIGKILL)
            outcomes = [outcome(environment.invoke({}))[1] for _ in range(2)]

        assert outcomes == ["Runtime.ExitError", None], start.name


def test_refusals_of_the_runtime_api(both: tuple[Start, Start]) -> None:
    answers = []
    for start in both:
        with start({"bootstrap": (PROGRAMS / "runtime").read_text()}) as environment:
            answers.append([json.loads(environment.invoke({}).payload) for _ in range(2)])

    assert answers[0] == answers[1]
    assert len(answers[0][1]) == 6


def test_a_response_that_is_too_large(both: tuple[Start, Start]) -> None:
    for start in both:
        with start({"app.py": FUNCTION}) as environment:
            result = environment.invoke({"large": 6_300_000})
            environment.wait_until_idle()

            assert result.error_type == "Function.ResponseSizeTooLarge", start.name
            assert environment.invoke({}).error_type is None
