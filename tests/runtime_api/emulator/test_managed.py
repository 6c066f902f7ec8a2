"""Managed Instances of our emulator: many invocations at once, and how each of them can end.

What AWS's emulator does too is compared in tests/e2e/test_managed_agreement.py.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e import telemetry_seen
from fakes.lives import refusal
from fakes.waiting import until
from lambda_runtime_api.emulator import Environment
from lambda_runtime_api.emulator.api import Invocation
from lambda_runtime_api.emulator.managed import TOO_LATE_MAX, ManagedLife
from lambda_runtime_api.emulator.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 3

RUNTIME = f"""#!/usr/bin/env python3
# A runtime of {WORKERS} threads. It answers as the event says, and prints what became of that.
import http.client, json, os, threading, time

def serve():
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", "/2018-06-01/runtime/invocation/next")
        answer = api.getresponse()
        event = json.loads(answer.read())
        request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        print("event", json.dumps(event), flush=True)
        while "gate" in event and not os.path.exists(event["gate"]):
            time.sleep(0.005)
        if "exit" in event:
            os._exit(event["exit"])
        says, header = "response", {{}}
        if "error" in event:
            says, header = "error", {{"Lambda-Runtime-Function-Error-Type": event["error"]}}
        for again in range(event.get("times", 1)):
            api.request("POST", "/2018-06-01/runtime/invocation/%s/%s" % (request_id, says),
                        json.dumps({{"errorType": event.get("error"), "event": event}}), header)
            answer = api.getresponse()
            print("answered", answer.status, json.loads(answer.read()).get("errorType"), flush=True)

threads = [threading.Thread(target=serve) for _ in range({WORKERS})]
for thread in threads:
    thread.start()
"""


@pytest.fixture
def task_root(tmp_path: Path) -> Path:
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / "bootstrap").write_text(RUNTIME)
    (folder / "bootstrap").chmod(0o755)
    return folder


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * WORKERS) as pool:
        yield pool


def managed(task_root: Path, **options: Any) -> Environment:
    return Environment(
        task_root,
        "app.handler",
        managed_concurrency=WORKERS,
        **{"timeout_seconds": 20, **options},
    )


def printed(environment: Environment, text: str) -> list[str]:
    return [line.text for line in environment.logs if line.text.startswith(text)]


# Whole environments


def test_it_starts_before_anybody_invokes(task_root: Path) -> None:
    with managed(task_root) as environment:
        assert "runtime" in environment.pids
        environment.initialise()  # a second time does nothing
        first, second = environment.invoke({}), environment.invoke({})

    assert (first.cold, second.cold) == (True, False)
    assert first.init_ms is not None
    assert second.init_ms is None


def test_as_many_at_once_as_there_are_workers(
    task_root: Path, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    gate = tmp_path / "gate"
    with managed(task_root) as environment:
        events = [{"gate": str(gate), "number": number} for number in range(WORKERS)]
        working = [pool.submit(environment.invoke, event) for event in events]
        until(lambda: len(printed(environment, "event")) == WORKERS)
        refused = environment.invoke({})
        gate.touch()
        answers = [work.result() for work in working]

    assert refused.error_type == "Runtime.Unavailable"
    assert [answer.json()["event"] for answer in answers] == events  # type: ignore[index]
    assert len({answer.request_id for answer in answers}) == WORKERS


def test_a_worker_that_is_free_in_a_moment_is_waited_for(
    task_root: Path, pool: ThreadPoolExecutor
) -> None:
    with managed(task_root) as environment:
        for _ in range(20):
            results = pool.map(environment.invoke, [{}] * WORKERS)
            assert [result.error_type for result in results] == [None] * WORKERS


def test_an_answer_that_comes_too_late_is_refused(task_root: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with managed(task_root, timeout_seconds=0.5) as environment:
        late = environment.invoke({"gate": str(gate)})
        gate.touch()
        until(lambda: printed(environment, "answered"))

        assert late.error_type == "Sandbox.Timedout"
        assert late.json() == {
            "errorType": "Sandbox.Timedout",
            "errorMessage": "Task timed out after 0.50 seconds",
        }
        assert printed(environment, "answered") == ["answered 410 InvokeTimeout"]
        assert [environment.invoke({}).error_type for _ in range(WORKERS)] == [None] * WORKERS


def test_a_second_answer_is_refused(task_root: Path) -> None:
    with managed(task_root) as environment:
        assert environment.invoke({"times": 2}).error_type is None
        until(lambda: len(printed(environment, "answered")) == 2)

        assert printed(environment, "answered") == [
            "answered 202 None",
            "answered 400 InvalidRequestID",
        ]


def test_an_error_is_the_callers(task_root: Path) -> None:
    with managed(task_root) as environment:
        failed = environment.invoke({"error": "Function.Broken"})

        assert failed.error_type == "Function.Broken"
        assert environment.invoke({}).error_type is None


def test_the_logs_api_is_not_there(task_root: Path) -> None:
    with managed(task_root) as environment:
        environ = Path(f"/proc/{environment.pids['runtime']}/environ").read_text().split("\0")
        address = dict(one.partition("=")[::2] for one in environ if one)["AWS_LAMBDA_RUNTIME_API"]
        request = urllib.request.Request(f"http://{address}/2020-08-15/logs", b"{}", method="PUT")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(request, timeout=10)


@pytest.mark.parametrize("what", ["extension", "runtime", "host"])
def test_whatever_ends_ends_all_and_the_next_invocation_starts_anew(
    task_root: Path, tmp_path: Path, pool: ThreadPoolExecutor, what: str
) -> None:
    opt = telemetry_seen.install(tmp_path / "opt")
    with managed(task_root, opt=opt, variables={"SUBSCRIBER_PLAN": "{}"}) as environment:
        working = [pool.submit(environment.invoke, {"gate": "/never"}) for _ in range(WORKERS - 1)]
        until(lambda: len(printed(environment, "event")) == WORKERS - 1)
        if what == "extension":
            os.kill(environment.pids["subscriber"], signal.SIGKILL)
        elif what == "runtime":
            working.append(pool.submit(environment.invoke, {"exit": 1}))
        else:
            environment.kill()
        ended = {work.result().error_type for work in working}
        environment.wait_until_idle()
        assert environment.pids == {}
        again = environment.invoke({})
        reasons = telemetry_seen.read(environment.logs).events

    assert ended <= {"Extension.Crash", "Runtime.ExitError"}
    assert (again.error_type, again.cold) == (None, True)
    assert reasons == ([["SHUTDOWN", "failure"]] if what == "runtime" else [])


def test_invocations_after_a_crash_are_refused_or_run_and_never_lost(
    task_root: Path, pool: ThreadPoolExecutor
) -> None:
    with managed(task_root) as environment:
        events: list[dict[str, int]] = [{"exit": 1}, {}, {}, {}, {}, {}]
        errors: list[Any] = [None]
        while errors[0] in (None, "Runtime.Unavailable"):  # more came first than there are workers
            errors = [result.error_type for result in pool.map(environment.invoke, events)]
            environment.wait_until_idle()

        assert errors[0] == "Runtime.ExitError"
        assert set(errors) <= {
            None, "Runtime.ExitError", "Runtime.Unavailable", "Client.ExecutionEnvironmentUnhealthy"
        }  # fmt: skip
        assert environment.invoke({}).error_type is None


def test_an_init_that_fails_is_told_each_time(task_root: Path) -> None:
    (task_root / "bootstrap").write_text("#!/bin/sh\nexit 3\n")

    with managed(task_root) as environment:
        first, second = environment.invoke({}), environment.invoke({})

    assert (first.error_type, second.error_type) == ("Runtime.ExitError", "Runtime.ExitError")


def test_from_many_threads_a_shutdown_happens_once(
    task_root: Path, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    opt = telemetry_seen.install(tmp_path / "opt")
    with managed(task_root, opt=opt, variables={"SUBSCRIBER_PLAN": "{}"}) as environment:
        environment.invoke({})
        list(pool.map(lambda _: environment.shutdown(), range(WORKERS)))
        reasons = telemetry_seen.read(environment.logs).events
        threads = [thread.name for thread in threading.enumerate()]

    assert reasons == [["SHUTDOWN", "spindown"]]
    assert "emulator-keeper" not in threads


# The rules, without an environment


@pytest.fixture
def life() -> ManagedLife:
    life = ManagedLife(["ext"], 2)
    life.extension_next(life.register("ext", {"events": ["SHUTDOWN"]}).identifier)
    return life


EVENT = Invocation([], b"{}")


@pytest.mark.parametrize("events", [["INVOKE"], ["INVOKE", "SHUTDOWN"], ["SHUTDOWN", "INVOKE"]])
def test_nobody_registers_for_invoke(events: list[str]) -> None:
    life = ManagedLife(["ext"], 1)

    told = refusal(life.register, "ext", {"events": events})
    assert told == (403, "Extension.InvalidEventType", "INVOKE: ErrorInvalidEventType")
    assert life.register("ext", {"events": []}).events == ()


def test_it_is_initialised_when_every_worker_waits(life: ManagedLife) -> None:
    life.worker_next()
    assert not life.initialised
    life.worker_next()
    assert life.initialised


def test_who_waits_first_works_first(life: ManagedLife) -> None:
    first, second = life.worker_next(), life.worker_next()

    assert life.begin("one", EVENT) is not None
    assert (first.event, second.event) == (EVENT, None)
    assert life.begin("two", EVENT) is not None
    assert life.running == 2
    assert life.begin("three", EVENT) is None
    assert life.decided


def test_an_answer_belongs_to_its_invocation(life: ManagedLife) -> None:
    life.worker_next(), life.worker_next()
    one, two = life.begin("one", EVENT), life.begin("two", EVENT)
    assert one is not None
    assert two is not None

    life.respond("two", Response(b"2", None))

    assert (one.response, two.response) == (None, Response(b"2", None))
    assert refusal(life.respond, "two", Response(b"", None))[:2] == (400, "InvalidRequestID")
    assert refusal(life.respond, "three", Response(b"", None))[:2] == (400, "InvalidRequestID")


def test_so_many_late_answers_are_known(life: ManagedLife) -> None:
    for number in range(TOO_LATE_MAX + 1):
        life.worker_next()
        life.begin(str(number), EVENT)
        life.give_up(str(number), timed_out=True)

    assert refusal(life.respond, "0", Response(b"", None))[0] == 400
    assert refusal(life.respond, "1", Response(b"", None))[:2] == (410, "InvokeTimeout")
    assert refusal(life.respond, "1", Response(b"", None))[0] == 400
    assert json.dumps(life.running) == "0"
