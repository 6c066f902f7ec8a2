"""Our emulator against AWS's where something fails: crashes, timeouts, and what comes after them.

Where the two differ on purpose, `agreement` names the difference.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e.agreement import FUNCTION, compare, outcome, side_by_side, watch, watch_both

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Start

TOO_LONG = {"sleep": 60, "sigterm": "tell"}


@pytest.mark.parametrize("event", [{"exit": 0}, {"exit": 3}, {"kill": True}], ids=str)
@pytest.mark.parametrize("extension", [True, False], ids=["extension", "none"])
def test_the_runtime_crashes(
    both: tuple[Start, Start], watcher: Path, event: dict[str, Any], extension: bool
) -> None:
    event = {**event, "sleep": 0.6}  # a faster crash may overtake the extension's event
    seen = compare(both, [{}, event, {}], None, watcher if extension else None)

    assert [outcome[1:] for outcome in seen.outcomes] == [
        (None, True),
        ("Runtime.ExitError", False),
        (None, True),
    ]
    reasons = [value[1].get("shutdownReason") for _, value in seen.extension]
    assert [reason for reason in reasons if reason] == ["failure", "spindown"] * extension


def test_an_error_with_a_trace_of_a_thousand_frames(both: tuple[Start, Start]) -> None:
    seen = compare(both, [{"recurse": True}, {}], None, None)

    assert [outcome[1:] for outcome in seen.outcomes] == [("RecursionError", True), (None, False)]


@pytest.mark.parametrize("status", [0, 1])
def test_an_extension_ends_while_the_handler_works(
    both: tuple[Start, Start], watcher: Path, status: int
) -> None:
    """With any status, 0 included, it takes the invocation and the environment with it."""
    event = {"sleep": 5, "sigterm": "tell"}
    plan = {"exit late": status}
    ours, theirs = watch_both(both, [event, {}], plan, watcher)

    assert [outcome[1:] for outcome in ours.outcomes] == [
        ("Extension.Crash", True),
        (None, True),
    ]
    assert [outcome[1:] for outcome in theirs.outcomes] == [
        outcome[1:] for outcome in ours.outcomes
    ]
    assert (ours.extension, ours.function) == (theirs.extension, theirs.function)
    assert "SIGTERM" in ours.function


def test_an_extension_reports_that_it_leaves(both: tuple[Start, Start], watcher: Path) -> None:
    ours, theirs = watch_both(both, [{"sleep": 0.3}, {}], {"exit/error": 1}, watcher)

    assert [outcome[1:] for outcome in ours.outcomes] == [
        ("Extension.ExitError", True),
        (None, True),
    ]
    assert [outcome[1:] for outcome in theirs.outcomes] == [
        outcome[1:] for outcome in ours.outcomes
    ]
    assert ours.extension == theirs.extension


@pytest.mark.parametrize("plan", [{"init/error": 1}, {"exit at start": 1}], ids=str)
def test_an_extension_fails_in_init(
    both: tuple[Start, Start], watcher: Path, plan: dict[str, Any]
) -> None:
    """Named difference: ours has begun anew when the caller's first invocation runs."""
    ours, theirs = watch_both(both, [{}, {}], plan, watcher)

    expected = "Extension.InitError" if "init/error" in plan else "Extension.Crash"
    assert [outcome[1:] for outcome in ours.outcomes] == [(None, True), (None, False)]
    assert [outcome[1:] for outcome in theirs.outcomes] == [(expected, True), (None, True)]


@pytest.mark.parametrize("extension", [True, False], ids=["extension", "none"])
def test_the_function_times_out(both: tuple[Start, Start], watcher: Path, extension: bool) -> None:
    seen = compare(both, [{}, TOO_LONG, {}], None, watcher if extension else None, 2)

    assert [outcome[1:] for outcome in seen.outcomes] == [
        (None, True),
        ("Sandbox.Timedout", False),
        (None, True),
    ]
    assert seen.outcomes[1][0] == {"errorMessage": "Task timed out after 2.00 seconds"}
    assert ("SIGTERM" in seen.function) == extension
    reasons = [value[1].get("shutdownReason") for _, value in seen.extension]
    assert [reason for reason in reasons if reason] == ["timeout", "spindown"] * extension


@pytest.mark.slow
def test_an_extension_ignores_shutdown(both: tuple[Start, Start], watcher: Path) -> None:
    compare(both, [{}], {"ignore shutdown": True}, watcher)


def test_a_crash_between_invocations(both: tuple[Start, Start], watcher: Path) -> None:
    for start in both:
        with start(
            {"app.py": FUNCTION}, opt=watcher, variables={"EXTENSION_PLAN": "{}"}
        ) as environment:
            environment.invoke({})
            environment.wait_until_idle()
            os.kill(environment.pids["runtime"], signal.SIGKILL)
            outcomes = [outcome(environment.invoke({}))[1] for _ in range(2)]

        assert outcomes == ["Runtime.ExitError", None], start.name


@pytest.mark.parametrize("events", [["INVOKE"], pytest.param([], marks=pytest.mark.slow)], ids=str)
def test_who_does_not_ask_for_shutdown_gets_none(
    both: tuple[Start, Start], watcher: Path, events: list[str]
) -> None:
    """The runtime gets its SIGTERM all the same: there is an extension."""
    seen = compare(both, [{}, TOO_LONG, {}], {"events": events}, watcher, 2)

    assert seen.outcomes[1][1] == "Sandbox.Timedout"
    assert "SHUTDOWN" not in str(seen.extension)
    assert "SIGTERM" in seen.function


INSIDE = """
import http.client, json, os, signal, threading, time

API = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def call(method, path, headers, body=None):
    API.request(method, "/2020-01-01/extension" + path, body, headers)
    response = API.getresponse()
    return response.headers, response.read()

headers, _ = call("POST", "/register", {"Lambda-Extension-Name": "inside"}, '{"events": []}')
me = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
threading.Thread(target=call, args=("GET", "/event/next", me), daemon=True).start()

def handler(event, context):
    signal.signal(signal.SIGTERM, lambda *_: print("SIGTERM", flush=True))
    time.sleep(event)
"""


def test_an_internal_extension_gives_the_runtime_its_sigterm(both: tuple[Start, Start]) -> None:
    def said_in(start: Start) -> list[str]:
        with start({"app.py": INSIDE}, timeout_seconds=2) as environment:
            assert environment.invoke(60).error_type == "Sandbox.Timedout"
            environment.wait_until_idle()
            return [line.text.strip() for line in environment.logs if line.source == "function"]

    assert side_by_side(both, said_in) == [["SIGTERM"]] * 2


@pytest.mark.slow
def test_a_runtime_that_ignores_sigterm(both: tuple[Start, Start], watcher: Path) -> None:
    event = {"sleep": 60, "sigterm": "ignore"}
    seen = compare(both, [{}, event, {}], None, watcher, 2)

    assert [outcome[1] for outcome in seen.outcomes] == [None, "Sandbox.Timedout", None]
    assert "'timeout'" in str(seen.extension)


def test_an_extension_holds_on_past_the_deadline(both: tuple[Start, Start], watcher: Path) -> None:
    """Named difference: ours has answered the caller long before."""
    ours, theirs = watch_both(both, [{}, {}], {"hold": 2.5}, watcher, 2)

    assert [outcome[1:] for outcome in ours.outcomes] == [(None, True), (None, True)]
    assert [outcome[1] for outcome in theirs.outcomes] == ["Sandbox.Timedout", None]
    assert (ours.extension, ours.function) == (theirs.extension, theirs.function)
    assert "'timeout'" in str(ours.extension)


@pytest.mark.parametrize("status", [0, 1])
def test_an_extension_ends_when_the_handler_has_answered(
    both: tuple[Start, Start], watcher: Path, status: int
) -> None:
    """Named difference: AWS's emulator has not answered yet, and fails what was answered."""
    ours, theirs = watch_both(both, [{}, {}], {"exit late": status}, watcher)

    assert [outcome[1:] for outcome in ours.outcomes] == [(None, True), (None, True)]
    assert [outcome[1] for outcome in theirs.outcomes] == ["Extension.Crash", None]
    assert [outcome[0] for outcome in ours.outcomes] == [outcome[0] for outcome in theirs.outcomes]
    assert (ours.extension, ours.function) == (theirs.extension, theirs.function)


def test_an_extension_ends_between_invocations(both: tuple[Start, Start], watcher: Path) -> None:
    for start in both:
        with start(
            {"app.py": FUNCTION}, opt=watcher, variables={"EXTENSION_PLAN": "{}"}
        ) as environment:
            environment.invoke({})
            environment.wait_until_idle()
            os.kill(environment.pids["watcher"], signal.SIGKILL)
            while "watcher" in environment.pids:
                time.sleep(0.001)
            outcomes = [outcome(environment.invoke({}))[1] for _ in range(2)]

        assert outcomes == ["Extension.Crash", None], start.name


def test_an_extension_fails_in_shutdown(both: tuple[Start, Start], watcher: Path) -> None:
    seen = compare(both, [{}, {"exit": 1}, {}], {"exit in shutdown": 1}, watcher)

    assert [outcome[1] for outcome in seen.outcomes] == [None, "Runtime.ExitError", None]


@pytest.mark.slow
@pytest.mark.parametrize("plan", [{"hang at start": 1}, {"never next": 1}], ids=str)
def test_an_extension_hangs_in_init(
    both: tuple[Start, Start], watcher: Path, plan: dict[str, Any]
) -> None:
    """Named difference: ours ends Init by itself, and begins anew inside the invocation."""
    seen = []
    for start in both:
        limit = {"init_seconds": 1.0} if start.name == "emulator" else {}
        seen.append(watch(start, [{}, {}], plan, watcher, 2, **limit))
    ours, theirs = seen

    assert [outcome[1:] for outcome in ours.outcomes] == [(None, True), (None, False)]
    assert [outcome[1:] for outcome in theirs.outcomes] == [
        ("Sandbox.Timedout", True),
        (None, True),
    ]


def test_what_lies_in_tmp_outlives_a_reset_and_no_environment(
    both: tuple[Start, Start], watcher: Path
) -> None:
    for start in both:
        with start(
            {"app.py": FUNCTION}, opt=watcher, variables={"EXTENSION_PLAN": "{}"}
        ) as environment:
            environment.invoke({"leave": "left"})
            environment.invoke({"exit": 1})
            after_a_reset = environment.invoke({}).json()["left"]
            environment.shutdown()
            after_a_shutdown = environment.invoke({}).json()["left"]

        assert (after_a_reset, after_a_shutdown) == (True, False), start.name


@pytest.mark.parametrize("count", [10, 11])
def test_more_than_ten_extensions_break_the_function(
    both: tuple[Start, Start], watcher: Path, count: int
) -> None:
    for number in range(count - 1):
        shutil.copy(watcher / "extensions" / "watcher", watcher / "extensions" / f"other-{number}")
    for start in both:
        with start(
            {"app.py": FUNCTION}, opt=watcher, variables={"EXTENSION_PLAN": "{}"},
            timeout_seconds=20,
        ) as environment:  # fmt: skip
            errors = [environment.invoke({}).error_type for _ in range(2)]

        assert errors == [None if count == 10 else "Extension.LaunchError"] * 2, start.name
