"""Our emulator against AWS's: the same function and the same extension see the same things.

Where the two differ on purpose, `agreement` names the difference. What fails is in
`test_agreement_faults`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.agreement import FUNCTION, compare, outcome, plain, side_by_side

if TYPE_CHECKING:
    from e2e.conftest import Start

PROGRAMS = Path(__file__).with_name("programs")


def test_register_refusals(both: tuple[Start, Start], watcher: Path) -> None:
    seen = compare(both, [{}], {"refusals": True}, watcher)

    said = dict(seen.extension)
    assert said["no name"] == (
        403,
        {"errorMessage": "Empty extension name", "errorType": "Extension.InvalidExtensionName"},
    )
    assert len(said) == 9 + 1 + 4 + 6 + 2 + 1


def test_internal_extensions_are_counted(both: tuple[Start, Start], watcher: Path) -> None:
    ours, theirs = side_by_side(
        both, lambda start: watch_refusals(start, {"internal": True}, watcher)
    )

    assert ours == theirs
    assert ours["internal 9"][1]["errorType"] == "Extension.TooManyExtensions"


def watch_refusals(start: Start, plan: dict[str, Any], watcher: Path) -> dict[str, Any]:
    """Let the extension speak during INIT; its internal ones never ask for an event."""
    with start(
        {"app.py": FUNCTION},
        opt=watcher,
        timeout_seconds=2,
        variables={"EXTENSION_PLAN": json.dumps(plan)},
        **({"init_seconds": 2.0} if start.name == "emulator" else {}),
    ) as environment:
        environment.invoke({})
        logs = environment.logs
    said = [json.loads(line.text) for line in logs if line.source == "extension"]
    return {what: plain(value) for what, value in said if what.startswith("internal")}


def test_events(both: tuple[Start, Start], watcher: Path) -> None:
    seen = compare(both, [{"a": 1}, {"b": [2]}], None, watcher)

    assert [what for what, _ in seen.extension] == ["registered", "event", "event", "event"]
    assert seen.extension[-1] == (
        "event",
        (200, {"eventType": "SHUTDOWN", "shutdownReason": "spindown"}),
    )
    assert [outcome[2] for outcome in seen.outcomes] == [True, False]
    assert seen.function == ["imported", "called", "called"]


def test_what_an_invoke_event_says(host: Start, watcher: Path) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    with host({"app.py": FUNCTION}, opt=watcher, variables={"EXTENSION_PLAN": "{}"}) as environment:
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


def test_init_error_is_for_init_alone(both: tuple[Start, Start], watcher: Path) -> None:
    seen = compare(both, [{}], {"late init/error": True}, watcher)

    assert ("late init/error", (403, {
        "errorMessage": "State transition from Running to InitError / id",
        "errorType": "Extension.InvalidExtensionState",
    })) in seen.extension  # fmt: skip


@pytest.mark.parametrize("events", [[], ["INVOKE"], ["SHUTDOWN"]], ids=str)
def test_what_an_extension_subscribes_to(
    both: tuple[Start, Start], watcher: Path, events: list[str]
) -> None:
    seen = compare(both, [{}, {}], {"events": events}, watcher)

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


def test_a_handler_raises(both: tuple[Start, Start], watcher: Path) -> None:
    seen = compare(both, [{"raise": "no"}, {}], None, watcher)

    assert seen.outcomes[0][:2] == ({"errorMessage": "no", "errorType": "ValueError"}, "ValueError")
    assert seen.outcomes[1][2] is False


def test_a_file_that_is_no_program(both: tuple[Start, Start], watcher: Path) -> None:
    """Whatever lies beside the extension is started too, and breaks the function for good."""
    (watcher / "extensions" / "notes.txt").write_text("not a program")

    seen = [watch_failing(start, watcher) for start in both]

    assert seen[0] == seen[1] == ["Extension.LaunchError", "Extension.LaunchError"]


def watch_failing(start: Start, watcher: Path) -> list[str | None]:
    with start(
        {"app.py": FUNCTION}, opt=watcher, variables={"EXTENSION_PLAN": "{}"}, timeout_seconds=20
    ) as environment:
        return [environment.invoke({}).error_type for _ in range(2)]


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
