"""Managed Instances and their Telemetry API in our emulator and in AWS's: both show the same.

Beside what `agreement` names, they differ on purpose in this:

* **Workers**: ours is initialised when all workers wait, AWS's when the first of them does, and
  ours gives a worker that has just answered a second to ask again.
* **After a crash**: ours starts anew with the next invocation, AWS's emulator ends.
* **Deadline**: AWS's emulator tells one that is a million times too far away.
* **Slow subscribers**: AWS's emulator leaves out a batch while one before it is being taken.
* **Path**: ours posts telemetry to the path of the destination, AWS's always to `/`.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from e2e import telemetry_seen
from e2e.agreement import side_by_side
from fakes.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Start
    from lambda_runtime_api.emulator import Invocation

FUNCTION = """
import os, signal, time

def say(line):
    os.write(1, (line + "\\n").encode())  # at once: AWS's runtime client writes ends of lines apart

say("imported")

def handler(event, context):
    if "say" in event:
        say(event["say"])
    if "meet" in event:
        place = os.path.join(os.environ.get("TMPDIR", "/tmp"), "meeting")
        os.makedirs(place, exist_ok=True)
        open(os.path.join(place, str(os.getpid())), "w").close()
        while len(os.listdir(place)) < event["meet"]:
            time.sleep(0.01)
        return str(os.getpid())
    time.sleep(event.get("sleep", 0))
    if "exit" in event:
        os._exit(event["exit"])
    if "end" in event:
        os.killpg(0, signal.SIGKILL)
    if "raise" in event:
        raise ValueError(event["raise"])
    return {"type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
            "concurrency": os.environ["AWS_LAMBDA_MAX_CONCURRENCY"]}
"""


def outcome(result: Invocation) -> tuple[Any, Any]:
    payload = json.loads(result.payload)
    if isinstance(payload, dict):
        payload.pop("requestId", None)
        payload.pop("stackTrace", None)
    return result.error_type, payload


def run(
    start: Start, opt: Path, plan: dict[str, Any], events: list[Any], **options: Any
) -> tuple[list[Any], telemetry_seen.Told]:
    """Invoke one after the other, shut down, and tell what came of it and what was told."""
    with start(
        {"app.py": FUNCTION},
        opt=opt,
        managed_concurrency=3,
        variables={"SUBSCRIBER_PLAN": json.dumps(plan)},
        **{"timeout_seconds": 20, **options},
    ) as environment:
        outcomes = [outcome(environment.invoke(event)) for event in events]
        environment.shutdown()
        return outcomes, telemetry_seen.read(environment.logs)


@pytest.fixture
def opt(tmp_path: Path) -> Path:
    return telemetry_seen.install(tmp_path / "opt")


def test_the_same_refusals(both: tuple[Start, Start], opt: Path) -> None:
    plan = {"refusals": "managed", "events": ["INVOKE", "SHUTDOWN"]}

    ours, theirs = side_by_side(both, lambda start: run(start, opt, plan, [{}])[1])

    assert ours.answers == theirs.answers
    assert ours.answers["register"] == [
        403,
        {
            "errorMessage": "INVOKE: ErrorInvalidEventType",
            "errorType": "Extension.InvalidEventType",
        },
    ]
    assert ours.answers["older schema"] == [400, "ValidationError"]
    assert ours.answers["after Init"] == [403, "Telemetry.SubscriptionClosed"]
    assert ours.answers["right"] == [200, '"OK"']


def test_the_same_telemetry(both: tuple[Start, Start], opt: Path) -> None:
    events = [{}, {"say": "hello"}, {"raise": "no"}]

    (ours, told), (theirs, told_theirs) = side_by_side(
        both, lambda start: run(start, opt, {}, events)
    )

    assert ours == theirs
    assert told.platform() == told_theirs.platform()
    assert told.events == told_theirs.events == [["SHUTDOWN", "spindown"]]
    assert "hello" in told.lines("function")
    assert "hello" in told_theirs.lines("function")
    assert told.lines("extension") == told_theirs.lines("extension") == ["subscribed"]
    for batches in (told.batches, told_theirs.batches):
        assert all(headers["sequence-id"] for _, headers, _ in batches)


def test_a_timeout_tells_the_caller_and_touches_nobody(
    both: tuple[Start, Start], opt: Path
) -> None:
    """What sleeps too long, and what has died, is missing; the third worker goes on."""
    events = [{"sleep": 1.5}, {"exit": 1}, {}, {}]

    (ours, told), (theirs, told_theirs) = side_by_side(
        both, lambda start: run(start, opt, {}, events, timeout_seconds=1)
    )

    assert ours == theirs
    assert [error for error, _ in ours] == ["Sandbox.Timedout", "Sandbox.Timedout", None, None]
    assert told.platform() == told_theirs.platform()
    assert told.events == told_theirs.events


def test_as_many_at_once_as_there_are_workers(host: Start) -> None:
    with (
        host({"app.py": FUNCTION}, managed_concurrency=3, timeout_seconds=20) as environment,
        ThreadPoolExecutor(4) as pool,
    ):
        met = [result.json() for result in pool.map(environment.invoke, [{"meet": 3}] * 3)]
        sleeping = list(pool.map(environment.invoke, [{"sleep": 1}] * 4))

    assert len(set(met)) == 3
    assert sorted(str(result.error_type) for result in sleeping) == [
        "None", "None", "None", "Runtime.Unavailable"
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["runtime", "extension"])
def test_whatever_ends_ends_all(both: tuple[Start, Start], opt: Path, what: str) -> None:
    def crash(start: Start) -> tuple[list[Any], list[list[str | None]], list[str]]:
        with (
            start(
                {"app.py": FUNCTION},
                opt=opt,
                managed_concurrency=2,
                timeout_seconds=20,
                variables={"SUBSCRIBER_PLAN": "{}"},
            ) as environment,
            ThreadPoolExecutor(2) as pool,
        ):
            assert environment.invoke({}).error_type is None
            sleeping = pool.submit(environment.invoke, {"sleep": 10, "say": "sleeping"})
            until(lambda: any(line.text == "sleeping" for line in environment.logs))
            if what == "runtime":
                outcomes = [outcome(environment.invoke({"end": 1}))]
            else:
                os.kill(environment.pids["subscriber"], 9)
                outcomes = []
            outcomes.append(outcome(sleeping.result()))
            environment.wait_until_idle()
            environment.shutdown()
            told = telemetry_seen.read(environment.logs)
            records = [record for kind, record in told.platform() if kind == "platform.report"]
            reports = [json.dumps(record, sort_keys=True) for record in records]
            return outcomes, told.events, sorted(reports)

    ours, theirs = side_by_side(both, crash)

    assert ours[:2] == theirs[:2]
    assert set(theirs[2]) <= set(ours[2])  # AWS's drops what its subscriber is too slow to take
    assert len(ours[2]) == (3 if what == "runtime" else 0)
    error = {"runtime": "Runtime.ExitError", "extension": "Extension.Crash"}[what]
    assert {outcome[0] for outcome in ours[0]} == {error}
    assert ours[1] == ([["SHUTDOWN", "failure"]] if what == "runtime" else [])
